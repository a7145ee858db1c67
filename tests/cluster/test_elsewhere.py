"""Visitors are sent to the object store for what only that has."""

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

import obstore
import pytest
import requests
from obstore.store import from_url
from PIL import Image

from iiif_proxy.settings import SettingsError, load
from tests.clients import Answer
from tests.cluster.test_shared_store import in_time
from tests.objectstore import ObjectStore
from tests.servers import Origin, Served, ask, get, gunicorn, reply

TARGET = "/iiif/3/{}/full/200,/0/default.jpg"
CDN = "https://cdn.example.org/images"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    file = io.BytesIO()
    Image.effect_mandelbrot((400, 300), (-2, -1.5, 1, 1.5), 50).save(file, "JPEG")
    with Origin() as origin:
        for name, said in {
            "a.jpg": "max-age=60",
            "b.jpg": "private",
            "c.jpg": "max-age=60",
        }.items():
            fields = [("Content-Type", "image/jpeg"), ("ETag", '"1"'), ("Cache-Control", said)]
            origin.routes[f"/{name}"] = reply(fields=fields, body=file.getvalue())
        yield origin


class Machines:
    """Sidecars with one object store; each keeps its own disk."""

    def __init__(self, origin: Origin, objects: ObjectStore, folder: Path) -> None:
        self.place = f"s3://ready/{token_hex(8)}"
        self._folder = folder
        self._objects = objects
        self._variables = {
            **objects.variables,
            "IIIF_PROXY_ORIGIN": origin.url,
            "IIIF_PROXY_CACHE_URL": self.place,
            "IIIF_PROXY_WRITE_AHEAD": "off",
            "IIIF_PROXY_PREDICT": "off",
        }

    def one(self, name: str, **settings: str) -> AbstractContextManager[Served]:
        ours = {f"IIIF_PROXY_{key.upper()}": value for key, value in settings.items()}
        ours["IIIF_PROXY_CACHE_DIR"] = str(self._folder / name)
        return gunicorn("iiif_proxy.wsgi:application", self._variables | ours)

    def names(self) -> list[str]:
        with self._objects.environ():
            store = from_url(self.place, client_options={"allow_http": True})
        return [item["path"] for some in obstore.list(store) for item in some]


@pytest.fixture(scope="module")
def machines(
    origin: Origin, objects: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Machines, Answer]:
    """With one image in the store, which another machine has made."""
    made = Machines(origin, objects, tmp_path_factory.mktemp("m"))
    with made.one("maker", cache_redirect="presign") as maker:
        first = ask(maker.port, get(TARGET.format("a.jpg")))
        assert first.status == 200
        assert in_time(made.names)
        again = ask(maker.port, get(TARGET.format("a.jpg")))
        assert (again.status, again.body) == (200, first.body), "what its own disk has is here"
    return made, first


def sent(served: Served, name: str, *lines: str, method: str = "GET") -> Answer:
    return ask(served.port, get(TARGET.format(name), *lines, method=method))


def test_presigned(machines: tuple[Machines, Answer]) -> None:
    made, first = machines
    with made.one("signing", cache_redirect="presign") as served:
        answer = sent(served, "a.jpg")
        assert answer.status == 302
        assert answer.get("Access-Control-Allow-Origin") == "*"
        assert answer.get("Cache-Control") == "public, max-age=60"
        assert answer.get("Link") == first.get("Link")
        place = answer.get("Location") or ""
        assert place == sent(served, "a.jpg").get("Location"), "browsers know it again"
        image = requests.get(place, timeout=10)
        assert (image.status_code, image.content) == (200, first.body)
        assert image.headers["Content-Type"] == "image/jpeg"
        assert requests.get(place.partition("?")[0], timeout=10).status_code == 403
        head = sent(served, "a.jpg", method="HEAD")
        assert (head.status, head.body) == (302, b"")
        assert sent(served, "a.jpg", f"If-None-Match: {first.get('ETag')}").status == 304
        # What nobody has is made, and answered here.
        assert sent(served, "c.jpg").status == 200


def test_what_is_private_stays_here(machines: tuple[Machines, Answer]) -> None:
    made, _ = machines
    with made.one("private", cache_redirect="presign") as served:
        before = made.names()
        for _ in range(2):
            answer = sent(served, "b.jpg")
            assert (answer.status, answer.get("Location")) == (200, None)
        assert not [name for name in made.names() if name not in before]


def test_only_who_everybody_may_see(machines: tuple[Machines, Answer], tmp_path: Path) -> None:
    """The same image, of which strangers may have less: it is answered here, to whoever may."""
    made, first = machines
    policy = tmp_path / "policy.toml"
    policy.write_text(
        "[classes.staff]\n[[rules]]\nidentifiers = ['a.jpg']\npublic = { read = 'nothing' }\n"
    )
    by = {"class_header": "X-Class"}
    with made.one("policy", cache_redirect="presign", policy=str(policy), **by) as served:
        refused = sent(served, "a.jpg")
        assert refused.status in {401, 403}
        seen = sent(served, "a.jpg", "X-Class: staff")
        assert (seen.status, seen.get("Location"), seen.body) == (200, None, first.body)


def test_by_a_cdn(machines: tuple[Machines, Answer]) -> None:
    made, first = machines
    with made.one("cdn", cache_redirect=CDN) as served:
        place = sent(served, "a.jpg").get("Location") or ""
        assert place.startswith(CDN + "/")
        assert "?" not in place
        with made._objects.environ():
            store = from_url(made.place, client_options={"allow_http": True})
        name = requests.utils.unquote(urlsplit(place).path).removeprefix("/images/")
        assert bytes(obstore.get(store, name).bytes()) == first.body


@pytest.mark.parametrize(
    "settings",
    [
        {"CACHE_REDIRECT": "presign"},
        {"CACHE_REDIRECT": "sign", "CACHE_URL": "s3://b/p"},
        {"CACHE_REDIRECT": CDN, "CACHE_URL": "s3://b/p", "POLICY": "/etc/policy.toml"},
    ],
)
def test_settings_that_are_none(settings: dict[str, str]) -> None:
    given = {f"IIIF_PROXY_{name}": value for name, value in settings.items()}
    with pytest.raises(SettingsError, match="IIIF_PROXY_CACHE_REDIRECT"):
        load({"IIIF_PROXY_ORIGIN": "http://o", **given})
