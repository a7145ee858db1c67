"""What every test may use. The surroundings of whoever runs them do not count."""

import os
import shutil
from collections.abc import Callable

import hypothesis
import pytest

IN_CI = os.environ.get("CI") == "true"
PACKAGES = {
    "chromium": "chromium",
    "djpeg": "libjpeg-turbo-progs",
    "jpegtran": "libjpeg-turbo-progs",
    "nginx": "nginx-light",
    "opj_decompress": "libopenjp2-tools",
}

for name in list(os.environ):
    if name.startswith("IIIF_PROXY_") or name.lower().endswith("_proxy"):
        del os.environ[name]

# The machine's speed is no property of the code.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if IN_CI else "here")


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """`need("nginx")` is the path of a program that is no Python package.

    Where it is missing the test is skipped; in CI (CI=true), where .ci/run installs it, it fails.
    """

    def find(program: str) -> str:
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")
        if path is None:
            package = PACKAGES.get(program, program)
            reason = f"{program} is not here (Debian's package {package}; make system-packages)"
            (pytest.fail if IN_CI else pytest.skip)(reason)
        return path

    return find
