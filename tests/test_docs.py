"""The documents say what the code does."""

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from iiif_proxy import cli
from iiif_proxy.commands.completion import SHELLS
from iiif_proxy.settings import FIELDS, variable
from tests.servers import ROOT
from tools import completions
from tools.reference import PLACE, text

IMAGES_MOST = 150_000
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


def test_tests_that_are_named_exist() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs/fidelity.md").read_text("utf-8"))
    assert len(named) > 40
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text("utf-8"), name


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_commands_that_are_named_parse(path: Path) -> None:
    found = re.findall(
        r"^ {2,}(?:\S+=\S+ )*(?:\S+/)?iiif-proxy ([a-z]+ ?.*)$", path.read_text(), re.M
    )
    for line in found:
        arguments = shlex.split(re.split(r" [|>]", line)[0], comments=True)
        cli.parser().parse_args(arguments)
    if path.name == "how-to.md":
        assert len(found) >= 7


def test_screenshots_are_there_and_small() -> None:
    """`python -m tools.screenshots` takes them anew."""
    for name in ("view", "explain", "compare", "annotate", "index"):
        assert 0 < (ROOT / "docs" / "img" / f"{name}.png").stat().st_size < IMAGES_MOST


def test_the_site_is_built_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    options = ["--quiet", "--fail-on-warning", "--keep-going", "-d", str(tmp_path / "trees")]
    command = [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {path.name: path.read_text("utf-8") for path in (tmp_path / "site").glob("*.html")}
    assert {f"{path.stem}.html" for path in DOCS if path.name != "README.md"} <= set(pages)
    for page in pages.values():
        for target, _, part in re.findall(r'href="([^":#?]*)(#([^"]+))?"', page):
            if target.endswith(".html") or (not target and part):
                there = pages.get(target, page if not target else "")
                assert there, target
                assert not part or f'id="{part}"' in there, (target, part)


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts_are_of_this_code(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["completion", shell]) == 0
    assert capsys.readouterr().out == completions.script(shell), "python -m tools.completions"


def test_bash_completes() -> None:
    script = """
    eval "$(cat)"
    COMP_WORDS=(iiif-proxy wa) COMP_CWORD=1 COMP_LINE="iiif-proxy wa"
    COMPREPLY=()
    _shtab_iiif_proxy iiif-proxy wa iiif-proxy
    echo "${COMPREPLY[@]}"
    """
    given = completions.script("bash")
    done = subprocess.run(["bash", "-c", script], input=given, capture_output=True, text=True)
    assert done.stdout == "warm\n", done.stderr


def test_the_tutorial_runs_as_it_stands(tmp_path: Path) -> None:
    """Every block of it that is to be typed, in one shell; only the ports are others."""
    text = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    assert len(blocks) == 5
    up = "for n in $(seq 200); do python -c 'import socket, sys; socket.create_connection("
    up += '("127.0.0.1", {})).close()\' 2>/dev/null && break; sleep 0.1; done\n'
    script = "set -e\ntrap 'kill $(jobs -p)' EXIT\n" + blocks[0] + up.format(9000) + blocks[1]
    script += blocks[2] + up.format(8182) + blocks[3] + blocks[4]
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as two:
        ours, origin = one.getsockname()[1], two.getsockname()[1]
    script = script.replace("9000", str(origin)).replace("8182", str(ours))
    script = script.replace("iiif-proxy serve &", f"iiif-proxy serve --bind 127.0.0.1:{ours} &")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "full/max/0/default.jpg" in done.stdout
