"""Starting: the command, what stops it, and what it leaves alone."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iiif_proxy import __version__, cli
from iiif_proxy.commands import serve, server
from tests.http.conftest import Proxy
from tests.servers import ROOT, Origin, Served, ask, get


def environment(home: Path, **settings: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    settings = {f"IIIF_PROXY_{name.upper()}": value for name, value in settings.items()}
    return own | {"HOME": str(home), "PYTHONPATH": str(ROOT)} | settings


COMMAND = ("-m", "iiif_proxy.cli")
Command = Callable[..., tuple[object, str, str]]
ORIGIN = "http://127.0.0.1:1"
FAULTS: list[tuple[dict[str, str], list[str]]] = [
    # settings, how each line on standard error begins
    ({}, ["IIIF_PROXY_ORIGIN: "]),
    ({"origin": "nonsense"}, ["IIIF_PROXY_ORIGIN: 'nonsense' is not "]),
    ({"origin": "http://user:secret@host"}, ["IIIF_PROXY_ORIGIN: "]),
    (
        {"origin": ORIGIN, "cache_sise": "1"},
        ["IIIF_PROXY_CACHE_SISE: no such setting; did you mean IIIF_PROXY_CACHE_SIZE?"],
    ),
    (
        {"origin": ORIGIN, "cache_size": "much", "tile_size": "1", "upscaling": "on"},
        ["IIIF_PROXY_CACHE_SIZE: 'much' is not ", "IIIF_PROXY_TILE_SIZE: '1' is not "],
    ),
    ({"origin": ORIGIN, "upscaling": "on"}, ["IIIF_PROXY_UPSCALING: needs "]),
    ({"origin": ORIGIN, "formats": "jpg png bmp"}, ["IIIF_PROXY_FORMATS: bmp cannot be written"]),
    (
        {"origin": ORIGIN, "formats": "jpg png", "preferred_formats": "webp"},
        ["IIIF_PROXY_PREFERRED_FORMATS: webp is not among "],
    ),
    ({"origin": ORIGIN, "formats": "webp"}, ["IIIF_PROXY_FORMATS: 'webp' is not a list with jpg"]),
    ({"origin": ORIGIN, "cache_dir": "/proc/nowhere"}, ["IIIF_PROXY_CACHE_DIR: "]),
    ({"origin": ORIGIN, "cache_dir": "/dev/null"}, ["IIIF_PROXY_CACHE_DIR: "]),
]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`command("serve", origin="…")` is the exit code and both outputs; nothing is started."""
    monkeypatch.setattr(server.Server, "run", lambda server: pytest.fail("it was started"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def call(*arguments: str, **settings: str) -> tuple[object, str, str]:
        for name, value in settings.items():
            monkeypatch.setenv(f"IIIF_PROXY_{name.upper()}", value)
        try:
            code: object = cli.main(list(arguments))
        except SystemExit as done:
            code = done.code
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("settings, lines", FAULTS)
def test_faults_stop_the_command(
    command: Command, settings: dict[str, str], lines: list[str]
) -> None:
    code, _, errors = command("serve", **settings)
    found = errors.splitlines()
    assert code == 2
    assert len(found) == len(lines), errors
    for line, beginning in zip(found, lines, strict=True):
        assert line.startswith(beginning)


def test_faults_stop_any_server_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "iiif_proxy.wsgi"],
        env=environment(tmp_path, orign="x"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert lines == [
        "IIIF_PROXY_ORIGN: no such setting; did you mean IIIF_PROXY_ORIGIN?",
    ]


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        (["--version"], 0, __version__),
        (["--help"], 0, "serve"),
        (["serve", "--help"], 0, "--bind HOST:PORT"),
        ([], 2, "usage: iiif-proxy"),
        (["nothing"], 2, "usage: iiif-proxy"),
        (["serve", "--bind", "127.0.0.1:port"], 2, "argument --bind: '127.0.0.1:port' is not "),
        (["serve", "--bind", "127.0.0.1:99999"], 2, "argument --bind: there is no port 99999"),
        (["serve", "--bind", "127.0.0.1"], 2, "argument --bind: "),
        (["serve", "--bind", "::1:8182"], 2, "argument --bind: "),
        (["serve", "--bind", "unix:"], 2, "argument --bind: "),
        (["serve", "--bind", ""], 2, "argument --bind: "),
    ],
)
def test_arguments(command: Command, arguments: list[str], code: int, text: str) -> None:
    found, out, errors = command(*arguments, origin=ORIGIN)
    assert found == code
    assert text in (errors if code else out)


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:8182", ":80", "host:1", "unix:/run/x.sock"])
def test_where_it_may_listen(bind: str) -> None:
    assert serve.address(bind) == bind


@contextlib.contextmanager
def sidecar(
    home: Path, origin: Origin, environ: dict[str, str] | None = None, **settings: str
) -> Iterator[Proxy]:
    """`iiif-proxy serve`, from when it answers until it has stopped by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    log = home / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *COMMAND, "serve", "--bind", f"127.0.0.1:{port}"],
            env=environment(home, origin=origin.url, **settings) | (environ or {}),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    served = Served(port, process, log)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                if ask(port, get("/iiif/-/health")).status == 200:
                    break
            assert process.poll() is None, served.log()
            assert time.monotonic() < deadline, served.log()
            time.sleep(0.02)
        yield Proxy(served, origin)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_sidecar_with_nothing_set_but_the_origin(tmp_path: Path, origin: Origin) -> None:
    with sidecar(tmp_path, origin) as proxy:
        tile = "/3/large.png/0,0,512,512/512,512/0/default.jpg"
        seen = [proxy.ask(tile) for _ in range(4)]
        assert [answer.status for answer in seen] == [200] * 4
        assert seen[-1].get("Cache-Status") == "iiif-proxy; hit"
        assert len({answer.body for answer in seen}) == 1
        passed = ask(proxy.served.port, get("/large.png"))
        assert passed.body == ask(origin.port, get("/large.png")).body
        forwarded = ["X-Forwarded-Proto: https", "X-Forwarded-Host: img.example.org"]
        info = proxy.info("/3/large.png/info.json", *forwarded)
        assert info["id"] == "https://img.example.org/iiif/3/large.png"
        # The first may answer before the second has been started.
        deadline = time.monotonic() + 20
        while len(proxy.served.workers()) < 2:
            assert time.monotonic() < deadline, proxy.served.log()
            time.sleep(0.02)
        long = "x" * 5000
        assert proxy.ask(f"//page?{long}").status == 404
        assert origin.requests[-1].target == f"/page?{long}"
        assert "Traceback" not in proxy.served.log()
    # Its cache is all that it leaves at home.
    assert {path.name for path in tmp_path.iterdir()} == {".cache", "log"}
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == ["iiif-proxy"]


def test_untrusted_loopback(tmp_path: Path, origin: Origin) -> None:
    """gunicorn has a trust of its own, in whoever is on loopback: it must not count."""
    with sidecar(tmp_path, origin, trusted_proxies="192.0.2.1", workers="1", cache_dir="") as proxy:
        info = proxy.info("/3/a%2Fb.png/info.json", "X-Forwarded-Proto: https")
        assert info["id"] == "http://visited.example/iiif/3/a%2Fb.png"
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
