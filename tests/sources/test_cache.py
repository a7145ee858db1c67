"""The source cache against a real origin: once for all, fresh as HTTP has it, nothing bad kept."""

import io
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from iiif_proxy.errors import (
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OriginFailed,
    OriginTimeout,
    ProxyError,
    SourceChanged,
    TooManyRequests,
)
from iiif_proxy.sources.cache import SourceCache
from iiif_proxy.sources.file import FileSource
from iiif_proxy.sources.http import HttpSource
from iiif_proxy.stores.base import Key
from iiif_proxy.stores.disk import DiskStore
from tests.servers import Exchange, Origin, reply
from tests.sources.conftest import (
    BLUE,
    LARGE,
    OLD,
    RED,
    Slowly,
    answer,
    content,
    hurried,
    iter_read,
    left,
)


def test_the_header_is_known_while_the_rest_is_on_its_way(
    origin: Origin, make: Callable[..., SourceCache]
) -> None:
    origin.routes["/a.jpg"] = slowly = Slowly(LARGE, ETag='"1"')
    here, elsewhere = make(), make()
    image = here.open("a.jpg", {})
    assert image.record.info is not None
    assert (image.record.info["width"], image.record.info["height"]) == (1200, 900)
    beside = elsewhere.open("a.jpg", {})
    assert beside.record.fingerprint == image.record.fingerprint
    growing = elsewhere.content(beside, {}, whole=False)
    assert growing.read(0, 100) == LARGE[:100]
    slowly.go.set()
    assert b"".join(iter_read(growing)) == LARGE
    assert b"".join(iter_read(here.content(image, {}))) == LARGE
    assert len(origin.requests) == 1


def test_a_body_that_breaks_off_leaves_nothing(
    origin: Origin, make: Callable[..., SourceCache], tmp_path: Path
) -> None:
    origin.routes["/a.jpg"] = slowly = Slowly(LARGE, breaks=True, ETag='"1"')
    here, elsewhere = make(), make()
    image = here.open("a.jpg", {})
    growing = elsewhere.content(elsewhere.open("a.jpg", {}), {}, whole=False)
    slowly.go.set()
    with pytest.raises(OriginFailed):
        list(iter_read(growing))
    with pytest.raises(OriginFailed):
        here.content(image, {})
    assert left(tmp_path) == []
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    assert content(here, "a.jpg") == RED
    assert content(make(), "a.jpg") == RED


@pytest.mark.parametrize(
    "fields, requests",
    [
        ({}, 1),
        ({"Cache-Control": "max-age=100"}, 1),
        ({"Cache-Control": "no-cache", "ETag": '"1"'}, 3),
        ({"Cache-Control": "max-age=0", "Last-Modified": OLD}, 3),
        ({"Cache-Control": "no-store"}, 3),
        ({"Cache-Control": "private"}, 3),
        ({"Expires": "0"}, 3),
    ],
)
def test_fresh_as_the_origin_says(
    origin: Origin,
    make: Callable[..., SourceCache],
    tmp_path: Path,
    fields: dict[str, str],
    requests: int,
) -> None:
    origin.routes["/a.jpg"] = reply(fields=list(fields.items()), body=RED)
    cache = make()
    assert [content(cache, "a.jpg") for _ in range(3)] == [RED] * 3
    assert len(origin.requests) == requests
    stored = list((tmp_path / "sources").rglob("source"))
    assert bool(stored) != (fields.get("Cache-Control") in {"no-store", "private"})


@pytest.mark.parametrize(
    "fields, asked",
    [
        ({"ETag": '"1"'}, ("If-None-Match", '"1"')),
        ({"ETag": 'W/"1"', "Last-Modified": OLD}, ("If-None-Match", 'W/"1"')),
        ({"Last-Modified": OLD}, ("If-Modified-Since", OLD)),
    ],
)
def test_a_stale_source_is_revalidated(
    origin: Origin,
    make: Callable[..., SourceCache],
    fields: dict[str, str],
    asked: tuple[str, str],
) -> None:
    origin.routes["/a.jpg"] = reply(fields=list(fields.items()), body=RED)
    cache = make(ttl=0.0)
    first = cache.open("a.jpg", {}, whole=True)
    origin.routes["/a.jpg"] = reply("304 Not Modified", fields=[("Cache-Control", "max-age=9")])
    for _ in range(3):
        assert cache.open("a.jpg", {}).record.fingerprint == first.record.fingerprint
    assert asked in origin.requests[1].fields
    assert len(origin.requests) == 2


def test_a_young_date_alone_proves_nothing(
    origin: Origin, make: Callable[..., SourceCache]
) -> None:
    """Changed twice within a second: the same date, the same length, other pixels."""
    now = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    fields = [("Last-Modified", now)]
    origin.routes["/a.jpg"] = reply(fields=fields, body=RED)
    cache = make(ttl=0.0)
    first = cache.open("a.jpg", {}, whole=True).record.fingerprint
    changed = RED[:-10] + bytes(8) + RED[-2:]
    origin.routes["/a.jpg"] = reply(fields=fields, body=changed)
    assert cache.open("a.jpg", {}, whole=True).record.fingerprint != first
    assert "If-Modified-Since" not in dict(origin.requests[1].fields)


def test_a_changed_source_has_another_fingerprint_for_all(
    origin: Origin, make: Callable[..., SourceCache]
) -> None:
    here, elsewhere = make(ttl=0.2), make(ttl=0.2)
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    first = here.open("a.jpg", {}, whole=True).record.fingerprint
    assert elsewhere.open("a.jpg", {}).record.fingerprint == first
    origin.routes["/a.jpg"] = answer(BLUE, ETag='"2"')
    time.sleep(0.25)
    second = here.open("a.jpg", {}, whole=True).record.fingerprint
    assert second != first
    assert elsewhere.open("a.jpg", {}).record.fingerprint == second
    assert content(elsewhere, "a.jpg") == BLUE


def test_order_of_templates(origin: Origin, make: Callable[..., SourceCache]) -> None:
    first, second = (HttpSource(f"{origin.url}/{name}/{{id}}") for name in ("one", "two"))
    cache = make(first, second, unknown_ttl=0.2)
    origin.routes["/two/a.jpg"] = answer(RED)
    assert content(cache, "a.jpg") == RED
    assert [request.target for request in origin.requests] == ["/one/a.jpg", "/two/a.jpg"]
    for status in ("403 Forbidden", "500 Oops"):
        origin.routes["/one/b.jpg"] = answer(b"", status)
        with pytest.raises((NotAllowed, OriginFailed)):
            cache.open("b.jpg", {})
    assert "/two/b.jpg" not in {request.target for request in origin.requests}
    origin.requests.clear()
    for _ in range(5):
        with pytest.raises(NotFound):
            cache.open("c.jpg", {})
    assert len(origin.requests) == 2
    origin.routes["/one/c.jpg"] = answer(BLUE)
    time.sleep(0.25)
    assert content(cache, "c.jpg") == BLUE


def test_files_are_looked_at_each_time(tmp_path: Path, make: Callable[..., SourceCache]) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.jpg").write_bytes(RED)
    cache = make(FileSource(f"file:{pictures}/{{id}}"))
    first = cache.open("a.jpg", {})
    assert content(cache, "a.jpg") == RED
    assert cache.current(first.record)
    (pictures / "a.jpg").write_bytes(BLUE)
    assert not cache.current(first.record)
    with pytest.raises(SourceChanged):
        cache.content(first, {})
    assert content(cache, "a.jpg") == BLUE
    (pictures / "a.jpg").unlink()
    with pytest.raises(NotFound):
        cache.open("a.jpg", {})


def test_lost_bytes_are_fetched_again(
    origin: Origin, make: Callable[..., SourceCache], tmp_path: Path
) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make()
    image = cache.open("a.jpg", {}, whole=True)
    known = cache.open("a.jpg", {})
    DiskStore(tmp_path / "sources", 10**8).purge_all()
    assert cache.open("a.jpg", {}).record.fingerprint == image.record.fingerprint
    assert b"".join(iter_read(cache.content(known, {}))) == RED
    assert len(origin.requests) == 2
    DiskStore(tmp_path / "sources", 10**8).purge_all()
    origin.routes["/a.jpg"] = answer(BLUE, ETag='"2"')
    with pytest.raises(SourceChanged):
        cache.content(known, {})
    assert content(cache, "a.jpg") == BLUE


def test_stale_if_the_origin_fails(origin: Origin, make: Callable[..., SourceCache]) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make(ttl=0.0, stale_if_error=0.5, failing_pause=0.0)
    known = cache.open("a.jpg", {}, whole=True).record
    origin.routes["/a.jpg"] = answer(b"", "503 Later")
    stale = cache.open("a.jpg", {}).record
    assert stale.fingerprint == known.fingerprint
    assert stale.failing_since
    # Gone is gone: once the origin is asked again, staleness does not override its word.
    origin.routes["/a.jpg"] = answer(b"", "404 Not Found")
    with pytest.raises(NotFound):
        cache.open("a.jpg", {})


@pytest.mark.parametrize("said", ["must-revalidate, max-age=0", "no-cache"])
def test_never_stale_where_the_origin_forbids_it(
    origin: Origin, make: Callable[..., SourceCache], said: str
) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"', Cache_Control=said)
    cache = make()
    cache.open("a.jpg", {}, whole=True)
    origin.routes["/a.jpg"] = answer(b"", "500 Oops")
    with pytest.raises(OriginFailed):
        cache.open("a.jpg", {})


def trickle(part: Callable[[int], bytes], pause: float = 0.1) -> Callable[[Exchange], None]:
    def handler(exchange: Exchange) -> None:
        for turn in itertools.count():
            try:
                exchange.write(part(turn))
            except OSError:
                return
            time.sleep(pause)

    return handler


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
FAULTS: dict[str, tuple[Any, type[ProxyError]]] = {
    "never answers": (lambda exchange: time.sleep(1.5), OriginTimeout),
    "trickles headers": (
        trickle(lambda turn: HEAD if not turn else b"X-%d: y\r\n" % turn),
        ProxyError,
    ),
    "trickles the body": (
        trickle(lambda turn: HEAD + b"Content-Length: 90000\r\n\r\n" if not turn else RED[:5]),
        ProxyError,
    ),
    "stops in the body": (
        lambda exchange: (exchange.write(answer(LARGE)[:9000]), time.sleep(1.5)),
        OriginTimeout,
    ),
    "breaks off": (
        lambda exchange: (exchange.write(answer(LARGE)[:9000]), exchange.reset()),
        OriginFailed,
    ),
    "promises too much": (
        lambda exchange: (
            exchange.write(HEAD + b"Content-Length: 90000\r\n\r\n" + RED),
            exchange.close(),
        ),
        OriginFailed,
    ),
    "html": (reply(body=b"<!doctype html><title>Welcome</title>" * 99), OriginFailed),
    "nothing": (reply(body=b""), OriginFailed),
    "half an image": (reply(body=LARGE[:300]), OriginFailed),
    "no HTTP": (
        lambda exchange: (exchange.write(b"\x00\x01" * 99), exchange.close()),
        OriginFailed,
    ),
    "too large, it says": (
        lambda exchange: exchange.write(HEAD + b"Content-Length: 99999999999\r\n\r\n"),
        OriginFailed,
    ),
    "401": (answer(b"", "401 Who", WWW_Authenticate="Basic"), NotAuthenticated),
    "403": (answer(b"", "403 No"), NotAllowed),
    "404": (answer(b"", "404 No"), NotFound),
    "410": (answer(b"", "410 Gone"), NotFound),
    "429": (answer(b"", "429 Slower", Retry_After="7"), TooManyRequests),
    "500": (answer(b"", "500 Oops"), OriginFailed),
    "204": (answer(b"", "204 No Content"), OriginFailed),
    "in circles": (answer(b"", "302 Found", Location="/a.jpg"), OriginFailed),
    "to another host": (answer(b"", "302 Found", Location="http://example.org/"), OriginFailed),
    "to another port": (answer(b"", "302 Found", Location="http://127.0.0.1:22/"), OriginFailed),
    "to a file": (answer(b"", "302 Found", Location="file:///etc/passwd"), OriginFailed),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_end_in_time_and_leave_nothing(
    origin: Origin, make: Callable[..., SourceCache], tmp_path: Path, fault: str
) -> None:
    origin.routes["/a.jpg"], error = FAULTS[fault]
    cache = make(hurried(origin), max_bytes=10**6, unknown_ttl=0.0)
    begun = time.monotonic()
    with pytest.raises(error) as caught:
        cache.open("a.jpg", {}, whole=True)
    assert time.monotonic() - begun < 10
    assert str(tmp_path) not in caught.value.public
    assert "127.0.0.1" not in caught.value.public
    if fault == "429":
        assert caught.value.headers == {"Retry-After": "7"}
    assert left(tmp_path) == []
    assert not list((tmp_path / "sources").rglob("source"))
    origin.routes["/a.jpg"] = answer(RED)
    assert content(cache, "a.jpg") == RED


def test_endless_is_cut(origin: Origin, make: Callable[..., SourceCache], tmp_path: Path) -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    block = b"10000\r\n" + bytes(65536) + b"\r\n"
    origin.routes["/a.jpg"] = trickle(
        lambda turn: head + b"400\r\n" + LARGE[:1024] + b"\r\n" if not turn else block, 0
    )
    cache = make(max_bytes=10**6)
    with pytest.raises(OriginFailed):
        cache.open("a.jpg", {}, whole=True)
    assert left(tmp_path) == []


def test_redirects_within_the_host_are_followed(
    origin: Origin, make: Callable[..., SourceCache]
) -> None:
    origin.routes["/a.jpg"] = answer(b"", "302 Found", Location="/b.jpg")
    origin.routes["/b.jpg"] = answer(RED)
    assert content(make(), "a.jpg") == RED


def test_gzip_is_undone(origin: Origin, make: Callable[..., SourceCache]) -> None:
    import gzip

    packed = gzip.compress(RED)
    origin.routes["/a.jpg"] = reply(fields=[("Content-Encoding", "gzip")], body=packed)
    assert content(make(), "a.jpg") == RED


def test_a_disk_that_refuses_is_no_reason_to_fail(
    origin: Origin, make: Callable[..., SourceCache], tmp_path: Path
) -> None:
    (tmp_path / "incoming").write_text("a file where a folder should be")
    origin.routes["/a.jpg"] = answer(RED)
    assert content(make(), "a.jpg") == RED


def test_nothing_is_stored_without_a_folder(
    origin: Origin, make: Callable[..., SourceCache], tmp_path: Path
) -> None:
    origin.routes["/a.jpg"] = answer(RED, ETag='"1"')
    cache = make(folder=None)
    assert content(cache, "a.jpg") == RED
    assert not list((tmp_path / "sources").rglob("source"))


def tiled_tiff() -> bytes:
    import tifffile

    rng = numpy.random.default_rng(2)
    pixels = rng.integers(0, 255, (1536, 1536, 3), numpy.uint8)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, tile=(256, 256), photometric="rgb")
    return buffer.getvalue()


def parts_of(data: bytes, etag: str) -> Callable[[Exchange], None]:
    def handler(exchange: Exchange) -> None:
        fields = [("ETag", etag), ("Accept-Ranges", "bytes"), ("Content-Type", "image/tiff")]
        asked = dict(exchange.request.fields).get("Range")
        if asked is None:
            exchange.write(reply(fields=fields, body=data))
            return
        start, end = map(int, asked.removeprefix("bytes=").split("-"))
        said = ("Content-Range", f"bytes {start}-{end}/{len(data)}")
        exchange.write(reply("206 Part", fields=[*fields, said], body=data[start : end + 1]))

    return handler


def test_a_tiled_tiff_is_read_by_parts(
    origin: Origin, make: Callable[..., SourceCache], tmp_path: Path
) -> None:
    data = tiled_tiff()
    origin.routes["/a.tif"] = parts_of(data, '"1"')
    cache = make()
    record = cache.open("a.tif", {}).record
    parts = cache.ranges(record, {})
    assert record.info is not None
    assert record.info["tile_width"] == 256
    assert parts is not None
    assert parts.read_many([(100, 50), (len(data) - 10, 99)]) == [data[100:150], data[-10:]]
    assert not list((tmp_path / "sources").rglob("source"))
    # Another file by now: noticed at the next part, and asked for anew.
    other = data[:-10] + bytes(10)
    origin.routes["/a.tif"] = parts_of(other, '"2"')
    with pytest.raises(SourceChanged):
        parts.read(len(data) // 2, 10)
    again = cache.open("a.tif", {}).record
    assert again.fingerprint != record.fingerprint
    # No parts any more: it is fetched.
    origin.routes["/a.tif"] = reply(fields=[("ETag", '"2"')], body=other)
    parts = cache.ranges(again, {})
    assert parts is not None
    with pytest.raises(SourceChanged):
        parts.read(len(data) // 2, 10)
    assert content(cache, "a.tif") == other


def test_a_tiled_tiff_is_shown_before_it_is_written_down(
    origin: Origin, make: Callable[..., SourceCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is refused a part in the meantime drops it all the same."""
    data = tiled_tiff()
    origin.routes["/a.tif"] = parts_of(data, '"1"')
    written, go = threading.Event(), threading.Event()
    put = DiskStore.put

    def slow(self: DiskStore, key: Key, *rest: Any) -> Any:
        if key.version == "record":
            assert go.wait(30)
        found = put(self, key, *rest)
        if key.version == "record":
            written.set()
        return found

    monkeypatch.setattr(DiskStore, "put", slow)
    cache = make()
    image = cache.open("a.tif", {})
    assert not written.is_set()
    assert cache.open("a.tif", {}).record is image.record
    origin.routes["/a.tif"] = parts_of(data[:-10] + bytes(10), '"2"')
    parts = cache.ranges(image.record, {})
    assert parts is not None
    threading.Timer(0.1, go.set).start()
    with pytest.raises(SourceChanged):
        parts.read(len(data) // 2, 10)
    assert written.is_set(), "it is dropped after it was written"
    assert cache.open("a.tif", {}).record.fingerprint != image.record.fingerprint


def test_a_tiled_tiff_may_be_larger_than_what_is_fetched(
    origin: Origin, make: Callable[..., SourceCache]
) -> None:
    data = tiled_tiff()
    origin.routes["/a.tif"] = parts_of(data, '"1"')
    cache = make(max_bytes=2 << 20)
    image = cache.open("a.tif", {})
    assert cache.ranges(image.record, {}) is not None
    with pytest.raises(OriginFailed):
        cache.content(image, {})
    # Not so if it is none, or is not given by parts.
    origin.routes["/b.tif"] = parts_of(bytes(3 << 20), '"1"')
    origin.routes["/c.tif"] = reply(fields=[("ETag", '"1"')], body=data)
    for name in ("b.tif", "c.tif"):
        with pytest.raises(OriginFailed, match="larger"):
            cache.open(name, {})
