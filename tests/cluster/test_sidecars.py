"""Two sidecars with one object store between them, from outside."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url
from PIL import Image

from tests.clients import Answer
from tests.cluster.test_shared_store import in_time
from tests.objectstore import ObjectStore
from tests.servers import Origin, Served, ask, get, gunicorn, reply


@pytest.fixture
def origin() -> Iterator[Origin]:
    file = io.BytesIO()
    Image.effect_mandelbrot((400, 300), (-2, -1.5, 1, 1.5), 50).save(file, "JPEG")
    with Origin() as origin:
        for name in ("/a.jpg", "/b.jpg"):
            origin.routes[name] = reply(
                fields=[("Content-Type", "image/jpeg"), ("ETag", '"1"')], body=file.getvalue()
            )
        yield origin


def image(sidecar: Served, name: str) -> Answer:
    return ask(sidecar.port, get(f"/iiif/3/{name}/full/200,/0/default.jpg"))


def test_made_once_for_both_and_by_each_when_the_store_dies(origin: Origin, tmp_path: Path) -> None:
    with ObjectStore() as objects:
        variables = {
            **objects.variables,
            "IIIF_PROXY_ORIGIN": origin.url,
            "IIIF_PROXY_CACHE_URL": "s3://ready/sidecars",
            "IIIF_PROXY_WRITE_AHEAD": "off",
        }
        app = "iiif_proxy.wsgi:application"
        one_dir = {"IIIF_PROXY_CACHE_DIR": str(tmp_path / "one")}
        two_dir = {"IIIF_PROXY_CACHE_DIR": str(tmp_path / "two")}
        with (
            gunicorn(app, variables | one_dir) as one,
            gunicorn(app, variables | two_dir, workers=2) as two,
        ):
            first = image(one, "a.jpg")
            assert first.status == 200
            with objects.environ():
                store = from_url("s3://ready/sidecars", client_options={"allow_http": True})
            assert in_time(lambda: [item for some in obstore.list(store) for item in some])
            second = image(two, "a.jpg")
            assert "hit" in second.all("Cache-Status")[0], "two did not make it"
            assert (second.body, second.all("ETag")) == (first.body, first.all("ETag"))
            assert second.all("Last-Modified") == first.all("Last-Modified")

            health = ask(two.port, get("/iiif/-/health?deep"))
            assert b"The cache of all machines answers." in health.body
            objects.kill()
            for sidecar in (one, two):
                assert image(sidecar, "a.jpg").body == first.body
                assert image(sidecar, "b.jpg").body == first.body
        # Findings are remembered for some seconds: a sidecar that has none yet.
        with gunicorn(app, variables | one_dir) as late:
            health = ask(late.port, get("/iiif/-/health?deep"))
            assert health.status == 503
            assert b"The cache of all machines does not answer" in health.body
            assert image(late, "a.jpg").body == first.body


def test_warm_waits_for_the_store_and_says_if_it_is_not_there(
    origin: Origin, objects: ObjectStore, tmp_path: Path
) -> None:
    place = f"s3://ready/{tmp_path.name}"

    def warm(name: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        ours = {
            "IIIF_PROXY_ORIGIN": origin.url,
            "IIIF_PROXY_CACHE_DIR": str(tmp_path / "cache"),
            "IIIF_PROXY_CACHE_URL": place,
        }
        return subprocess.run(
            [sys.executable, "-m", "iiif_proxy.cli", "warm", "--no-tiles", "--only", "100,", name],
            env=os.environ | objects.variables | ours | variables,
            capture_output=True,
            text=True,
        )

    done = warm("a.jpg")
    assert done.returncode == 0, done.stderr
    with objects.environ():
        store = from_url(place, client_options={"allow_http": True})
    names = [item["path"] for some in obstore.list(store) for item in some]
    assert [name for name in names if "100,75" in name], names

    done = warm("b.jpg", AWS_ENDPOINT="http://127.0.0.1:1")
    assert done.returncode == 1
    assert "The cache of all machines does not have everything" in done.stderr
