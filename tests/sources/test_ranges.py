"""Parts over HTTP Range: the right bytes of the right file, or a word about why not."""

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from iiif_proxy.errors import OriginFailed, OriginTimeout, SourceChanged, TooManyRequests
from iiif_proxy.ranges import ByteSource, read_coalesced
from iiif_proxy.sources import ranges as room
from iiif_proxy.sources.http import HttpSource
from iiif_proxy.sources.ranges import HttpRanges, RangesRefused
from tests.servers import Exchange, Origin, reply
from tests.sources.conftest import LIMITS, OLD, answer, descriptors, hurried, together, until

DATA = os.urandom(300_000)


class File:
    """A file behind an origin that does as RFC 9110 says, except for what it is told otherwise."""

    def __init__(self, data: bytes = DATA, **fields: str) -> None:
        self.data = data
        self.fields = [(name.replace("_", "-"), value) for name, value in fields.items()]
        self.refuses = False
        self.status: str | None = None
        self.says: str | None = None
        self.wait = 0.0
        self.sends: Callable[[bytes], bytes] = lambda body: body

    def __call__(self, exchange: Exchange) -> None:
        time.sleep(self.wait)
        asked = exchange.request.all("Range")
        condition = exchange.request.all("If-Range")
        same = not condition or condition[0] in {value for _, value in self.fields}
        if self.status:
            return exchange.write(answer(b"", self.status, Retry_After="7"))
        fields = [("Accept-Ranges", "bytes"), *self.fields]
        if not asked or self.refuses or not same:
            return exchange.write(reply(fields=fields, body=self.data))
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked[0])
        assert found
        start, end = int(found[1]), min(int(found[2]) + 1, len(self.data))
        if start >= len(self.data):
            said = ("Content-Range", f"bytes */{len(self.data)}")
            return exchange.write(reply("416 No", [said]))
        said = ("Content-Range", self.says or f"bytes {start}-{end - 1}/{len(self.data)}")
        whole = reply("206 Part", [*fields, said], self.data[start:end])
        exchange.write(self.sends(whole))
        if len(self.sends(whole)) < len(whole):
            exchange.reset()


@pytest.fixture
def file(origin: Origin) -> File:
    made = File(ETag='"1"', Last_Modified=OLD)
    origin.routes["/a.tif"] = made
    return made


@pytest.fixture
def source(origin: Origin) -> HttpSource:
    return HttpSource(f"{origin.url}/{{id}}", **LIMITS)


@pytest.fixture
def told() -> list[str]:
    return []


def ranges_of(
    origin: Origin, source: HttpSource, told: list[str] | None = None, **options: Any
) -> HttpRanges:
    told = [] if told is None else told
    given: dict[str, Any] = {"etag": '"1"', "changed": lambda: told.append("changed")} | options
    return HttpRanges(source.fetch, f"{origin.url}/a.tif", **given)


@pytest.fixture
def ranges(origin: Origin, source: HttpSource, file: File, told: list[str]) -> HttpRanges:
    return ranges_of(origin, source, told)


def test_it_is_a_byte_source(ranges: HttpRanges) -> None:
    source: ByteSource = ranges
    assert source.size is None
    assert source.read(10, 20) == DATA[10:30]
    assert source.size == len(DATA)
    assert source.read(len(DATA) - 5, 99) == DATA[-5:]
    assert source.read(len(DATA), 9) == source.read(0, 0) == source.read(-5, 9) == b""
    spans = [(200_000, 70_000), (5, 5), (0, 1), (len(DATA) - 1, 9)]
    assert source.read_many(spans) == [DATA[at : at + size] for at, size in spans]
    assert source.read_many([]) == []
    assert read_coalesced(source, spans, 10) == [DATA[at : at + size] for at, size in spans]


def test_the_end_that_is_not_known_yet(ranges: HttpRanges) -> None:
    assert ranges.read(len(DATA) + 5, 9) == b""
    assert ranges.size == len(DATA)


def test_a_part_across_the_end_of_an_unknown_size(ranges: HttpRanges) -> None:
    assert ranges.read(len(DATA) - 5, 99) == DATA[-5:]


def test_a_total_that_is_not_said(ranges: HttpRanges, file: File) -> None:
    file.says = "bytes 10-29/*"
    assert ranges.read(10, 20) == DATA[10:30]
    assert ranges.size is None


def test_one_request_a_span_beside_each_other(
    origin: Origin, ranges: HttpRanges, file: File
) -> None:
    file.wait = 1.0
    begun = time.monotonic()
    assert len(ranges.read_many([(at, 10) for at in range(0, 8000, 1000)])) == 8
    assert time.monotonic() - begun < 5
    assert len(origin.requests) == 8
    assert origin.connections <= 8


def test_connections_are_kept_and_shared_with_the_source(
    origin: Origin, source: HttpSource, ranges: HttpRanges
) -> None:
    found = source.ask("a.tif", None, {})
    assert found is not None
    assert b"".join(found.chunks) == DATA
    found.close()
    for at in range(10):
        ranges.read(at, 1000)
    assert origin.connections == 1
    assert origin.requests[1].all("If-Range") == ['"1"']
    assert origin.requests[1].all("Accept-Encoding") == ["identity"]


def test_many_threads(origin: Origin, file: File) -> None:
    ranges = ranges_of(origin, HttpSource(f"{origin.url}/{{id}}"))

    def work() -> bool:
        spans = [(at * 997, 100 + at) for at in range(12)]
        return ranges.read_many(spans) == [DATA[at : at + size] for at, size in spans]

    assert together(work, 12) == [True] * 12


# Another file by now


@pytest.mark.parametrize(
    "fields, known",
    [
        ({"ETag": '"2"'}, {"etag": '"1"'}),
        ({"ETag": 'W/"2"'}, {"etag": 'W/"1"'}),
        ({"Last-Modified": "Wed, 15 Nov 2023 22:13:20 GMT"}, {"etag": None, "modified": OLD}),
    ],
)
@pytest.mark.parametrize("obeys", [True, False])
def test_a_changed_file_is_noticed(
    origin: Origin,
    source: HttpSource,
    told: list[str],
    fields: dict[str, str],
    known: dict[str, str],
    obeys: bool,
) -> None:
    """Whether the origin understands If-Range or not."""
    file = File(os.urandom(300_000))
    file.fields = list(fields.items())
    origin.routes["/a.tif"] = file
    if not obeys:
        origin.routes["/a.tif"] = lambda exchange: (
            exchange.request.fields.remove(("If-Range", next(iter(known.values()))))
            if exchange.request.all("If-Range") and known.get("etag")
            else None,
            file(exchange),
        )
    with pytest.raises(SourceChanged) as caught:
        ranges_of(origin, source, told, **known).read(0, 10)
    assert not isinstance(caught.value, RangesRefused)
    assert told == ["changed"]


@pytest.mark.parametrize("status", ["401 Who", "403 No", "404 No", "410 Gone", "412 No"])
def test_a_file_that_is_gone_or_closed_is_asked_for_from_the_start(
    ranges: HttpRanges, file: File, told: list[str], status: str
) -> None:
    file.status = status
    with pytest.raises(SourceChanged):
        ranges.read(0, 10)
    assert told == ["changed"]


def test_another_length(ranges: HttpRanges, file: File, told: list[str]) -> None:
    ranges.read(0, 10)
    file.data = DATA + b"more"
    with pytest.raises(SourceChanged):
        ranges.read(0, 10)
    file.data = DATA[:100]
    with pytest.raises(SourceChanged):
        ranges.read(5000, 10)
    assert len(told) == 2


@pytest.mark.parametrize("name", ['"1"', 'W/"1"', "odd"])
def test_the_same_file_goes_on(origin: Origin, source: HttpSource, name: str) -> None:
    origin.routes["/a.tif"] = File(ETag=name)
    assert ranges_of(origin, source, etag=name).read(7, 7) == DATA[7:14]
    condition = origin.requests[0].all("If-Range")
    assert condition == (['"1"'] if name == '"1"' else []), "no condition by a weak tag"


# No parts


def test_no_parts(ranges: HttpRanges, file: File, told: list[str]) -> None:
    """A distinct error: the file is the same, it is only to be fetched whole."""
    file.refuses = True
    with pytest.raises(RangesRefused):
        ranges.read(0, 10)
    assert told == ["changed"]


@pytest.mark.parametrize(
    "said",
    ["", "bytes 5-14/300000", "bytes 0-20/300000", "bytes 0-5/300000", "lines 0-9/300000",
     "bytes 0-9", "bytes */300000", "bytes 9-0/300000"],
)  # fmt: skip
def test_another_part_than_asked(ranges: HttpRanges, file: File, said: str) -> None:
    file.says = said or " "
    with pytest.raises(SourceChanged):
        ranges.read(0, 10)


def test_a_compressed_part_is_none(origin: Origin, source: HttpSource) -> None:
    origin.routes["/a.tif"] = File(ETag='"1"', Content_Encoding="gzip")
    with pytest.raises(RangesRefused):
        ranges_of(origin, source).read(0, 10)


def test_a_part_without_the_weak_tag_proves_nothing(origin: Origin, source: HttpSource) -> None:
    origin.routes["/a.tif"] = File()
    with pytest.raises(RangesRefused):
        ranges_of(origin, source, etag='W/"1"').read(0, 10)


def test_no_part_is_larger_than_allowed(
    ranges: HttpRanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST", 1000)
    with pytest.raises(OriginFailed):
        ranges.read(0, 1001)
    assert len(ranges.read(0, 1000)) == 1000


# Faults


def test_faults_of_the_origin(
    origin: Origin, ranges: HttpRanges, file: File, told: list[str]
) -> None:
    file.status = "500 Oops"
    with pytest.raises(OriginFailed):
        ranges.read(0, 10)
    file.status = "429 Slower"
    with pytest.raises(TooManyRequests) as slower:
        ranges.read(0, 10)
    assert slower.value.headers == {"Retry-After": "7"}
    file.status = None
    file.wait = 1.0
    with pytest.raises(OriginTimeout):
        ranges_of(origin, hurried(origin), told).read_many([(0, 10), (100, 10)])
    file.wait = 0
    file.sends = lambda whole: whole[:-5]
    with pytest.raises(OriginFailed):
        ranges.read_many([(0, 1000), (5000, 1000)])
    file.sends = lambda whole: whole
    assert ranges.read(0, 10) == DATA[:10]
    assert told == []


def test_more_than_the_part_says(ranges: HttpRanges, file: File) -> None:
    file.sends = lambda whole: whole + b"surplus"
    assert ranges.read(0, 10) == DATA[:10]
    file.sends = lambda whole: whole
    assert ranges.read(3, 10) == DATA[3:13]


def test_nothing_is_left(origin: Origin, ranges: HttpRanges, file: File) -> None:
    def all_of_it() -> None:
        for turn in ("fine", "refuses", "breaks", "fails"):
            file.refuses = turn == "refuses"
            file.sends = (lambda whole: whole[:-5]) if turn == "breaks" else lambda whole: whole
            file.status = "500 Oops" if turn == "fails" else None
            try:
                ranges.read_many([(0, 1000), (5000, 1000), (9000, 10)])
            except (OriginFailed, SourceChanged):
                continue

    all_of_it()
    time.sleep(0.1)
    threads = {thread for thread in threading.enumerate() if thread.name.startswith("ranges")}
    before = descriptors()
    for _ in range(20):
        all_of_it()
    assert len(threads) <= room.ABREAST
    # A connection a thread may be kept, and both its ends are here.
    until(lambda: descriptors() <= before + 2 * room.ABREAST + 4)


def test_after_a_fork_there_are_threads(ranges: HttpRanges) -> None:
    spans = [(0, 10), (20, 10), (40, 10)]
    expected = [DATA[at : at + size] for at, size in spans]
    assert ranges.read_many(spans) == expected
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if ranges.read_many(spans) == expected else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# How one is had


FULL = {"accept-ranges": "bytes", "content-length": "300000", "etag": '"1"', "last-modified": OLD}


@pytest.mark.parametrize(
    "change",
    [
        {}, {"etag": ""}, {"last-modified": ""}, {"etag": "", "last-modified": OLD},
        {"accept-ranges": "Bytes, lines"}, {"content-encoding": "identity"},
    ],
)  # fmt: skip
def test_what_an_answer_promises(
    origin: Origin, source: HttpSource, file: File, change: Mapping[str, str]
) -> None:
    said = {name: value for name, value in {**FULL, **change}.items() if value}
    found = source.ranges(f"{origin.url}/a.tif", said, lambda: None)
    assert found is not None
    assert found.size == len(DATA)
    assert found.read(5, 5) == DATA[5:10]


@pytest.mark.parametrize(
    "change",
    [
        {"accept-ranges": ""}, {"accept-ranges": "none"}, {"content-length": ""},
        {"content-length": "²"}, {"etag": "", "last-modified": ""}, {"content-encoding": "gzip"},
        {"etag": '"1", "2"', "last-modified": ""},
    ],
)  # fmt: skip
def test_what_an_answer_does_not_promise(
    origin: Origin, source: HttpSource, change: Mapping[str, str]
) -> None:
    said = {name: value for name, value in {**FULL, **change}.items() if value}
    assert source.ranges(f"{origin.url}/a.tif", said, lambda: None) is None
