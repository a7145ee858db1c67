"""Files of deploy/, and the programs that judge them."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import ROOT

DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="session")
def judge() -> Callable[[str], str]:
    """`judge("hadolint")` is the path of a linter."""

    def find(program: str) -> str:
        here = str(Path(sys.executable).parent)
        path = shutil.which(program, path=f"{here}:{os.environ.get('PATH', '')}:/usr/sbin")
        if path is None:
            pytest.fail(f"{program} is not here (make .venv/.dev installs it)")
        return path

    return find
