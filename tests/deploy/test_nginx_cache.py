"""Visitor -> nginx with a cache of its own, by the file that is shipped -> `serve` -> an origin."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from iiif_proxy import cli
from iiif_proxy.iiif.urls import encode
from tests.clients import Answer, ask, get
from tests.deploy.conftest import DEPLOY
from tests.http import collection
from tests.http.test_start import COMMAND, environment
from tests.published.site import main_conf
from tests.servers import Origin

TAIL = "full/50,/0/default.png"


@dataclass
class Site:
    port: int
    origin: Origin
    sidecar: "subprocess.Popen[bytes]"
    folder: Path

    def ask(self, target: str, *lines: str, method: str = "GET") -> Answer:
        return ask(self.port, get(target, *lines, method=method))


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def shipped(folder: Path, port: int) -> None:
    """Into `folder`, with the places replaced that are not ours in a test."""
    text = (DEPLOY / "nginx-cache.conf").read_text()
    for before, after in {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "/run/iiif-proxy/socket": f"{folder}/socket",
        "proxy_cache_path /var/cache/nginx/iiif": f"proxy_cache_path {folder}/stored",
    }.items():
        assert before in text
        text = text.replace(before, after)
    (folder / "site.conf").write_text(text)


@pytest.fixture(scope="module")
def site(need: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, port = tmp_path_factory.mktemp("n"), free()
    shipped(folder, port)
    with Origin() as origin, contextlib.ExitStack() as stack:
        origin.default = collection.serve
        # The origin says nothing of freshness; stale is soon.
        settings = {"source_ttl": "1s", "max_age": "1s", "cache_dir": str(folder / "cache")}
        socket_path = folder / "socket"
        with (folder / "log").open("wb") as log:
            sidecar = subprocess.Popen(
                [sys.executable, *COMMAND, "serve", "--bind", f"unix:{socket_path}"],
                env=environment(folder, origin=origin.url, workers="1", **settings),
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        stack.callback(sidecar.wait, 10)
        stack.callback(sidecar.terminate)
        deadline = time.monotonic() + 20
        while not socket_path.exists():
            assert sidecar.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        nginx = subprocess.Popen([need("nginx"), "-c", main_conf(folder)])
        stack.callback(nginx.wait, 10)
        stack.callback(nginx.terminate)
        found = Site(port, origin, sidecar, folder)
        while True:
            with contextlib.suppress(OSError):
                if found.ask("/iiif/-/health").status == 200:
                    break
            assert nginx.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield found
        lines = (folder / "error.log").read_text().splitlines()
        errors = "\n".join(line for line in lines if "connect() to unix" not in line)
        assert not re.search(r"\[(?:crit|alert|emerg)\]", errors), errors


def test_identifiers_arrive_unharmed(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["check", f"http://127.0.0.1:{site.port}/iiif"])
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("path, width", collection.NAMES.items())
def test_each_name_is_its_own_image(site: Site, path: str, width: int) -> None:
    name = encode(path.removeprefix("/"))
    answer = site.ask(f"/iiif/3/{name}/full/max/0/default.png")
    assert answer.status == 200
    assert collection.opened(answer.body).size[0] == width


def test_the_second_time_is_nginx(site: Site) -> None:
    target = f"/iiif/3/300x200.png/{TAIL}"
    first, second = site.ask(target), site.ask(target)
    assert (first.get("X-Cache"), second.get("X-Cache")) == ("MISS", "HIT")
    assert first.body == second.body
    for name in ("ETag", "Link", "Access-Control-Allow-Origin", "Content-Type", "Cache-Control"):
        assert first.all(name) == second.all(name)
        assert len(second.all(name)) == 1
    tag = f"If-None-Match: {second.get('ETag')}"
    assert site.ask(target, tag).status == 304
    assert site.ask(target, method="HEAD").body == b""


def test_hosts_do_not_share_answers(site: Site) -> None:
    target = "/iiif/3/301x200.png/info.json"
    request = f"GET {target} HTTP/1.1\r\nHost: {{}}\r\nConnection: close\r\n\r\n"
    found = [ask(site.port, request.format(host).encode()) for host in ("a.example", "b.example")]
    assert b"http://a.example/iiif" in found[0].body
    assert b"http://b.example/iiif" in found[1].body


def test_accept_decides_still(site: Site) -> None:
    target = "/iiif/3/302x200.png/info.json"
    first = site.ask(target, "Accept: application/json").get("Content-Type")
    second = site.ask(target, "Accept: application/ld+json").get("Content-Type")
    assert first != second


def test_errors_and_strangers_are_not_kept(site: Site) -> None:
    for _ in range(2):
        assert site.ask("/iiif/3/nothing/info.json").get("X-Cache") != "HIT"
    target = f"/iiif/3/303x200.png/{TAIL}"
    for _ in range(2):
        assert site.ask(target, "Authorization: Basic eDp5").get("X-Cache") == "BYPASS"
    assert site.ask(target).get("X-Cache") == "MISS"


def test_metrics_are_for_this_machine(site: Site) -> None:
    assert b"iiif_proxy_requests_total" in site.ask("/iiif/-/metrics").body


def test_the_rest_passes_through(site: Site) -> None:
    body = b"x" * 300_000
    lines = ["POST /upload%2Fhere?a=b HTTP/1.1", "Host: visited.example", "Connection: close"]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    site.origin.routes["/upload%2Fhere"] = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
    assert ask(site.port, head.encode() + body).status == 201
    assert site.origin.requests[-1].body == body
    assert site.origin.requests[-1].target == "/upload%2Fhere?a=b"
    site.ask("/some/file", "Range: bytes=2-5")
    assert site.origin.requests[-1].all("Range") == ["bytes=2-5"]


def test_what_is_stale_is_served_while_the_sidecar_is_dead(site: Site) -> None:
    """The last of this file: nothing brings the sidecar back."""
    target = f"/iiif/3/304x200.png/{TAIL}"
    before = site.ask(target)
    assert before.status == 200
    time.sleep(1.5)
    site.sidecar.terminate()
    site.sidecar.wait(10)
    after = site.ask(target)
    assert (after.status, after.get("X-Cache")) == (200, "STALE")
    assert after.body == before.body
    assert site.ask(f"/iiif/3/305x200.png/{TAIL}").status == 502
    assert os.path.exists(site.folder / "stored")
