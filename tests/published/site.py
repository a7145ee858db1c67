"""Visitor -> nginx, by the file that is shipped -> the sidecar under gunicorn -> an origin."""

import contextlib
import io
import os
import random
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tests.clients import Answer, ask, get, reply
from tests.servers import ROOT, Exchange, Origin, Served, gunicorn

SHIPPED = ROOT / "deploy" / "nginx-static.conf"
ACCEL = ROOT / "deploy" / "nginx-accel.conf"
# Of nginx, by the length of its step of time.
# The cache, as nginx sees it: a link.
SEEN = "seen"
MAX_AGE = {100: 3600, 1: 2}
MAIN = """
daemon off;
worker_processes 1;
{user}
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


def main_conf(folder: Path) -> Path:
    """nginx as whoever runs the tests, with everything of its own in one folder."""
    user = "user root;" if os.geteuid() == 0 else ""
    path = folder / "nginx.conf"
    path.write_text(MAIN.format(user=user, folder=folder))
    return path


def replaced(text: str, **changes: tuple[str, str]) -> str:
    for before, after in changes.values():
        assert before in text, before
        text = text.replace(before, after)
    return text


@contextlib.contextmanager
def nginx(
    program: str,
    folder: Path,
    cache: Path,
    sidecar: int,
    step: int = 100,
    shipped: Path = SHIPPED,
) -> Iterator[int]:
    """The shipped file with its paths replaced, and with another step of time if told: its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    site = replaced(
        shipped.read_text(),
        listen=("listen 80;", f"listen 127.0.0.1:{port};"),
        sidecar=("127.0.0.1:8182", f"127.0.0.1:{sidecar}"),
        cache=("/var/cache/iiif-proxy", str(folder / SEEN)),
    )
    if shipped == SHIPPED:
        clock = {100: r"\d\d\.", 1: r"\."}[step]
        site = replaced(
            site,
            clock=(r"(?<iiif_seconds>\d+)\d\d\.", r"(?<iiif_seconds>\d+)" + clock),
            max_age=("max-age=3600", f"max-age={MAX_AGE[step]}"),
        )
    folder.mkdir()
    (folder / SEEN).symlink_to(cache)
    (folder / "site.conf").write_text(site)
    process = subprocess.Popen(
        [program, "-c", main_conf(folder)], stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "error.log").read_text())
            time.sleep(0.01)
        yield port
        log = (folder / "error.log").read_text()
        assert not re.search(r"\[(?:crit|alert|emerg)\]", log), log
    finally:
        process.terminate()
        process.wait(10)


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (600, 400)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG", quality=90)
    return file.getvalue()


RED, GREEN, BLUE = (200, 30, 30), (30, 160, 30), (30, 30, 200)


def colour_of(answer: Answer) -> tuple[int, ...]:
    """The colour in the middle of an image that came whole."""
    assert (answer.status, answer.whole) == (200, True), answer.head
    with Image.open(io.BytesIO(answer.body)) as image:
        image.load()
        found = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    assert isinstance(found, tuple)
    return found


def near(found: tuple[int, ...], due: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 12 for a, b in zip(found, due, strict=True))


@dataclass
class Site:
    """What a test has in hand. `nginx` and `sidecar` are ports."""

    nginx: int
    sidecar: int
    served: Served
    cache: Path
    seen: Path
    origin: Origin
    images: dict[str, bytes] = field(default_factory=dict)
    headers: list[tuple[str, str]] = field(default_factory=list)
    # Seconds that the origin's answers are late now and then, after they were made.
    late: float = 0.0

    def answer(self, exchange: Exchange) -> None:
        """The origin's: an image by its path, with a validator that names its content."""
        exchange.read()
        target = exchange.request.target
        body = self.images.get(target.partition("?")[0])
        if body is None:
            return exchange.write(reply(404))
        tag = f'"{hash(body):x}"'
        fields = [("ETag", tag), ("Content-Type", "image/jpeg"), *self.headers]
        if self.late and random.random() < 0.3:
            time.sleep(random.uniform(0.0, self.late))
        if tag in exchange.request.all("If-None-Match"):
            return exchange.write(reply(304, fields))
        return exchange.write(reply(200, fields, body))

    def ask(self, target: str, *lines: str, method: str = "GET") -> Answer:
        return ask(self.nginx, get(target, *lines, method=method))

    def direct(self, target: str, *lines: str, method: str = "GET") -> Answer:
        """The sidecar's own answer."""
        return ask(self.sidecar, get(target, *lines, method=method))

    def made(self) -> float:
        """How many IIIF requests the sidecar has answered."""
        text = ask(self.sidecar, get("/iiif/-/metrics")).body.decode()
        return sum(
            float(count)
            for count in re.findall(r"^iiif_proxy_requests_total\{.*\} (\S+)$", text, re.M)
        )

    def by_nginx(self, target: str, *lines: str, method: str = "GET") -> Answer | None:
        """nginx's answer; None if the sidecar gave it."""
        before = self.made()
        answer = self.ask(target, *lines, method=method)
        return answer if self.made() == before else None

    def purge(self, identifier: str) -> None:
        assert ask(self.sidecar, get("/purge?" + identifier)).status == 204


@contextlib.contextmanager
def site_of(
    program: str,
    folder: Path,
    *,
    step: int = 100,
    workers: int = 1,
    shipped: Path = SHIPPED,
    **settings: str,
) -> Iterator[Site]:
    """Everything, running; `settings` are the sidecar's, by name."""
    cache = folder / "cache"
    with Origin() as origin:
        environ = {
            "IIIF_PROXY_ORIGIN": origin.url,
            "IIIF_PROXY_CACHE_DIR": str(cache),
            "IIIF_PROXY_MAX_AGE": str(MAX_AGE[step]),
            "IIIF_PROXY_WRITE_AHEAD": "off",
            "IIIF_PROXY_PREDICT": "off",
            "PUBLISHED_STEP": str(step),
            **{f"IIIF_PROXY_{name.upper()}": value for name, value in settings.items()},
        }
        app = "tests.published.application:application"
        with (
            gunicorn(app, environ, workers=workers) as served,
            nginx(program, folder / "nginx", cache, served.port, step, shipped) as port,
        ):
            site = Site(port, served.port, served, cache, folder / "nginx" / SEEN, origin)
            origin.default = site.answer
            yield site
    assert origin.failures == []
