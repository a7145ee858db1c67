"""Heads and bodies of answers, however the network cuts them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iiif_proxy.upstream.framing import (
    BadAnswer,
    Chunked,
    Exactly,
    UntilClosed,
    framing_of,
    parse_head,
)


def test_head_leaves_in_todays_form() -> None:
    head = parse_head(
        b"HTTP/1.1 200 Fine \xe9\r\nX-A:b\nX-B : \t c d \r\nX-Folded: a\r\n  b\r\n\tc\r\nX-C:\r\n"
        b"Set-Cookie: a\r\nset-cookie: b\r\nContent-Length: 3\r\ncontent-length: 3, 3\r"
    )
    assert (head.status, head.reason, head.length, head.keep) == (200, "Fine \xe9", 3, True)
    assert head.fields == [
        ("X-A", "b"),
        ("X-B", "c d"),
        ("X-Folded", "a b c"),
        ("X-C", ""),
        ("Set-Cookie", "a"),
        ("set-cookie", "b"),
        ("Content-Length", "3"),
    ]


@given(st.binary(max_size=200))
def test_no_head_makes_two_fields_of_one(junk: bytes) -> None:
    try:
        head = parse_head(b"HTTP/1.1 200 OK\r\nX-A: " + junk)
    except BadAnswer:
        return
    for name, value in [*head.fields, ("reason", head.reason)]:
        assert re.fullmatch(r"[!#-'*+.^_`|~0-9A-Za-z-]+", name)
        assert re.fullmatch(r"[^\x00-\x08\x0a-\x1f\x7f]*", value)


@pytest.mark.parametrize(
    "head, keep",
    [
        (b"HTTP/1.1 200 OK", True),
        (b"HTTP/1.1 200 OK\r\nConnection: a, CLOSE", False),
        (b"HTTP/1.1 200 OK\r\nConnection: a\r\nConnection: close", False),
        (b"HTTP/1.0 200 OK", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive", True),
    ],
)
def test_keeping(head: bytes, keep: bool) -> None:
    assert parse_head(head).keep is keep


@pytest.mark.parametrize(
    "lines, method, expected",
    [
        (b"200 OK\r\nContent-Length: 3", "GET", Exactly),
        (b"200 OK\r\nContent-Length: 3", "HEAD", None),
        (b"204 No Content\r\nContent-Length: 3", "GET", None),
        (b"304 Not Modified\r\nTransfer-Encoding: chunked", "GET", None),
        (b"200 OK\r\nTransfer-Encoding: CHUNKED", "GET", Chunked),
        (b"200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3", "GET", Chunked),
        (b"200 OK", "GET", UntilClosed),
    ],
)
def test_where_a_body_ends(lines: bytes, method: str, expected: type | None) -> None:
    framing = framing_of(parse_head(b"HTTP/1.1 " + lines), method)
    assert framing.done if expected is None else type(framing) is expected


CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def cut(wire: bytes, sizes: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    while wire:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(wire[:size])
        wire = wire[size:]
    return pieces


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=8), CUTS, st.booleans())
def test_chunks_however_they_arrive(parts: list[bytes], sizes: list[int], trailers: bool) -> None:
    wire = b"".join(b"%X ;a=b\r\n%b\r\n" % (len(part), part) for part in parts)
    wire += b"0\r\nX-A: b\r\nX-B: c\r\n\r\n" if trailers else b"000\r\n\r\n"
    framing = Chunked()
    body = b""
    for piece in cut(wire, sizes):
        assert not framing.done
        body += framing.feed(piece)
    assert framing.done
    assert not framing.spare
    assert body == b"".join(parts)


@given(st.binary(max_size=300), CUTS)
def test_any_bytes_are_chunks_or_an_error(junk: bytes, sizes: list[int]) -> None:
    framing = Chunked()
    fed = 0
    try:
        for piece in cut(junk, sizes):
            fed += len(framing.feed(piece))
    except BadAnswer:
        return
    assert fed <= len(junk)
    if not framing.done:
        with pytest.raises(BadAnswer):
            framing.end()


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n", b" 1\r\na", b"+1\r\na", b"0x1\r\na", b"1_0\r\n", b"-0\r\n", b"1\r\nab\r\n",
        b"1" * 16 + b"\r\n", b"a" * 9000, b"0\r\n" + b"X: y\r\n" * 20_000, b"1\n\r\n", b"1 a\r\n",
    ],
)  # fmt: skip
def test_what_are_no_chunks(wire: bytes) -> None:
    framing = Chunked()
    with pytest.raises(BadAnswer):
        framing.feed(wire)


def test_small_pieces_are_asked_for_to_the_byte() -> None:
    framing = Exactly(5)
    assert framing.feed(b"abc") == b"abc"
    assert (framing.wants, framing.done) == (2, False)
    assert framing.feed(b"defg") == b"de"
    assert framing.done
    assert framing.spare
