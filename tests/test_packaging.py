"""What a stranger installs: the wheel, its entry points, and what the pages need."""

import configparser
import re
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from iiif_proxy import __version__
from iiif_proxy.cli import main
from iiif_proxy.proxy import filter_factory

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "iiif_proxy" / "web" / "static"


def test_entry_points() -> None:
    script = {point.name: point for point in entry_points(group="console_scripts")}["iiif-proxy"]
    assert script.load() is main
    found = entry_points(group="paste.filter_factory")
    factory = [point for point in found if point.module == "iiif_proxy.proxy"]
    assert [point.name for point in factory] == ["main"]
    assert factory[0].load() is filter_factory


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """Built from a copy of the tree, in which everything git ignores may lie about."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "iiif_proxy").symlink_to(ROOT / "iiif_proxy")
    script = "import setuptools.build_meta as b; print(b.build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return zipfile.Path(folder / done.stdout.split()[-1])


def names(wheel: zipfile.Path) -> set[str]:
    return {name for name in wheel.root.namelist() if not name.endswith("/")}


def test_wheel_holds_every_module_and_asset(wheel: zipfile.Path) -> None:
    endings = {".py", ".html", ".css", ".js", ".svg", ".typed"}
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "iiif_proxy").rglob("*")
        if path.suffix in endings or path.name == "py.typed"
    }
    assert STATIC.joinpath("view.html").relative_to(ROOT).as_posix() in wanted
    assert wanted <= names(wheel)


def test_wheel_holds_openseadragon_and_its_licence(wheel: zipfile.Path) -> None:
    folder = STATIC / "openseadragon"
    if not (folder / "openseadragon.min.js").is_file():
        pytest.skip("OpenSeadragon is not here (make openseadragon)")
    held = {name for name in names(wheel) if "/openseadragon/" in name}
    place = "iiif_proxy/web/static/openseadragon"
    assert held == {f"{place}/LICENSE.txt", f"{place}/openseadragon.min.js"}


def test_wheel_says_what_it_is(wheel: zipfile.Path) -> None:
    metadata = wheel / f"iiif_proxy-{__version__}.dist-info" / "METADATA"
    text = metadata.read_text()
    assert "Name: iiif-proxy" in text
    assert "BSD-3-Clause" in text
    assert not [name for name in names(wheel) if name.startswith("tests/")]


def requirements(section: str) -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = (
        [config["options"]["install_requires"]]
        if section == "core"
        else list(config["options.extras_require"].values())
    )
    lines = [line for text in texts for line in text.splitlines() if line and line[0] != "#"]
    return {re.split(r"[<>=\[ ]", line)[0].lower() for line in lines}


@pytest.mark.parametrize("section", ["core", "extras"])
def test_everything_is_pinned(section: str) -> None:
    pins = (ROOT / "constraints.txt").read_text().lower()
    pinned = set(re.findall(r"^([a-z0-9.-]+)==", pins, re.MULTILINE))
    assert requirements(section) <= pinned


def test_view_page_obeys_its_own_policy() -> None:
    """No inline script or style: the page is served with default-src 'self'."""
    page = (STATIC / "view.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page)
    known = {
        "{identifier}", "{encoded}", "{info}", "{image}", "{manifest}", "{own}", "{static}",
        "{openseadragon}", "{annotate}", "{viewers}", "{presets}",
    }  # fmt: skip
    assert set(re.findall(r"\{\w*\}", page)) == known


def test_view_script_finds_what_the_page_has() -> None:
    page, script = (STATIC / "view.html").read_text(), (STATIC / "view.js").read_text()
    identifiers = set(re.findall(r"\bid=\"(\w+)\"", page))
    assert set(re.findall(r"\$\(\"(\w+)\"\)", script)) <= identifiers
    actions = re.search(r"const actions = \{(.*?)\n  \};", script, re.DOTALL)
    assert actions
    assert set(re.findall(r"^    (\w+):", actions[1], re.MULTILINE)) <= identifiers
