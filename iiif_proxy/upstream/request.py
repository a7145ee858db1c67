"""A request as it leaves for the origin: its head, and the blocks of its body."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from iiif_proxy.errors import InvalidRequest, NotSupported
from iiif_proxy.upstream.framing import LENGTH, TOKEN, VALUE, hop_by_hop, tokens
from iiif_proxy.upstream.target import raw_target

Environ = dict[str, Any]

BLOCK = 64 << 10
CHUNKED = -1
TARGET = re.compile(r"/[\x21-\x7e\x80-\xff]*|\*")
# Made here from the environ (so `Content_Length` of a lax server cannot pass for another length),
# or answered by our own server.
OURS = frozenset({"host", "content-length", "content-type", "expect"})
# What a proxy says of its visitor.
WITNESS = frozenset({"forwarded", "x-real-ip"})


@dataclass(frozen=True, slots=True)
class Manners:
    """What is said of ourselves and of the visitor; see Upstream."""

    base: str
    host: str
    preserve_host: bool
    via: str | None
    forwarded_for: bool
    forwarded_proto: bool
    forwarded_host: bool
    trusted: Callable[[str], bool]


def head_of(environ: Environ, length: int | None, manners: Manners) -> bytes:
    """Request line and fields. Raises InvalidRequest, NotSupported."""
    method: str = environ["REQUEST_METHOD"]
    if method == "CONNECT":
        raise NotSupported("This server opens no tunnels.")
    target = raw_target(environ)
    target = manners.base + target if target != "*" else manners.base or "*"
    if TOKEN.fullmatch(method) is None or TARGET.fullmatch(target) is None:
        raise InvalidRequest("This is no valid request line.")
    fields = _fields(environ, manners)
    if length == CHUNKED:
        fields["Transfer-Encoding"] = "chunked"
    elif length is not None:
        fields["Content-Length"] = str(length)
    lines = [f"{method} {target} HTTP/1.1\r\n"]
    for name, value in fields.items():
        if VALUE.fullmatch(value) is None:
            raise InvalidRequest(f"The value of the header {name} is not valid.")
        lines.append(f"{name}: {value}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1")


def _fields(environ: Environ, manners: Manners) -> dict[str, str]:
    address = environ.get("REMOTE_ADDR") or ""
    trusted = manners.trusted(address)
    visited = environ.get("HTTP_HOST", "")
    fields = {"Host": visited if manners.preserve_host and visited else manners.host}
    named = tokens(environ["HTTP_CONNECTION"]) if "HTTP_CONNECTION" in environ else ()
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name, lower, witness = _name(key)
            if name and lower not in named and (trusted or not witness):
                fields[name] = value
    if environ.get("CONTENT_TYPE"):
        fields["Content-Type"] = environ["CONTENT_TYPE"]
    # After those that Connection names, so that nobody can have ours removed.
    if manners.forwarded_for and address:
        _append(fields, "X-Forwarded-For", address)
    if manners.forwarded_proto:
        fields.setdefault("X-Forwarded-Proto", environ.get("wsgi.url_scheme", "http"))
    if manners.forwarded_host and visited:
        fields.setdefault("X-Forwarded-Host", visited)
    if manners.via is not None:
        version = environ.get("SERVER_PROTOCOL", "HTTP/1.1").removeprefix("HTTP/")
        _append(fields, "Via", f"{version} {manners.via}")
    return fields


@lru_cache(maxsize=1024)
def _name(key: str) -> tuple[str, str, bool]:
    """The field of an environ key, also in lower case, and whether it speaks of a visitor.

    No name: it ends here.
    """
    name = key[5:].replace("_", "-").title()
    lower = name.lower()
    if lower in OURS or hop_by_hop(lower) or TOKEN.fullmatch(name) is None:
        return "", lower, False
    return name, lower, lower in WITNESS or lower.startswith("x-forwarded")


def _append(fields: dict[str, str], name: str, value: str) -> None:
    fields[name] = f"{fields[name]}, {value}" if name in fields else value


def length_of(environ: Environ) -> int | None:
    """Bytes of the request's body; CHUNKED; None without one.

    One framing leaves, whatever came: what the server says it will let us read.
    """
    coding = environ.get("HTTP_TRANSFER_ENCODING", "").strip().lower()
    declared = environ.get("CONTENT_LENGTH") or ""
    if coding and environ.get("wsgi.input_terminated"):
        if coding != "chunked":
            raise NotSupported("This transfer coding is not supported.")
        return CHUNKED
    if declared:
        if LENGTH.fullmatch(declared) is None:
            raise InvalidRequest("The Content-Length is not valid.")
        return int(declared)
    if coding:
        raise InvalidRequest("This request needs a Content-Length.")
    return None


def blocks_of(environ: Environ, length: int | None) -> Iterator[bytes] | None:
    """The body as it goes out, read as it is asked for; None if there is none.

    A body that breaks off raises, so that it never leaves as a whole one.
    """
    if not length:
        return None
    read = environ["wsgi.input"].read
    return _chunks(read) if length == CHUNKED else _exactly(read, length)


def _exactly(read: Callable[[int], bytes], left: int) -> Iterator[bytes]:
    while left:
        block = read(min(BLOCK, left))
        if not block:
            raise InvalidRequest("The body of this request broke off.")
        left -= len(block)
        yield block


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while block := read(BLOCK):
        yield b"%X\r\n%b\r\n" % (len(block), block)
    yield b"0\r\n\r\n"
