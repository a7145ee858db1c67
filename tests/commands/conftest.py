"""The commands in this process, before a real origin."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iiif_proxy import cli
from tests.http import collection
from tests.servers import Origin

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        origin.default = collection.serve
        yield origin


@pytest.fixture
def command(
    tmp_path: Path,
    origin: Origin,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """`command("info", "a.png")` is the exit code and both outputs."""
    monkeypatch.setenv("IIIF_PROXY_ORIGIN", origin.url)
    monkeypatch.setenv("IIIF_PROXY_CACHE_DIR", str(tmp_path / "cache"))

    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(list(arguments))
        except SystemExit as done:
            code = int(done.code or 0)
        return code, *capsys.readouterr()

    return call
