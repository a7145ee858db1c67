"""An image origin of the plainest kind: a folder over HTTP, as any web server would give it."""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

INDEX = "/"


class Handler(SimpleHTTPRequestHandler):
    """Files with ETag and Last-Modified, conditional requests, keep-alive; one page of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each small answer waits 40 ms for an acknowledgement

    def __init__(self, *args: Any, index: Callable[[], bytes], **keywords: Any) -> None:
        self.index = index
        super().__init__(*args, **keywords)

    def send_head(self) -> Any:
        if self.path.partition("?")[0] == INDEX:
            body = self.index()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
            return None
        if self._unchanged():
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.end_headers()
            return None
        return super().send_head()

    def end_headers(self) -> None:
        tag = self._tag()
        if tag:
            self.send_header("ETag", tag)
            # Pictures in a folder of one's own change while one looks at them.
            self.send_header("Cache-Control", "max-age=60")
        super().end_headers()

    def _tag(self) -> str | None:
        try:
            found = os.stat(self.translate_path(self.path))
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return f'"{found.st_mtime_ns:x}-{found.st_size:x}"'

    def _unchanged(self) -> bool:
        tag = self._tag()
        asked = self.headers.get("If-None-Match", "")
        return tag is not None and tag in {
            part.strip().removeprefix("W/") for part in asked.split(",")
        }

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def handle(self) -> None:
        # A proxy that knows all it wanted to know may hang up at any time.
        with suppress(BrokenPipeError, ConnectionResetError):
            super().handle()

    def finish(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(folder: Path, index: Callable[[], bytes]) -> Iterator[str]:
    """The base URL of an origin that serves the folder, on a free port of 127.0.0.1."""
    handler = partial(Handler, directory=str(folder), index=index)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
