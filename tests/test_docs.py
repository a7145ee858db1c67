"""The documents say what the code does."""

import re
import shlex
from pathlib import Path

import pytest

from iiif_proxy import cli
from iiif_proxy.settings import FIELDS, variable
from tests.servers import ROOT
from tools.reference import PLACE, text

DOCS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


def test_reference_is_of_this_code() -> None:
    assert PLACE.read_text("utf-8") == text(), "python -m tools.reference"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_settings_and_files_that_are_named_exist(path: Path) -> None:
    document = path.read_text("utf-8")
    known = {variable(name) for name in FIELDS}
    assert set(re.findall(r"IIIF_PROXY_[A-Z0-9_]*[A-Z0-9]", document)) <= known
    for target in re.findall(r"\]\(([^)#:]+)\)", document):
        assert (path.parent / target).exists(), target
    for target in re.findall(r"`(deploy/[^`\s]*)`", document):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_commands_that_are_named_parse(path: Path) -> None:
    found = re.findall(
        r"^ {2,}(?:\S+=\S+ )*(?:\S+/)?iiif-proxy ([a-z]+ ?.*)$", path.read_text(), re.M
    )
    for line in found:
        arguments = shlex.split(line.partition(" |")[0], comments=True)
        cli.parser().parse_args(arguments)
    if path.name == "how-to.md":
        assert len(found) >= 7
