"""Bodies, both ways: streamed, promptly, in constant memory, and never whole when they are not."""

import hashlib
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import Client, Exchange, Origin, Served, ask, get, reply

LARGE = 50 << 20
BLOCK = bytes(range(256)) * 1024
CHUNKED = ("Transfer-Encoding", "chunked")


def put(*lines: str, version: str = "1.1") -> bytes:
    return get("/put", *lines, method="PUT", version=version)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# Up


def test_chunked_upload_arrives_chunked(origin: Origin, server: Served) -> None:
    parts = [b"a", b"bc" * 50_000, b"\r\n0\r\n\r\n"]
    wire = b"".join(map(chunk, parts)) + b"0\r\nX-Trailer: dropped\r\n\r\n"
    assert ask(server.port, put("Transfer-Encoding: chunked") + wire).status == 200
    request = origin.requests[0]
    assert request.body == b"".join(parts)
    assert request.all("Transfer-Encoding") == ["chunked"]
    assert request.all("Content-Length") == []


def test_large_upload_is_not_held_back(origin: Origin, server: Served) -> None:
    """The origin has the first half before the visitor sends the second."""
    half = 1 << 20
    arrived = threading.Event()

    def counting(exchange: Exchange) -> None:
        got = 0
        for data in exchange.body():
            got += len(data)
            if got >= half - (64 << 10):
                arrived.set()
        exchange.write(reply(body=str(got).encode()))

    origin.routes["/put"] = counting
    with Client(server.port) as client:
        client.send(put(f"Content-Length: {2 * half}") + bytes(half))
        assert arrived.wait(5)
        client.send(bytes(half))
        assert client.answer().body == str(2 * half).encode()


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_upload_that_breaks_off_never_looks_whole(
    origin: Origin, server: Served, framing: str
) -> None:
    ended: list[BaseException] = []
    done = threading.Event()

    def reading(exchange: Exchange) -> None:
        try:
            exchange.read()
        except EOFError as error:
            ended.append(error)
        finally:
            done.set()

    origin.routes["/put"] = reading
    with Client(server.port) as client:
        client.send(put(framing) + chunk(bytes(70_000)))
        client.finish()
        # Of chunks gunicorn itself sees that they broke off, and just closes.
        assert client.answer().status == (400 if "Length" in framing else 0)
    assert done.wait(5)
    assert ended


def test_expect_is_answered_here(origin: Origin, server: Served) -> None:
    with Client(server.port) as client:
        client.send(put("Content-Length: 3", "Expect: 100-continue"))
        assert b"100 Continue" in client.stream.head()
        client.send(b"abc")
        assert client.answer().status == 200
    assert origin.requests[0].body == b"abc"
    assert origin.requests[0].all("Expect") == []


@pytest.mark.parametrize("leave", [Exchange.close, Exchange.reset])
def test_refusal_of_a_body_that_is_still_coming(
    origin: Origin, server: Served, leave: Callable[[Exchange], None]
) -> None:
    """413 before the body is read: it reaches the visitor, and the connection is not used again."""

    def refusing(exchange: Exchange) -> None:
        exchange.write(reply("413 Content Too Large", body=b"too large"))
        leave(exchange)

    origin.routes["/put"] = refusing
    size = 20 << 20
    answer = ask(server.port, put(f"Content-Length: {size}"), *[BLOCK] * (size // len(BLOCK)))
    # A reset may overtake the answer; then it is a 502.
    assert answer.status == 413 or (leave is Exchange.reset and answer.status == 502)
    assert ask(server.port, get("/next")).body == b"default"
    assert origin.requests[-1].connection != origin.requests[-2].connection


def test_refusal_by_an_origin_that_stops_reading(origin: Origin, server: Served) -> None:
    """Half a request is on that connection: the next one must not become its body."""
    done = threading.Event()

    def refusing(exchange: Exchange) -> None:
        exchange.write(reply("413 Content Too Large", body=b"too large"))
        done.wait(5)
        exchange.close()

    origin.routes["/put"] = refusing
    size = 20 << 20
    answer = ask(server.port, put(f"Content-Length: {size}"), *[BLOCK] * (size // len(BLOCK)))
    assert answer.status == 413
    assert ask(server.port, get("/next")).body == b"default"
    done.set()


# Down


def test_event_stream_arrives_as_it_happens(origin: Origin, server: Served) -> None:
    seen = [threading.Event() for _ in range(3)]

    def happening(exchange: Exchange) -> None:
        exchange.write(reply(fields=[CHUNKED, ("Content-Type", "text/event-stream")]))
        for number, event in enumerate(seen):
            assert event.wait(5)
            exchange.write(chunk(b"data: %d\n\n" % number))
        exchange.write(b"0\r\n\r\n")

    origin.routes["/events"] = happening
    with Client(server.port, timeout=3) as client:
        client.send(get("/events"))
        answer = client.head()
        chunks = client.stream.body(answer.fields, closes=True)
        for number, event in enumerate(seen):
            event.set()
            assert next(chunks) == b"data: %d\n\n" % number
        assert list(chunks) == []


def breaking(*parts: bytes, leave: Callable[[Exchange], object]) -> Callable[[Exchange], None]:
    def handler(exchange: Exchange) -> None:
        for part in parts:
            exchange.write(part)
        leave(exchange)

    return handler


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n"


@pytest.mark.parametrize("leave", [Exchange.close, Exchange.reset])
@pytest.mark.parametrize(
    "parts",
    [
        [HEAD + b"Content-Length: 10\r\n\r\n", b"half"],
        [HEAD + b"Content-Length: 10\r\n\r\n"],
        [HEAD + b"Content-Length: 5000000\r\n\r\n", bytes(4_999_999)],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\nhalf\r\n"],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"9\r\nhalf"],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\nhalf\r\n0\r\n"],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"],
    ],
    ids=["half", "nothing", "all but one", "chunks", "a chunk", "the end", "garbage"],
)
def test_body_that_breaks_off_never_looks_whole(
    origin: Origin, server: Served, parts: list[bytes], leave: Callable[[Exchange], None]
) -> None:
    origin.routes["/broken"] = breaking(*parts, leave=leave)
    answer = ask(server.port, get("/broken"))
    assert answer.status == 502 or not answer.whole
    origin.routes["/broken"] = reply(body=b"mended")
    assert ask(server.port, get("/broken")).body == b"mended"


def test_stalling_body_is_cut(origin: Origin, server: Served) -> None:
    gone = threading.Event()
    origin.routes["/stalls"] = breaking(
        HEAD + b"Content-Length: 10\r\n\r\nhalf", leave=lambda exchange: gone.wait(5)
    )
    answer = ask(server.port, get("/stalls"))
    gone.set()
    assert (answer.body, answer.whole) == (b"half", False)


def test_visitor_who_leaves_costs_no_connection_of_another(origin: Origin, server: Served) -> None:
    left = threading.Event()

    def endless(exchange: Exchange) -> None:
        exchange.write(HEAD + b"Content-Length: 99999999999\r\n\r\n")
        try:
            while True:
                exchange.write(BLOCK)
        except OSError:
            left.set()
            raise

    origin.routes["/endless"] = endless
    with Client(server.port) as client:
        client.send(get("/endless"))
        assert client.head().status == 200
    assert left.wait(5)
    assert ask(server.port, get("/next")).body == b"default"


# Memory


def resident_peak(pid: int) -> int:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) << 10


def test_large_bodies_in_constant_memory(origin: Origin, server: Served) -> None:
    """50 MB each way, with a length and in chunks; the worker's peak grows by at most 4 MB."""
    blocks = LARGE // len(BLOCK)
    expected = hashlib.sha256(BLOCK * blocks).hexdigest().encode()

    def hashing(exchange: Exchange) -> None:
        digest = hashlib.sha256()
        for data in exchange.body():
            digest.update(data)
        exchange.write(reply(body=digest.hexdigest().encode()))

    def sending(exchange: Exchange) -> None:
        exchange.write(reply(fields=[("Content-Length", str(LARGE))]))
        for _ in range(blocks):
            exchange.write(BLOCK)

    def chunking(exchange: Exchange) -> None:
        exchange.write(reply(fields=[CHUNKED]))
        for _ in range(blocks):
            exchange.write(chunk(BLOCK))
        exchange.write(b"0\r\n\r\n")

    origin.routes |= {"/put": hashing, "/length": sending, "/chunks": chunking}

    def up(length: int) -> None:
        count = length // len(BLOCK)
        answer = ask(server.port, put(f"Content-Length: {length}"), *[BLOCK] * count)
        assert count != blocks or answer.body == expected
        wire = [chunk(BLOCK)] * count
        answer = ask(server.port, put("Transfer-Encoding: chunked"), *wire, b"0\r\n\r\n")
        assert count != blocks or answer.body == expected

    def down(path: str) -> None:
        digest = hashlib.sha256()
        with Client(server.port) as client:
            client.send(get(path))
            answer = client.head()
            for data in client.stream.body(answer.fields, closes=True):
                digest.update(data)
        assert digest.hexdigest().encode() == expected

    (worker,) = server.workers()
    up(2 << 20)
    down("/length")
    before = resident_peak(worker)
    up(LARGE)
    down("/length")
    down("/chunks")
    assert resident_peak(worker) - before < 4 << 20
