"""Sources in an object store, from outside (what each kind of source promises: tests/contracts)."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy
import obstore
import pytest
import pyvips
from obstore.store import S3Store
from PIL import Image

from iiif_proxy.concurrency import Circuits
from iiif_proxy.errors import NotAllowed, OriginFailed, OriginTimeout
from iiif_proxy.people import health_of
from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.settings import SettingsError, load
from iiif_proxy.sources.bucket import BucketSource
from iiif_proxy.stores.bucket import opened
from iiif_proxy.wiring import sources_of
from tests.clients import ask, get, reply
from tests.objectstore import ObjectStore
from tests.servers import Exchange, Origin, Served, gunicorn

PLACE = "masters/%41 of (ours)"
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "r"}


def pyramid() -> bytes:
    """3000 x 2000 pixels of noise, 9 MB."""
    rng = numpy.random.default_rng(8)
    noise = rng.integers(0, 255, (2000, 3000, 3), numpy.uint8)
    made: bytes = pyvips.Image.new_from_array(noise).tiffsave_buffer(
        tile=True, pyramid=True, compression="jpeg", Q=90
    )
    return made


@pytest.fixture(scope="module")
def store(objects: ObjectStore) -> S3Store:
    with objects.environ():
        return S3Store.from_url("s3://ready", client_options={"allow_http": True})


@pytest.fixture(scope="module")
def sidecar(
    objects: ObjectStore, store: S3Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Path]]:
    cache = tmp_path_factory.mktemp("cache")
    variables = {
        **objects.variables,
        "IIIF_PROXY_SOURCE": f"s3://ready/{PLACE.replace(' ', '_')}/{{id}}",
        "IIIF_PROXY_CACHE_DIR": str(cache),
        "IIIF_PROXY_WRITE_AHEAD": "off",
        "IIIF_PROXY_PREDICT": "off",
        "IIIF_PROXY_SOURCE_TTL": "1s",
        "IIIF_PROXY_UNKNOWN_TTL": "0s",
    }
    with gunicorn("iiif_proxy.wsgi:application", variables, workers=2) as served:
        yield served, cache


def place(name: str) -> str:
    return f"{PLACE.replace(' ', '_')}/{name}"


def test_an_image_comes_goes_and_changes(sidecar: tuple[Served, Path], store: S3Store) -> None:
    served, _ = sidecar
    target = "/iiif/3/kl%C3%A4r%2F100%25.jpg/full/max/0/default.png"
    assert ask(served.port, get(target)).status == 404
    for colour in ("red", "blue"):
        file = io.BytesIO()
        Image.new("RGB", (40, 30), colour).save(file, "PNG")
        # The object's own word, so that nothing has to be waited for.
        said = {"Cache-Control": "max-age=0"}
        obstore.put(store, place("klär/100%.jpg"), file.getvalue(), attributes=said)
        answer = ask(served.port, get(target))
        assert answer.status == 200
        with Image.open(io.BytesIO(answer.body)) as image:
            assert image.convert("RGB").getpixel((5, 5)) == {
                "red": (255, 0, 0), "blue": (0, 0, 255)
            }[colour]  # fmt: skip
    obstore.delete(store, place("klär/100%.jpg"))
    assert ask(served.port, get(target)).status == 404
    assert "Signature" not in served.log()


@pytest.mark.parametrize(
    "name", ["..%2Fother.jpg", "a%2F..%2F..%2Fother.jpg", "%2E%2E%2Fother.jpg"]
)
def test_never_outside_its_prefix(sidecar: tuple[Served, Path], store: S3Store, name: str) -> None:
    obstore.put(store, "masters/other.jpg", b"not for us")
    assert ask(sidecar[0].port, get(f"/iiif/3/{name}/info.json")).status == 400


def test_a_pyramid_is_read_by_parts(sidecar: tuple[Served, Path], store: S3Store) -> None:
    served, cache = sidecar
    data = pyramid()
    obstore.put(store, place("large.tif"), data)
    info = ask(served.port, get("/iiif/3/large.tif/info.json"))
    assert json.loads(info.body)["width"] == 3000
    for region in ("0,0,512,512", "1024,1024,512,512", "full"):
        tile = ask(served.port, get(f"/iiif/3/large.tif/{region}/200,/0/default.jpg"))
        assert tile.status == 200
    held = sum(path.stat().st_size for path in (cache / "sources").rglob("*") if path.is_file())
    assert held < len(data) / 4, "it was not fetched"
    assert "Signature" not in str([p.read_bytes() for p in (cache / "records").rglob("*.json")])


def test_health_looks_at_its_endpoint(
    sidecar: tuple[Served, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = ask(sidecar[0].port, get("/iiif/-/health?deep", "Accept: application/json"))
    assert json.loads(answer.body)["checks"]["origin"]["ok"] is True
    for name, value in {**KEYS, "AWS_ENDPOINT": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    settings = load({"IIIF_PROXY_SOURCE": "s3://b/x/{id} s3://b/y/{id} s3://c/{id}"})
    well, found = health_of(settings).report()
    assert (well, found["origin"]["ok"], found["origin 2"]["ok"]) == (False, False, False)
    assert "origin 3" not in found


# What a bucket says when it does wrong: an endpoint that does as it is told.


@pytest.fixture
def endpoint() -> Iterator[Origin]:
    with Origin() as made:
        yield made


def over(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> BucketSource:
    for name, value in {**KEYS, "AWS_ENDPOINT": endpoint}.items():
        monkeypatch.setenv(name, value)
    return BucketSource(
        "s3://b/m/{id}",
        lambda root: opened(root, 5),
        connect_timeout=1,
        read_timeout=0.3,
        total_timeout=0.6,
        circuits=Circuits(),
    )


@pytest.mark.parametrize(
    "status, error",
    [
        ("403 Forbidden", NotAllowed),
        ("503 Slow Down", OriginFailed),
        ("301 Moved", OriginFailed),
    ],
)
def test_its_refusals_are_the_contracts(
    endpoint: Origin, monkeypatch: pytest.MonkeyPatch, status: str, error: type[Exception]
) -> None:
    endpoint.default = reply(status, [("Location", "http://169.254.169.254/?Signature=1")])
    with pytest.raises(error) as caught:
        over(endpoint.url, monkeypatch).ask("a.jpg", None, {})
    assert "Signature" not in str(caught.value)


def test_its_silence_is_a_timeout(endpoint: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(exchange: Exchange) -> None:
        exchange.read()

    endpoint.default = silent
    with pytest.raises(OriginTimeout) as caught:
        over(endpoint.url, monkeypatch).ask("a.jpg", None, {})
    assert "Signature" not in str(caught.value)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OriginFailed) as caught:
        over("http://127.0.0.1:1", monkeypatch).ask("a.jpg", None, {})
    assert "Signature" not in str(caught.value)


def test_a_visitors_own_credentials_stay_here(
    endpoint: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"iiif_proxy.credentials": {"HTTP_COOKIE": "a=1", "HTTP_AUTHORIZATION": "Basic x"}}
    answer = over(endpoint.url, monkeypatch).ask("a b.jpg", None, environ)
    assert answer is not None
    answer.close()
    (request,) = endpoint.requests
    assert request.target.startswith("/b/m/a%20b.jpg?")
    assert request.all("Cookie") == request.all("Authorization") == []


def test_it_signs_after_a_fork(endpoint: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.default = reply("404 Not Found")
    source = over(endpoint.url, monkeypatch)
    assert source.ask("a.jpg", None, {}) is None
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if source.ask("b.jpg", None, {}) is None else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_azure_is_known_by_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "museum")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    source = BucketSource("az://scans/m/{id}", lambda root: opened(root, 5))
    signed = source._sign(source.url("a/b.jpg", {}))
    assert signed.startswith("https://museum.blob.core.windows.net/scans/m/a/b.jpg?")
    assert source.host == "museum.blob.core.windows.net"


@pytest.mark.parametrize(
    "template",
    ["s3:/b/{id}", "s3://{id}/x", "s3://b{id}", "s3://b/{id}?v=1", "s3://u@b/{id}", "s3://b/x"],
)
def test_templates_that_are_none(template: str) -> None:
    with pytest.raises(SettingsError, match="IIIF_PROXY_SOURCE"):
        load({"IIIF_PROXY_SOURCE": template})


def test_a_bucket_cannot_be_asked_about_visitors(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[origin]\nask = "head"\n[classes.public]\norigin = true\n')
    with pytest.raises(SettingsError, match="can be asked"):
        IIIFProxy(source="s3://b/{id}", policy=str(policy), cache_dir=str(tmp_path / "c"))


def test_wired_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "museum")
    settings = load({"IIIF_PROXY_SOURCE": "file:/srv/{id} gs://b/{id} az://c/{id}.tif"})
    _, google, azure = sources_of(settings, None, Circuits())
    assert google.url("a/b", {}) == "gs://b/a/b"
    assert azure.url("a b", {}) == "az://c/a%20b.tif"
