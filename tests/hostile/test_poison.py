"""What one visitor says about itself never reaches another, whoever asks first."""

import itertools
import json

import pytest

from iiif_proxy.proxy import IIIFProxy
from tests.clients import Answer
from tests.hostile.conftest import Place
from tests.hostile.test_grammar import environ_of, nothing_else
from tests.servers import ask

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
    ("If-None-Match", "*"),
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
