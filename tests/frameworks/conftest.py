"""The README's snippets, as they stand there, and servers to run them on."""

import contextlib
import re
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import waitress.server

from tests.http.collection import quarters, saved
from tests.servers import ROOT, Answer, ask

SetEnv = Callable[[], None]


def snippet(heading: str) -> str:
    """The indented block after the README's line that begins with `heading`."""
    readme = (ROOT / "README.md").read_text("utf-8")
    found = re.search(rf"^{re.escape(heading)}[^\n]*:\n\n((?:    [^\n]*\n|\n)+)", readme, re.M)
    assert found is not None, heading
    return textwrap.dedent(found[1])


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test, in the environment as an operator would have it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("IIIF_PROXY_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A folder with a picture, and one below with a space in its name."""
    folder = tmp_path / "pictures"
    (folder / "b c").mkdir(parents=True)
    (folder / "a.png").write_bytes(saved(quarters(300, 200)))
    (folder / "b c" / "d.png").write_bytes(saved(quarters(60, 40)))
    return folder


@contextlib.contextmanager
def waiting(app: Any) -> Iterator[int]:
    """waitress on a free port."""
    sockets: dict[Any, Any] = {}
    server = waitress.server.create_server(app, host="127.0.0.1", port=0, map=sockets, threads=4)
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            server.asyncore.loop(timeout=1, map=sockets, count=1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield int(server.effective_port)
    finally:
        stopping.set()
        server.pull_trigger()
        thread.join(5)
        server.task_dispatcher.shutdown()
        for channel in list(sockets.values()):
            channel.close()
        server.close()


def request(port: int, target: str, *lines: str, method: str = "GET", body: bytes = b"") -> Answer:
    head = [f"{method} {target} HTTP/1.1", "Host: site.example", "Connection: close", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return ask(port, "\r\n".join([*head, "", ""]).encode("latin-1") + body)
