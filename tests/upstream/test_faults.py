"""An origin that fails, connections that were kept too long, requests that try to be two."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from iiif_proxy.errors import OriginFailed, OriginTimeout
from iiif_proxy.upstream import Upstream
from tests.servers import ROOT, Client, Exchange, Fields, Origin, Served, ask, get, reply
from tests.upstream.conftest import call, serving


@pytest.fixture
def upstream(origin: Origin) -> Iterator[Upstream]:
    app = Upstream(origin.url, read_timeout=0.3)
    yield app
    app.close()


# 502 and 504


def test_dead_origin() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with serving(base_url=f"http://127.0.0.1:{port}") as server:
        answer = ask(server.port, get("/a"))
        assert (answer.status, answer.body) == (502, b"The origin cannot be reached.")


def test_unknown_host() -> None:
    with pytest.raises(OriginFailed):
        call(Upstream("http://nowhere.invalid"))


def test_origin_that_takes_no_connection() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        begun = time.monotonic()
        with pytest.raises(OriginTimeout):
            call(Upstream(f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout=0.2))
        assert time.monotonic() - begun < 10
        for sock in waiting:
            sock.close()


def test_origin_that_never_answers(origin: Origin, server: Served) -> None:
    done = threading.Event()
    origin.routes["/slow"] = lambda exchange: done.wait(5)
    assert ask(server.port, get("/slow")).status == 504
    done.set()


def test_a_silent_origin_takes_no_more_than_one_thread(origin: Origin) -> None:
    app = Upstream(origin.url, read_timeout=0.2)
    done = threading.Event()
    origin.routes["/slow"] = lambda exchange: (done.wait(20), exchange.close())
    for _ in range(3):
        with pytest.raises(OriginTimeout):
            call(app, "/slow")
    patient = Upstream(origin.url, read_timeout=20)
    patient._circuit = app._circuit
    with ThreadPoolExecutor(1) as one:
        asking = one.submit(call, patient, "/slow")
        while not any(request.target == "/slow" for request in origin.requests[3:]):
            time.sleep(0.005)
        with pytest.raises(OriginTimeout) as refused:
            call(app, "/quick")
        assert refused.value.headers["Retry-After"]
        done.set()
        with pytest.raises(OriginFailed):
            asking.result()
    assert call(app, "/quick")[0].startswith("200")
    app.close()


def test_head_that_trickles_has_one_time_in_all(origin: Origin, upstream: Upstream) -> None:
    done = threading.Event()

    def trickling(exchange: Exchange) -> None:
        for byte in reply(fields=[("X-Long", "x" * 200)]):
            exchange.write(bytes([byte]))
            if done.wait(0.05):
                break
        exchange.close()

    origin.routes["/trickles"] = trickling
    begun = time.monotonic()
    with pytest.raises(OriginTimeout):
        call(upstream, "/trickles")
    done.set()
    assert time.monotonic() - begun < 8


def test_body_that_trickles_is_waited_for(origin: Origin, upstream: Upstream) -> None:
    def trickling(exchange: Exchange) -> None:
        exchange.write(reply(fields=[("Content-Type", "a/b"), ("Content-Length", "5")]))
        for byte in b"whole":
            time.sleep(0.1)
            exchange.write(bytes([byte]))

    origin.routes["/trickles"] = trickling
    assert call(upstream, "/trickles")[2] == b"whole"


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 099 No\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX A: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: first\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 200_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_502(origin: Origin, server: Served, wire: bytes) -> None:
    def broken(exchange: Exchange) -> None:
        exchange.write(wire)
        exchange.close()

    origin.routes["/broken"] = broken
    answer = ask(server.port, get("/broken"))
    assert (answer.status, answer.whole) == (502, True)
    assert answer.body.startswith(b"The origin")


def test_endless_head_has_a_bound(origin: Origin, upstream: Upstream) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            exchange.write(b"X-Endless: " + b"x" * 10_000 + b"\r\n")

    origin.routes["/endless"] = endless
    with pytest.raises(OriginFailed):
        call(upstream, "/endless")


# Connections that are kept


def test_one_connection_for_many_requests(origin: Origin, upstream: Upstream) -> None:
    for target in ["/a", "/b?c", "/a"]:
        call(upstream, target)
    call(upstream, "/put", REQUEST_METHOD="PUT", body=b"abc")
    origin.routes["/chunks"] = reply(
        fields=[("Content-Type", "a/b"), ("Transfer-Encoding", "chunked")],
        body=b"3\r\nabc\r\n0\r\nX-Trailer: b\r\n\r\n",
    )
    assert call(upstream, "/chunks")[2] == b"abc"
    call(upstream, "/a")
    assert len({request.connection for request in origin.requests}) == 1


@pytest.mark.parametrize(
    "wire",
    [
        reply(fields=[("Connection", "Close"), ("Content-Type", "a/b")], body=b"abc"),
        reply(fields=[("Content-Type", "a/b")], body=b"abc") + b"HTTP/1.1 200 Poison\r\n\r\n",
        reply(
            fields=[("Content-Type", "a/b"), ("Transfer-Encoding", "chunked")],
            body=b"3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 Poison\r\n\r\n",
        ),
        reply(
            fields=[
                ("Content-Type", "a/b"), ("Content-Length", "3"), ("Transfer-Encoding", "chunked"),
            ],
            body=b"3\r\nabc\r\n0\r\n\r\n",
        ),
        b"HTTP/1.0 200 OK\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\nabc",
    ],
    ids=["close", "more than its length", "more than its chunks", "both framings", "HTTP/1.0"],
)  # fmt: skip
def test_connections_not_to_be_used_again(origin: Origin, upstream: Upstream, wire: bytes) -> None:
    origin.routes["/last"] = wire
    _, fields, body = call(upstream, "/last")
    assert body == b"abc"
    assert [name for name, _ in fields].count("Content-Length") == (b"chunked" not in wire)
    assert call(upstream, "/next")[2] == b"default"
    first, second = origin.requests
    assert first.connection != second.connection


def test_kept_connection_that_the_origin_has_closed(origin: Origin, upstream: Upstream) -> None:
    def closing(exchange: Exchange) -> None:
        exchange.write(reply(fields=[("Content-Type", "a/b")]))
        exchange.close()

    origin.routes["/a"] = closing
    for method in ["GET", "POST", "POST"]:
        call(upstream, "/a", REQUEST_METHOD=method)
        time.sleep(0.05)  # the origin's end has arrived by then
    assert [request.method for request in origin.requests] == ["GET", "POST", "POST"]


@pytest.mark.parametrize(
    "method, body, times",
    [("GET", b"", 2), ("HEAD", b"", 2), ("POST", b"", 1), ("GET", b"x", 1), ("PUT", b"x", 1)],
)
def test_kept_connection_that_closes_under_way(
    origin: Origin, upstream: Upstream, method: str, body: bytes, times: int
) -> None:
    """GET and HEAD are asked once more, on a new connection; nothing else is ever asked twice."""
    call(upstream, "/first")
    kept = origin.requests[0].connection

    def dropping(exchange: Exchange) -> None:
        if exchange.request.connection == kept:
            exchange.close()
        else:
            exchange.write(reply(fields=[("Content-Type", "a/b")]))

    origin.routes["/a"] = dropping
    if times == 2:
        call(upstream, "/a", REQUEST_METHOD=method, body=body)
    else:
        with pytest.raises(OriginFailed):
            call(upstream, "/a", REQUEST_METHOD=method, body=body)
    assert [request.target for request in origin.requests[1:]] == ["/a"] * times


def test_new_connection_that_closes_is_not_tried_again(origin: Origin, upstream: Upstream) -> None:
    origin.routes["/a"] = Exchange.close
    with pytest.raises(OriginFailed):
        call(upstream, "/a")
    assert len(origin.requests) == 1


def test_threads_share_the_pool(origin: Origin) -> None:
    app = Upstream(origin.url, pool=3)

    def echo(exchange: Exchange) -> None:
        body = exchange.request.target.encode() * 2000
        exchange.write(reply(fields=[("Content-Type", "a/b")], body=body))

    origin.default = echo
    before = origin.connections
    with ThreadPoolExecutor(6) as threads:
        targets = [f"/{number}" for number in range(120)]
        answers = list(threads.map(lambda target: call(app, target)[2], targets))
    assert answers == [target.encode() * 2000 for target in targets]
    assert origin.connections - before <= 120 - 60  # most found one that was kept
    idle = app._pool._mine()
    assert 1 <= len(idle) <= 3
    app.close()
    assert not idle


def test_forked_processes_share_no_connection(origin: Origin) -> None:
    code = f"""if True:
        import io, os, sys
        from iiif_proxy.upstream import Upstream
        app = Upstream({origin.url!r})
        def ask(target):
            environ = {{"REQUEST_METHOD": "GET", "PATH_INFO": target}}
            assert b"".join(app(environ, lambda status, fields: None)) == b"default"
        ask("/parent")
        if (child := os.fork()) == 0:
            ask("/child")
            ask("/child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        ask("/parent")
        app.close()
    """
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=10)
    used = [(request.target, request.connection) for request in origin.requests]
    assert [target for target, _ in used] == ["/parent", "/child", "/child", "/parent"]
    assert used[0][1] == used[3][1] != used[1][1] == used[2][1]


# Requests that try to be two

TAIL = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
END = b"0\r\n\r\n"
ALL = str(len(TAIL))


@pytest.mark.parametrize(
    "lines, body",
    [
        (["Content-Length: 5", "Transfer-Encoding: chunked"], END + TAIL),
        (["Transfer-Encoding: chunked", "Content-Length: " + ALL], END + TAIL),
        (["Transfer-Encoding : chunked"], END + TAIL),
        (["Transfer-Encoding: xchunked"], END + TAIL),
        (["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], END + TAIL),
        (["Transfer-Encoding: gzip, chunked"], END + TAIL),
        (["Transfer-Encoding:\x0bchunked"], END + TAIL),
        (["X: y\nTransfer-Encoding: chunked"], END + TAIL),
        (["Content-Length: 0", "Content-Length: " + ALL], TAIL),
        (["Content-Length: " + ALL, "Content-Length: 0"], TAIL),
        (["Content-Length: 0, " + ALL], TAIL),
        (["Content-Length: +" + ALL], TAIL),
        (["Content-Length: 3_5"], TAIL),
        (["Content-Length:"], TAIL),
        (["Transfer-Encoding: chunked"], b"0_0\r\n\r\n" + TAIL),
        (["Transfer-Encoding: chunked"], b"+0\r\n\r\n" + TAIL),
        (["Transfer-Encoding: chunked"], b"1\r\nabc\r\n0\r\n\r\n" + TAIL),
        (["Content_Length: 0", "Content-Length: " + ALL], TAIL),
        (["Connection: Content-Length", "Content-Length: " + ALL], TAIL),
        (["Connection: Transfer-Encoding", "Transfer-Encoding: chunked"], b"zz\r\n" + TAIL),
    ],
)
def test_no_request_is_ever_two(
    origin: Origin, server: Served, lines: list[str], body: bytes
) -> None:
    """Refused, or handed on with one framing of which the tail is the body."""
    wire = get("/a", *lines, method="POST").replace(b"Connection: close\r\n", b"") + body
    with Client(server.port, timeout=3) as client:
        client.send(wire)
        client.finish()
        status = client.answer().status
    assert (status, [request.body for request in origin.requests]) in [
        (200, [TAIL]),
        (400, []),
        (501, []),
    ]
    for request in origin.requests:
        assert len(request.all("Content-Length") + request.all("Transfer-Encoding")) == 1
    # And the next visitor's request is answered as itself.
    answer = ask(server.port, get("/next"))
    assert (answer.status, answer.body) == (200, b"default")
    assert origin.requests[-1].target == "/next"


def test_identity_beside_chunked_is_not_handed_on(origin: Origin, server: Served) -> None:
    """gunicorn reads it as chunked: after the end the tail is rightly a request of its own."""
    coded = get("/a", "Transfer-Encoding: identity, chunked", method="POST")
    assert ask(server.port, coded + END + TAIL).status == 501
    assert origin.requests == []


def test_server_that_refuses_to_begin_leaks_nothing(origin: Origin, upstream: Upstream) -> None:
    """The connection is closed (pytest fails on a socket that is not), not kept half read."""
    origin.default = reply(body=bytes(1 << 20))

    def refusing(status: str, fields: Fields) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        upstream({"REQUEST_METHOD": "GET"}, refusing)
    origin.default = reply(body=b"next")
    assert list(upstream({"REQUEST_METHOD": "GET"}, lambda status, fields: None)) == [b"next"]
