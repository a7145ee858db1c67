"""What one visitor says about itself never reaches another, whoever asks first."""

import itertools
import json
import re
import uuid
from collections.abc import Iterator

import pytest

from iiif_proxy.proxy import IIIFProxy
from tests.clients import Answer
from tests.faults.pictures import drawn, right
from tests.hostile.conftest import Place
from tests.hostile.test_grammar import environ_of, nothing_else
from tests.servers import Exchange, Origin, Served, ask, gunicorn, reply

EVIL = [
    ("Host", "evil.example"),
    ("Host", "evil.example:99999"),
    ("Host", 'evil"><b>'),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Port", "6666"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-For", "203.0.113.66"),
    ("X-Forwarded-Server", "evil.example"),
    ("X-Forwarded-Scheme", "evil"),
    ("Forwarded", "for=evil;host=evil.example;proto=https"),
    ("X-Original-URL", "/evil"),
    ("X-Rewrite-URL", "/evil"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Request-Id", "evil-1"),
    ("Accept", "evil/evil, image/webp"),
    ("Accept", 'application/ld+json;profile="http://iiif.io/api/image/2/context.json"'),
    ("Accept-Language", "evil"),
    ("Accept-Encoding", "gzip, evil"),
    ("User-Agent", "evil"),
    ("Origin", "http://evil.example"),
    ("Referer", "http://evil.example/"),
    ("Cookie", "session=evil; iiif=evil"),
    ("Authorization", "Bearer evil"),
    ("Range", "bytes=0-6"),
    ("Range", "bytes=evil"),
    ("If-None-Match", "*"),
    ("If-None-Match", 'W/"evil"'),
    ("If-Match", '"evil"'),
    ("If-Range", '"evil"'),
    ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),
    ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Via", "1.1 evil"),
    ("TE", "evil"),
    ("X-Forwarded-Uri", "/evil"),
    ("X-Forwarded-Ssl", "on; evil"),
    ("Sec-Fetch-Site", "evil"),
    ("DPR", "evil"),
    ("Save-Data", "evil"),
    ("Cache-Control", "no-cache, evil"),
]
# What belongs to one answer alone.
OWN = {"date", "cache-status", "server-timing", "timing-allow-origin", "x-request-id", "connection"}
WIDTHS = itertools.count(5)


def asked(place: Place, target: str, *evil: tuple[str, str], host: str = "good.example") -> Answer:
    fields = dict([("Host", host), ("Connection", "close"), *evil])
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return ask(place.served.port, f"GET {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))


def shared(answer: Answer) -> list[tuple[str, str]]:
    return [pair for pair in answer.fields if pair[0].lower() not in OWN]


@pytest.mark.parametrize("tail", ["full/{},/0/default.png", "info.json", ""])
@pytest.mark.parametrize("version", [2, 3])
def test_who_asks_first_changes_nothing_for_the_next(place: Place, tail: str, version: int) -> None:
    for evil in EVIL:
        width = next(WIDTHS) % 50 + 5
        target = f"/iiif/{version}/one.png/{tail.format(width)}".rstrip("/")
        first = asked(place, target, evil)
        assert first.status in {200, 303, 304, 400}, evil
        answer, again = asked(place, target), asked(place, target)
        assert answer.status == (200 if tail else 303), evil
        assert b"evil" not in answer.head + answer.body, evil
        assert b"http://good.example/iiif/" in answer.head + answer.body
        assert (shared(answer), answer.body) == (shared(again), again.body), evil
        if tail.endswith("json"):
            found = json.loads(answer.body)
            assert found.get("id", found.get("@id")) == target_of(target)
        elif tail and first.status == 200:
            assert first.body == answer.body, evil


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A sidecar before an origin that has another picture for whoever says anything evil."""

    def answer(exchange: Exchange) -> None:
        # The request's id is for its log; only of peers that are trusted is it handed on.
        head = re.sub(rb"X-Request-Id:[^\n]*\n", b"", exchange.request.head)
        evil = re.search(rb"evil|\nX-|\nIf-|\nRange|\nAuthorization|\nCookie", head)
        fields = [("Content-Type", "image/png"), ("Cache-Control", "max-age=3600")]
        exchange.write(reply(fields=fields, body=drawn("evil" if evil else "good")))

    with Origin() as origin:
        origin.default = answer
        settings = {
            "IIIF_PROXY_ORIGIN": origin.url,
            "IIIF_PROXY_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        }
        with gunicorn("iiif_proxy.wsgi", settings, workers=1) as served:
            yield served


@pytest.mark.parametrize("evil", EVIL, ids=lambda pair: f"{pair[0]}-{pair[1][:12]}")
def test_the_origin_is_asked_for_all(behind: Served, evil: tuple[str, str]) -> None:
    """What it answers to one visitor's fields is not kept for the others: it never hears them."""
    name = f"{uuid.uuid4().hex}.png"
    target = f"/iiif/3/{name}/full/max/0/default.png"
    for fields in ([evil], []):
        lines = [f"{key}: {value}" for key, value in dict([("Host", "a"), *fields]).items()]
        request = "\r\n".join([f"GET {target} HTTP/1.1", *lines, "Connection: close", "", ""])
        answer = ask(behind.port, request.encode("latin-1"), timeout=60)
        if answer.status not in {304, 400} or not fields:
            assert right(answer, "good")


def target_of(target: str) -> str:
    return "http://good.example" + target.removesuffix("/info.json")


def test_a_host_for_each_request_is_not_remembered_for_ever(pictures: object) -> None:
    """Neither long hosts nor long spellings of one image take memory."""
    proxy = IIIFProxy(nothing_else, environ={}, source=f"file:{pictures}/{{id}}", cache_dir="")
    for number in range(30):
        target = f"/iiif/3/one.png/pct:0,0,{'1' + '0' * (1000 + number)}/max/0/default.jpg"
        long = f"/iiif/3/one.png/full/pct:50.{'0' * (1500 + number)}/0/default.jpg"
        for path in (target, long, "/iiif/3/one.png/full/9,/0/default.jpg"):
            environ = environ_of(path) | {"HTTP_HOST": "a" * 4000 + str(number)}
            b"".join(proxy(environ, lambda status, fields, fault=None: None))
    held = sum(len(text or "") for key in proxy._hot for text in key)
    held += sum(len(text or "") for key in proxy.peers._bases for text in key)
    assert held < 10_000
