"""Reading an origin's answer: its head, and where its body ends (RFC 9112, sections 4 to 6)."""

import re
from dataclasses import dataclass, field

Fields = list[tuple[str, str]]

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110, 5.5: without CR, LF and NUL no value can become a field of its own.
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
LENGTH = re.compile(r"[0-9]{1,18}")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
BLANK = " \t"
HEAD_END = re.compile(rb"\n\r?\n")
LINE_LIMIT = 8 << 10
TRAILER_LIMIT = 64 << 10

# Of one hop: never handed on (RFC 9110, 7.6.1), in either direction.
HOP_BY_HOP = frozenset(
    {
        "connection", "http2-settings", "keep-alive", "te", "trailer", "trailers",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip


class BadAnswer(Exception):
    """What came is no HTTP/1 answer, or not all of it."""


def hop_by_hop(name: str) -> bool:
    """Whether a field, in lower case, ends here whatever Connection says."""
    return name in HOP_BY_HOP or name.startswith("proxy-")


def tokens(value: str) -> set[str]:
    """The members of a list such as Connection's, in lower case."""
    return {word.strip(BLANK).lower() for word in value.split(",")}


@dataclass(slots=True)
class Head:
    """Status line and fields of an answer, hop-by-hop fields apart."""

    status: int
    reason: str
    fields: Fields = field(default_factory=list)
    keep: bool = False
    coding: str = ""
    length: int | None = None


def parse_head(raw: bytes) -> Head:
    """`raw` is everything before the empty line. Raises BadAnswer.

    Lines may end with a bare LF, names may have blanks behind them, values may be folded: all
    leave in today's form. Nothing else is guessed.
    """
    lines = raw.decode("latin-1").replace("\r\n", "\n").removesuffix("\r").split("\n")
    match = STATUS.fullmatch(lines[0])
    if match is None:
        raise BadAnswer(f"status line {lines[0][:60]!r}")
    head = Head(int(match[2]), match[3] or "")
    fields: Fields = []
    for line in lines[1:]:
        if line[:1] in {" ", "\t"} and fields:
            name, value = fields[-1]
            fields[-1] = name, f"{value} {line.strip(BLANK)}".strip(BLANK)
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip(BLANK)
        if not colon or TOKEN.fullmatch(name) is None:
            raise BadAnswer(f"field line {line[:60]!r}")
        fields.append((name, value.strip(BLANK)))
    options: set[str] = set()
    for name, value in fields:
        if VALUE.fullmatch(value) is None:
            raise BadAnswer(f"value of {name}")
        if name.lower() == "connection":
            options |= tokens(value)
    head.keep = "close" not in options if match[1] == "1" else "keep-alive" in options
    for name, value in fields:
        lower = name.lower()
        if lower == "transfer-encoding":
            head.coding = f"{head.coding}, {value}" if head.coding else value
        elif lower == "content-length":
            head.length = _length(head.length, value)
        elif lower not in options and not hop_by_hop(lower):
            head.fields.append((name, value))
    if head.coding:
        # Both framings: the length is a lie (RFC 9112, 6.3), the connection not to be trusted.
        head.keep = head.keep and head.length is None
        head.length = None
    if head.length is not None:
        head.fields.append(("Content-Length", str(head.length)))
    return head


def _length(known: int | None, value: str) -> int:
    """One length, however often it is repeated."""
    for word in value.split(","):
        word = word.strip(BLANK)
        if LENGTH.fullmatch(word) is None or known not in {None, int(word)}:
            raise BadAnswer(f"Content-Length {value[:60]!r}")
        known = int(word)
    assert known is not None
    return known


class Framing:
    """Bytes of the wire go in, bytes of the body come out, until `done`."""

    done = False
    # More came than belongs to this answer.
    spare = False
    # No more than this is worth asking for.
    wants: int | None = None

    def feed(self, data: bytes) -> bytes:
        raise NotImplementedError

    def end(self) -> None:
        """The origin closed the connection."""
        raise BadAnswer("the body broke off")


class Exactly(Framing):
    def __init__(self, length: int) -> None:
        self.wants: int = length
        self.done = not length

    def feed(self, data: bytes) -> bytes:
        if len(data) > self.wants:
            self.spare = True
            data = data[: self.wants]
        self.wants -= len(data)
        self.done = not self.wants
        return data


class UntilClosed(Framing):
    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> None:
        self.done = True


class Chunked(Framing):
    """Extensions and trailers are read and dropped (RFC 9112, 7.1)."""

    def __init__(self) -> None:
        self._held = b""
        self._left = 0
        self._step = self._size
        self._trailers = 0

    def feed(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
        out = []
        at = 0
        while not self.done:
            if self._left:
                piece = data[at : at + self._left]
                if not piece:
                    break
                out.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            line = data[at:end]
            at = end + 2
            self._step(line)
        self._held = data[at:]
        if self.done:
            self.spare = bool(self._held)
        elif len(self._held) > LINE_LIMIT:
            raise BadAnswer("a chunk without a size")
        return b"".join(out)

    def _size(self, line: bytes) -> None:
        match = CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise BadAnswer(f"chunk size {line[:30]!r}")
        self._left = int(match[1], 16)
        self._step = self._after if self._left else self._trailer

    def _after(self, line: bytes) -> None:
        if line:
            raise BadAnswer("a chunk longer than its size")
        self._step = self._size

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > TRAILER_LIMIT:
            raise BadAnswer("endless trailers")
        self.done = not line


def framing_of(head: Head, method: str) -> Framing:
    """How the body of this answer ends (RFC 9112, 6.3)."""
    if method == "HEAD" or head.status in {204, 304}:
        return Exactly(0)
    if head.coding:
        if head.coding.lower() != "chunked":
            raise BadAnswer(f"Transfer-Encoding {head.coding[:60]!r}")
        return Chunked()
    if head.length is not None:
        return Exactly(head.length)
    head.keep = False
    return UntilClosed()
