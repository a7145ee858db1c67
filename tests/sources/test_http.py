"""One source over HTTP: connections, times, redirects, odd answers."""

import gzip
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iiif_proxy.errors import OriginFailed, OriginTimeout, ProxyError
from iiif_proxy.sources.base import Answer, Conditions
from iiif_proxy.sources.http import HttpSource
from iiif_proxy.sources.wire import is_public
from tests.servers import Exchange, Origin, reply
from tests.sources.conftest import HURRIED, LIMITS, RED, answer, descriptors, until


def source_of(origin: Origin, **options: Any) -> HttpSource:
    limits = LIMITS | options
    return HttpSource(f"{origin.url}/{{id}}", **limits)


def ask(source: HttpSource, identifier: str = "a", etag: str | None = None) -> Answer | None:
    return source.ask(identifier, Conditions(etag, None) if etag else None, {})


def body(source: HttpSource, identifier: str = "a") -> bytes:
    found = ask(source, identifier)
    assert found is not None
    try:
        return b"".join(found.chunks)
    finally:
        found.close()


# Connections


def test_one_connection_for_all_kinds_of_answers(origin: Origin) -> None:
    """What is not read is little: a 304, a 404 or a redirect does not cost a connection."""
    origin.routes["/a"] = answer(RED)
    origin.routes["/b"] = answer(b"", "302 Found", Location="/a")
    origin.routes["/same"] = answer(b"", "304 Not Modified")
    origin.routes["/not"] = answer(b"<h1>Not here</h1>" * 99, "404 Not Found")
    origin.routes["/oops"] = answer(b"<h1>Oops</h1>" * 99, "500 Oops")
    source = source_of(origin)
    for _ in range(5):
        assert body(source, "a") == body(source, "b") == RED
        unchanged = ask(source, "same", '"1"')
        assert unchanged is not None
        assert not unchanged.modified
        unchanged.close()
        assert ask(source, "not") is None
        with pytest.raises(OriginFailed):
            ask(source, "oops")
    assert origin.connections == 1
    assert len(origin.requests) == 30


def test_a_refusal_with_a_body_that_does_not_come_is_not_waited_for(origin: Origin) -> None:
    origin.routes["/a"] = lambda exchange: (
        exchange.write(b"HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\n"),
        time.sleep(4),
    )
    begun = time.monotonic()
    assert ask(source_of(origin, read_timeout=9, total_timeout=9)) is None
    assert time.monotonic() - begun < 3


def test_a_kept_connection_that_was_closed_meanwhile(origin: Origin) -> None:
    def closes(exchange: Exchange) -> None:
        exchange.write(answer(RED))
        exchange.close()

    source = source_of(origin)
    origin.routes["/a"] = closes
    for _ in range(5):
        assert body(source) == RED


def test_a_kept_connection_that_is_closed_at_the_next_request(origin: Origin) -> None:
    """The race that no look before sending can win: the request is sent once more."""
    turns: list[int] = []

    def closes(exchange: Exchange) -> None:
        turns.append(1)
        if len(turns) == 2:
            exchange.reset()
        else:
            exchange.write(answer(RED))

    source = source_of(origin)
    origin.routes["/a"] = closes
    assert body(source) == body(source) == RED
    assert len(turns) == 3


def test_surplus_bytes_are_not_the_next_answer(origin: Origin) -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    origin.routes["/a"] = answer(RED) + evil
    source = source_of(origin)
    origin.routes["/b"] = answer(b"right")
    assert body(source, "a") == RED
    assert body(source, "b") == b"right"


def test_cookies_of_one_image_are_not_sent_for_the_next(origin: Origin) -> None:
    origin.routes["/a"] = answer(RED, Set_Cookie="session=1; Path=/")
    source = source_of(origin)
    body(source), body(source)
    sent = {name.lower() for request in origin.requests for name, _ in request.fields}
    assert sent == {"host", "user-agent", "accept", "accept-encoding"}


def test_after_a_fork_the_connections_are_others(origin: Origin) -> None:
    origin.routes["/a"] = answer(RED)
    source = source_of(origin)
    assert body(source) == RED
    source.after_fork()
    assert body(source) == RED
    assert origin.connections == 2


# Times


def trickle(*parts: bytes, pause: float = 0.1) -> Callable[[Exchange], None]:
    def handler(exchange: Exchange) -> None:
        for part in parts:
            exchange.write(part)
            time.sleep(pause)

    return handler


SLOW: dict[str, Callable[[Exchange], None]] = {
    "nothing": lambda exchange: time.sleep(1.5),
    "headers": trickle(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 99),
    "one header": trickle(b"HTTP/1.1 200 OK\r\nX: ", *[b"y"] * 99),
    "interim answers": trickle(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 40),
    "body": trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", *[b"y"] * 99),
    "chunks": trickle(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\ny\r\n"] * 40
    ),
    "trailers": trickle(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\ny\r\n0\r\n", *[b"X: y\r\n"] * 99
    ),
    "redirects": trickle(b"HTTP/1.1 302 Found\r\nLocation: /a\r\n", *[b"X: y\r\n"] * 4, b"\r\n"),
}


@pytest.mark.parametrize("slow", SLOW)
def test_no_answer_takes_longer_than_its_time(origin: Origin, slow: str) -> None:
    origin.routes["/a"] = SLOW[slow]
    begun = time.monotonic()
    with pytest.raises(OriginTimeout):
        body(source_of(origin, **HURRIED))
    assert time.monotonic() - begun < 3


def test_a_stall_ends_before_the_whole_time(origin: Origin) -> None:
    origin.routes["/a"] = trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ny", b"", pause=5)
    begun = time.monotonic()
    with pytest.raises(OriginTimeout):
        body(source_of(origin, read_timeout=0.4, total_timeout=20))
    assert time.monotonic() - begun < 4


def test_a_port_that_takes_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        begun = time.monotonic()
        with pytest.raises(OriginTimeout):
            ask(HttpSource(f"http://127.0.0.1:{port}/{{id}}", connect_timeout=0.2, read_timeout=9))
        assert time.monotonic() - begun < 6
        for one in waiting:
            one.close()


def test_a_port_where_nobody_is_and_a_name_that_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for host in (f"127.0.0.1:{port}", "no-such-host.invalid"):
        with pytest.raises(OriginFailed):
            ask(HttpSource(f"http://{host}/{{id}}"))


# Odd answers

HEAD = b"HTTP/1.1 200 OK\r\n"
ODD: dict[str, bytes] = {
    "no HTTP": b"\x00\x01\x02\x03" * 99,
    "an old protocol": b"HTTP/9 OK\r\n\r\n",
    "a status that is none": b"HTTP/1.1 abc OK\r\n\r\n",
    "nothing": b"",
    "an endless status line": b"HTTP/1.1 200 " + b"O" * 99_999 + b"\r\n\r\n",
    "an endless header": HEAD + b"X: " + b"y" * 99_999 + b"\r\n\r\n",
    "a thousand headers": HEAD + b"X: y\r\n" * 1000 + b"\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "too long a length": HEAD + b"Content-Length: 30\r\n\r\nabcd",
    "chunks without an end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n",
    "chunks that are none": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabcd\r\n0\r\n\r\n",
    "an unknown encoding": HEAD + b"Content-Encoding: br\r\nContent-Length: 4\r\n\r\nabcd",
    "gzip that is none": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    "gzip that breaks off": reply(
        fields=[("Content-Encoding", "gzip")], body=gzip.compress(RED)[:-9]
    ),
    "a part that was not asked for": reply(206, body=b"abcd"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a redirect without a place": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_answers_are_the_origins_failure(origin: Origin, odd: str) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.write(ODD[odd])
        exchange.close()

    origin.routes["/a"] = handler
    source = source_of(origin)
    with pytest.raises(OriginFailed) as caught:
        body(source)
    assert "127.0.0.1" not in caught.value.public
    origin.routes["/a"] = answer(RED)
    assert body(source) == RED


@pytest.mark.parametrize(
    "fields",
    [
        b"X: \xff\xfe\x80\r\n",
        b'ETag: "\xff"\r\nETag: "b"\r\n',
        b"Last-Modified: \xb2\r\nContent-Type: \xe9\r\n",
        b"X:\r\n y\r\n",
        b"\xff: y\r\n",
        b"no colon\r\n",
        b"X: a\rb\r\n",
    ],
)
def test_odd_headers_do_no_harm(origin: Origin, fields: bytes) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.write(HEAD + b"Content-Length: %d\r\n" % len(RED) + fields + b"\r\n" + RED)
        exchange.close()

    origin.routes["/a"] = handler
    assert body(source_of(origin)) == RED


@pytest.mark.parametrize(
    "encoding, packed",
    [
        ("gzip", gzip.compress(RED)),
        ("x-gzip", gzip.compress(RED)),
        ("GZIP", gzip.compress(RED[:99]) + gzip.compress(RED[99:])),
        ("gzip", gzip.compress(RED) + bytes(99)),
        ("deflate", zlib.compress(RED)),
        ("identity", RED),
    ],
)
def test_compressed_although_asked_not_to(origin: Origin, encoding: str, packed: bytes) -> None:
    origin.routes["/a"] = answer(packed, Content_Encoding=encoding)
    assert body(source_of(origin)) == RED
    assert origin.requests[0].all("Accept-Encoding") == ["identity"]


def test_a_gzip_bomb_comes_in_small_pieces(origin: Origin) -> None:
    squeeze = zlib.compressobj(wbits=31)
    packed = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(200)) + squeeze.flush()
    assert len(packed) < 300_000
    origin.routes["/a"] = answer(packed, Content_Encoding="gzip")
    found = ask(source_of(origin, total_timeout=20))
    assert found is not None
    tracemalloc.start()
    try:
        sizes = [len(chunk) for chunk in found.chunks]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        found.close()
    assert sum(sizes) == 200 << 20
    assert peak < 4 << 20


def test_large_bodies_come_in_bounded_pieces(origin: Origin) -> None:
    origin.routes["/a"] = answer(bytes(30 << 20))
    found = ask(source_of(origin, total_timeout=20))
    assert found is not None
    assert max(len(chunk) for chunk in found.chunks) <= 256 << 10
    found.close()


# Redirects


@pytest.fixture
def third(origin: Origin) -> Iterator[Origin]:
    """Another origin: another port of the same host."""
    with Origin() as made:
        made.routes["/b"] = answer(b"of another")
        yield made


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_within_the_origin(origin: Origin, status: int) -> None:
    origin.routes["/a"] = answer(b"moved", f"{status} Moved", Location="b/../c%20d?x=1#top")
    origin.routes["/c%20d"] = answer(RED)
    found = ask(source_of(origin))
    assert found is not None
    assert b"".join(found.chunks) == RED
    assert found.url == f"{origin.url}/c%20d?x=1"
    found.close()
    assert origin.requests[1].target == "/c%20d?x=1"


PLACES = [
    "http://example.org/b", "http://127.0.0.1:1/b", "http://127.0.0.2:{port}/b", "file:///etc/passwd",
    "ftp://127.0.0.1/b", "http://[::1/b", "http://user:word@127.0.0.1:{port}/b",
    "//127.0.0.2/b", "http://127.0.0.1:{port}@127.0.0.2/b", "http://localhost:{port}/b",
    "gopher://127.0.0.1:{port}/b", "http://127.0.0.1:99999/b", "javascript:alert(1)",
    "http://127.1:{port}/b", "http://2130706433:{port}/b", "http://0:{port}/b",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_to_a_place_that_is_not_allowed(origin: Origin, place: str) -> None:
    origin.routes["/a"] = answer(b"", "302 Found", Location=place.format(port=origin.port))
    source = source_of(origin)
    with pytest.raises(OriginFailed, match="not allowed") as caught:
        ask(source)
    assert caught.value.public == "The origin redirects this image to a place not allowed."
    assert len(origin.requests) == 1


@pytest.mark.parametrize("allowed", ["127.0.0.1:{port}", "127.0.0.*:{port}", "*"])
def test_to_a_host_and_port_that_are_named(origin: Origin, third: Origin, allowed: str) -> None:
    origin.routes["/a"] = answer(b"", "302 Found", Location=f"{third.url}/b")
    source = source_of(origin, redirect_hosts=(allowed.format(port=third.port),))
    assert body(source) == b"of another"
    with pytest.raises(OriginFailed):
        body(source_of(origin, redirect_hosts=("127.0.0.1", "127.0.0.1:1")))


def test_a_pattern_does_not_lead_into_a_private_network(origin: Origin, third: Origin) -> None:
    """`localhost` fits the pattern, and the address it has is looked at once connected."""
    place = third.url.replace("127.0.0.1", "localhost") + "/b"
    origin.routes["/a"] = answer(b"", "302 Found", Location=place)
    with pytest.raises(OriginFailed, match="not allowed"):
        body(source_of(origin, redirect_hosts=(f"*host:{third.port}",)))
    assert third.requests == []
    named = source_of(origin, redirect_hosts=(f"localhost:{third.port}",))
    assert body(named) == b"of another"


@pytest.mark.parametrize(
    "address, public",
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("127.0.0.1", False),
        ("169.254.169.254", False), ("192.168.0.1", False), ("172.16.0.1", False),
        ("0.0.0.0", False), ("10.1.2.3", False), ("100.64.0.1", False),
        ("::1", False), ("fe80::1%eth0", False), ("fd00::1", False),
        ("::ffff:10.0.0.1", False), ("::ffff:93.184.216.34", True), ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False), ("224.0.0.1", False),
    ],
)  # fmt: skip
def test_addresses_of_private_networks(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_in_circles(origin: Origin) -> None:
    for name, place in (("a", "/b"), ("b", "/a")):
        origin.routes[f"/{name}"] = answer(b"", "302 Found", Location=place)
    with pytest.raises(OriginFailed, match="circles"):
        ask(source_of(origin))
    assert len(origin.requests) == 6


def test_conditions_go_along_redirects(origin: Origin) -> None:
    origin.routes["/a"] = answer(b"", "302 Found", Location="/b")
    origin.routes["/b"] = answer(b"", "304 Not Modified")
    found = ask(source_of(origin), etag='"1"')
    assert found is not None
    assert not found.modified
    assert origin.requests[1].all("If-None-Match") == ['"1"']


# TLS


@pytest.fixture(scope="module")
def pem(need: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "pem"
    made = subprocess.run(
        [
            need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-keyout", "-", "-out", "-",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    path.write_bytes(made.stdout)
    return path


def test_certificates(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with Origin(context) as origin:
        origin.default = answer(bytes(100_000))
        url = origin.url.replace("127.0.0.1", "localhost")
        with pytest.raises(OriginFailed, match="CERTIFICATE_VERIFY_FAILED"):
            ask(HttpSource(url + "/{id}"))
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        source = HttpSource(url + "/{id}", read_timeout=0.3, total_timeout=1)
        assert body(source) == body(source) == bytes(100_000)
        assert len({request.connection for request in origin.requests}) == 1
        with pytest.raises(OriginFailed, match="CERTIFICATE_VERIFY_FAILED"):
            ask(HttpSource(origin.url + "/{id}"))
        # Times are kept here too.
        origin.default = trickle(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 99)
        with pytest.raises(OriginTimeout):
            ask(source)


# Nothing is left


def test_faults_leave_no_thread_and_no_descriptor(origin: Origin) -> None:
    def breaks(exchange: Exchange) -> None:
        exchange.write(HEAD + b"Content-Length: 999999\r\n\r\nabc")
        exchange.reset()

    origin.routes["/breaks"] = breaks
    origin.routes["/slow"] = lambda exchange: time.sleep(0.2)
    origin.routes["/moved"] = answer(b"", "302 Found", Location="http://example.org/")
    source = source_of(origin, read_timeout=0.05, pool=2)

    def all_of_them() -> None:
        for name in ("breaks", "slow", "moved", "not-there"):
            try:
                found = ask(source, name)
            except ProxyError:
                continue
            if found is not None:
                with pytest.raises(ProxyError):
                    list(found.chunks)
                found.close()

    all_of_them()
    time.sleep(0.3)
    threads, before = ours(), descriptors()
    for _ in range(5):
        all_of_them()
    assert ours() == threads
    until(lambda: descriptors() <= before)


def ours() -> int:
    return len([t for t in threading.enumerate() if "_serve" not in t.name])
