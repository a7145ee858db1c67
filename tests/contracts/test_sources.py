"""What every kind of source promises: over HTTP, from the application, a folder, a bucket."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from iiif_proxy.errors import InvalidRequest, NotFound, OriginFailed, ProxyError
from iiif_proxy.sources.app import AppSource
from iiif_proxy.sources.base import Answer, Conditions, LocalFile, Source
from iiif_proxy.sources.bucket import BucketSource
from iiif_proxy.sources.cache import SourceCache
from iiif_proxy.sources.file import FileSource
from iiif_proxy.sources.http import HttpSource
from tests.objectstore import ObjectStore
from tests.servers import Exchange, Origin, reply
from tests.sources.conftest import BLUE, LARGE, RED, iter_read
from tests.sources.test_app import environ_of
from tests.sources.worker import cache_over

IDENTIFIERS = [
    "a.jpg", "sub/b.jpg", "with space.jpg", "café.jpg", "100%.jpg", "a+b&c=d;e.jpg", "x%2Fy",
]  # fmt: skip


@dataclass
class Kind:
    """A source, and how to give it images (None: take one away)."""

    source: Source
    put: Callable[[str, bytes | None], None]
    tag: Callable[[bytes], str] = field(default=lambda body: tag_of(body))


def tag_of(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()}"'


def over_http(folder: Path, origin: Origin) -> Kind:
    images: dict[str, bytes] = {}

    def handler(exchange: Exchange) -> None:
        body = images.get(exchange.request.target)
        if body is None:
            return exchange.write(reply(404))
        same = tag_of(body) in exchange.request.all("If-None-Match")
        fields = [("ETag", tag_of(body)), ("Cache-Control", "max-age=0")]
        return exchange.write(reply(304 if same else 200, fields, b"" if same else body))

    origin.default = handler
    source = HttpSource(f"{origin.url}/m/{{id}}", read_timeout=5)

    def put(identifier: str, body: bytes | None) -> None:
        target = source.url(identifier, {}).removeprefix(origin.url)
        images.pop(target, None) if body is None else images.update({target: body})

    return Kind(source, put)


def from_application(folder: Path, origin: Origin) -> Kind:
    images: dict[str, bytes] = {}

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"].encode("latin-1").decode()
        body = images.get(path)
        if body is None:
            start_response("404 Not Found", [])
            return [b"not here"]
        same = environ.get("HTTP_IF_NONE_MATCH") == tag_of(body)
        fields = [("ETag", tag_of(body)), ("Cache-Control", "max-age=0")]
        start_response("304 Not Modified" if same else "200 OK", fields)
        return [] if same else [body]

    def put(identifier: str, body: bytes | None) -> None:
        path = f"/m/{identifier}"
        images.pop(path, None) if body is None else images.update({path: body})

    return Kind(AppSource("app:/m/{id}", app), put)


def from_folder(folder: Path, origin: Origin) -> Kind:
    def put(identifier: str, body: bytes | None) -> None:
        path = folder / "m" / identifier
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True) if body is None else path.write_bytes(body)

    (folder / "m").mkdir()
    return Kind(FileSource(f"file:{folder}/m/{{id}}"), put)


def from_bucket(objects: ObjectStore) -> Kind:
    root, place = "s3://sources", token_hex(8)

    def connected(url: str) -> S3Store:
        with objects.environ():
            return S3Store.from_url(url, client_options={"allow_http": True})

    store = connected(root)

    def put(identifier: str, body: bytes | None) -> None:
        if body is None:
            obstore.delete(store, f"{place}/{identifier}")
        else:
            said = {"Cache-Control": "max-age=0"}
            obstore.put(store, f"{place}/{identifier}", body, attributes=said)

    source = BucketSource(f"{root}/{place}/{{id}}", connected, read_timeout=5)
    return Kind(source, put, lambda body: f'"{hashlib.md5(body).hexdigest()}"')


KINDS = {"http": over_http, "app": from_application, "file": from_folder}


@pytest.fixture(params=[*KINDS, "s3"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    if request.param == "s3":
        yield from_bucket(request.getfixturevalue("objects"))
        return
    with Origin() as origin:
        yield KINDS[request.param](tmp_path, origin)
        assert origin.failures == []


@pytest.fixture
def cache(kind: Kind, tmp_path: Path) -> SourceCache:
    root = tmp_path / "cache"
    return cache_over(root, kind.source, folder=root, unknown_ttl=0.0)


def taken(found: Answer | LocalFile | None) -> bytes | None:
    """All bytes of what a source said."""
    if found is None:
        return None
    if isinstance(found, LocalFile):
        return Path(found.path).read_bytes()
    try:
        return b"".join(found.chunks)
    finally:
        found.close()
        found.close()


# As the cache asks it


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_the_bytes_of_an_identifier(kind: Kind, identifier: str) -> None:
    kind.put("other.jpg", RED)
    kind.put(identifier, LARGE)
    assert taken(kind.source.ask(identifier, None, environ_of())) == LARGE
    assert taken(kind.source.ask("other.jpg", None, environ_of())) == RED


@pytest.mark.parametrize("identifier", ["", "missing.jpg", "a.jpg/below", "x" * 5000, "a\0b"])
def test_what_it_does_not_have(kind: Kind, identifier: str) -> None:
    kind.put("a.jpg", RED)
    assert kind.source.ask(identifier, None, environ_of()) is None


@pytest.mark.parametrize("identifier", ["..", "../a.jpg", "sub/../../a.jpg", ".", "a\\..\\b"])
def test_never_outside_its_template(kind: Kind, identifier: str) -> None:
    with pytest.raises(InvalidRequest):
        kind.source.url(identifier, environ_of())
    with pytest.raises(InvalidRequest):
        kind.source.ask(identifier, None, environ_of())


def test_one_url_an_identifier(kind: Kind) -> None:
    urls = [kind.source.url(identifier, environ_of()) for identifier in IDENTIFIERS]
    assert len(set(urls)) == len(IDENTIFIERS)
    assert urls == [kind.source.url(identifier, environ_of()) for identifier in IDENTIFIERS]


def test_conditions(kind: Kind) -> None:
    """With its own validators it says "the same", or gives the bytes; with others the bytes."""
    kind.put("a.jpg", RED)
    other = Conditions('"another"', None)
    assert taken(kind.source.ask("a.jpg", other, environ_of())) == RED
    same = kind.source.ask("a.jpg", Conditions(kind.tag(RED), None), environ_of())
    if isinstance(same, Answer):
        assert not same.modified
        assert taken(same) == b""
    kind.put("a.jpg", BLUE)
    assert taken(kind.source.ask("a.jpg", Conditions(kind.tag(RED), None), environ_of())) == BLUE


def test_a_local_file_has_a_stamp_of_its_state(kind: Kind) -> None:
    stamps = set()
    for body in (RED, BLUE, RED):
        kind.put("a.jpg", body)
        found = kind.source.ask("a.jpg", None, environ_of())
        if isinstance(found, LocalFile):
            assert found.size == len(body)
            stamps.add(found.stamp)
        taken(found)
    assert len(stamps) in {0, 3}


def test_many_at_once(kind: Kind) -> None:
    for turn in range(12):
        kind.put(f"{turn}.jpg", bytes([turn]) * 100_000)
    got: dict[int, bytes | None] = {}

    def ask(turn: int) -> None:
        got[turn] = taken(kind.source.ask(f"{turn}.jpg", None, environ_of()))

    threads = [threading.Thread(target=ask, args=(turn,)) for turn in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {turn: bytes([turn]) * 100_000 for turn in range(12)}


def test_an_answer_may_be_left_unread(kind: Kind) -> None:
    kind.put("a.jpg", LARGE * 5)
    for _ in range(3):
        found = kind.source.ask("a.jpg", None, environ_of())
        if isinstance(found, Answer):
            next(iter(found.chunks))
            found.close()
    assert taken(kind.source.ask("a.jpg", None, environ_of())) == LARGE * 5


# Behind the cache


def content(cache: SourceCache, identifier: str) -> bytes:
    environ = environ_of()
    held = cache.content(cache.open(identifier, environ, whole=True), environ)
    return b"".join(iter_read(held))


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_an_identifier_becomes_an_image(kind: Kind, cache: SourceCache, identifier: str) -> None:
    kind.put(identifier, LARGE)
    image = cache.open(identifier, environ_of())
    info = image.record.info
    assert info is not None
    assert (info["width"], info["height"], info["format"]) == (1200, 900, "jpeg")
    assert content(cache, identifier) == LARGE
    assert Path(cache.content(image, environ_of()).path).read_bytes() == LARGE


def test_a_changed_image_is_another(kind: Kind, cache: SourceCache) -> None:
    seen = []
    for body in (RED, BLUE, LARGE):
        kind.put("a.jpg", body)
        assert content(cache, "a.jpg") == body
        seen.append(cache.open("a.jpg", environ_of(), whole=True).record.fingerprint)
        assert cache.open("a.jpg", environ_of(), whole=True).record.fingerprint == seen[-1]
    assert len(set(seen)) == 3


def test_an_image_that_goes_and_comes(kind: Kind, cache: SourceCache) -> None:
    for _ in range(2):
        with pytest.raises(NotFound):
            cache.open("a.jpg", environ_of())
        kind.put("a.jpg", RED)
        image = cache.open("a.jpg", environ_of(), whole=True)
        assert content(cache, "a.jpg") == RED
        kind.put("a.jpg", None)
    with pytest.raises(NotFound):
        cache.open("a.jpg", environ_of())
    assert image.held is None or image.held.read(0, 9) == RED[:9], "what is held can still be read"


@pytest.mark.parametrize("bad", [b"", b"<!doctype html>" * 99, LARGE[:150], b"%PDF-1.7" * 99])
def test_what_is_no_image(kind: Kind, cache: SourceCache, bad: bytes) -> None:
    kind.put("a.jpg", bad)
    for _ in range(2):
        with pytest.raises(OriginFailed) as caught:
            cache.open("a.jpg", environ_of(), whole=True)
        assert os.sep not in caught.value.public
    kind.put("a.jpg", RED)
    assert content(cache, "a.jpg") == RED


def test_bytes_that_are_lost(kind: Kind, cache: SourceCache, tmp_path: Path) -> None:
    kind.put("a.jpg", RED)
    environ = environ_of()
    image = cache.open("a.jpg", environ, whole=True)
    for path in (tmp_path / "cache" / "sources").rglob("source"):
        path.unlink()
    again = cache.open("a.jpg", environ)
    assert again.record.fingerprint == image.record.fingerprint
    assert cache.content(again, environ).read(0, 1 << 20) == RED


def test_a_purge(kind: Kind, cache: SourceCache) -> None:
    kind.put("a.jpg", RED)
    content(cache, "a.jpg")
    cache.forget("a.jpg")
    kind.put("a.jpg", BLUE)
    assert content(cache, "a.jpg") == BLUE


def test_errors_are_the_contracts(kind: Kind, cache: SourceCache) -> None:
    for identifier in ("missing", "..", "a\0b", "x" * 9000):
        with pytest.raises(ProxyError) as caught:
            cache.open(identifier, environ_of())
        assert caught.value.status in {400, 404}
