"""`check URL` through real fronts: a right one, and such as are wrong in the usual ways."""

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands.conftest import Command
from tests.servers import Origin, Served, gunicorn

SITE = """
daemon off; worker_processes 1; {user} pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
    upstream iiif {{ server 127.0.0.1:{sidecar}; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ {location} }}
    }}
}}
"""
BUFFERS = " proxy_buffer_size 16k; proxy_buffers 8 16k;"
RIGHT = "proxy_pass http://iiif; proxy_set_header Host $http_host;" + BUFFERS


@pytest.fixture(scope="module")
def sidecar(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    environ = {
        "IIIF_PROXY_ORIGIN": origin.url,
        "IIIF_PROXY_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
    }
    with gunicorn("iiif_proxy.wsgi", environ) as served:
        yield served


@pytest.fixture
def front(need: Callable[[str], str], sidecar: Served, tmp_path: Path) -> Iterator[Callable]:  # type: ignore[type-arg]
    """`front(location, http)` is the public address of nginx with these lines."""
    with contextlib.ExitStack() as stack:

        def start(location: str, http: str = "") -> str:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            user = "user root;" if os.geteuid() == 0 else ""
            text = SITE.format(
                user=user, folder=tmp_path, http=http, sidecar=sidecar.port, port=port,
                location=location,
            )  # fmt: skip
            (tmp_path / "nginx.conf").write_text(text)
            process = subprocess.Popen([need("nginx"), "-c", tmp_path / "nginx.conf"])
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
            deadline = time.monotonic() + 10
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    return f"http://127.0.0.1:{port}/iiif"
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)

        yield start


def faults(out: str) -> list[str]:
    return re.findall("^FAULT (.*)$", out, re.M)


def test_a_right_front_is_well(command: Command, front: Callable[..., str]) -> None:
    code, out, _ = command("check", front(RIGHT))
    assert (code, faults(out)) == (0, []), out
    assert "All is well." in out


def test_without_a_front(command: Command, sidecar: Served) -> None:
    assert command("check", f"{sidecar.url}/iiif/")[0] == 0


@pytest.mark.parametrize(
    "location, http, what, line",
    [
        (
            "proxy_pass http://iiif/; proxy_set_header Host $http_host;",
            "",
            "two slashes",
            "proxy_pass http://iiif;  ",
        ),
        (
            # Decodes %252F once more.
            "rewrite ^(.*)$ $1 break; proxy_pass http://iiif$uri; "
            "proxy_set_header Host $http_host;",
            "",
            "an encoded escape",
            "proxy_pass http://iiif;  ",
        ),
        ("proxy_pass http://iiif;", "", "its own address", "Host $http_host;"),
        (
            "proxy_pass http://iiif; proxy_set_header Host $host;",
            "",
            "its own address",
            "Host $http_host;",
        ),
        (RIGHT + " limit_except GET { deny all; }", "", "preflight", "remove add_header"),
        (
            RIGHT + " add_header Access-Control-Allow-Origin * always;",
            "",
            "Access-Control-Allow-Origin comes twice",
            "remove add_header",
        ),
        (RIGHT.removesuffix(BUFFERS), "", "long identifiers: 502", "proxy_buffer_size 16k;"),
        (
            RIGHT,
            "large_client_header_buffers 4 2k;",
            "long identifiers: 414",
            "large_client_header_buffers 4 16k;",
        ),
    ],
)
def test_wrong_fronts_are_told_the_right_line(
    command: Command,
    front: Callable[..., str],
    location: str,
    http: str,
    what: str,
    line: str,
) -> None:
    code, out, _ = command("check", front(location, http))
    assert code == 1
    assert any(fault.startswith(what) for fault in faults(out)), out
    assert line in out


def test_something_else(command: Command, origin: Origin) -> None:
    code, out, _ = command("check", f"{origin.url}/iiif")
    assert code == 1
    assert "there is no iiif-proxy behind this address" in out
    assert command("check", "http://127.0.0.1:1/iiif")[0] == 1
    assert command("check", "nonsense")[0] == 2
