"""What a server may answer without a thread: what needs nothing but this machine's disk."""

import pytest

from tests.ahead.conftest import Make, encoded, photograph, serving
from tests.servers import Origin

HOST = "here.example"
TARGET = "a.jpg/full/300,/0/default.jpg"
PATH = "/iiif/3/" + TARGET


@pytest.fixture(autouse=True)
def source(origin: Origin) -> None:
    origin.routes["/a.jpg"] = serving(encoded(photograph()))


def test_what_was_answered_and_is_stored(make: Make) -> None:
    site = make()
    assert not site.app.has(HOST, PATH)
    site.ask(TARGET)
    assert site.app.has(HOST, PATH)
    assert not site.app.has("elsewhere.example", PATH)
    assert not site.app.has(None, PATH)
    assert not site.app.has(HOST, PATH + "x")
    # To show it to static servers again takes the disk alone.
    site.app.service._publisher._known.clear()
    assert site.app.has(HOST, PATH)
    (entry,) = (site.cache / "derivatives").glob("[!.]*/*/*")
    entry.unlink()
    assert not site.app.has(HOST, PATH)
    assert not site.hit(TARGET)
    assert site.app.has(HOST, PATH)


def test_what_the_origin_must_be_asked_for(make: Make) -> None:
    site = make(source_ttl="0s")
    site.ask(TARGET)
    assert not site.app.has(HOST, PATH)


def test_what_was_purged(make: Make) -> None:
    site = make()
    site.ask(TARGET)
    site.app.service.purge("a.jpg")
    assert not site.app.has(HOST, PATH)


def test_what_is_not_for_everybody(make: Make) -> None:
    site = make(public_create="declared")
    site.ask("a.jpg/full/max/0/default.jpg")
    assert not site.app.has(HOST, "/iiif/3/a.jpg/full/max/0/default.jpg")
