"""An https origin: its certificate is verified, for its name."""

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iiif_proxy.errors import OriginFailed
from iiif_proxy.upstream import Upstream
from tests.servers import Exchange, Origin, reply
from tests.upstream.conftest import call


@pytest.fixture(scope="module")
def pem(need: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of an authority that is its own, for the name `localhost`."""
    path = tmp_path_factory.mktemp("tls") / "pem"
    made = subprocess.run(
        [
            need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-keyout", "-", "-out", "-",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    path.write_bytes(made.stdout)
    return path


@pytest.fixture
def origin(pem: Path) -> Iterator[Origin]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with Origin(context) as origin:
        yield origin


def test_unknown_authorities_are_refused(origin: Origin) -> None:
    with pytest.raises(OriginFailed, match="CERTIFICATE_VERIFY_FAILED"):
        call(Upstream(origin.url.replace("127.0.0.1", "localhost")))
    assert origin.requests == []


def test_other_names_are_refused(origin: Origin, pem: Path) -> None:
    with pytest.raises(OriginFailed, match="CERTIFICATE_VERIFY_FAILED"):
        call(Upstream(origin.url, tls=ssl.create_default_context(cafile=str(pem))))
    assert origin.requests == []


def test_a_private_authority(origin: Origin, pem: Path) -> None:
    """Both ways, on one connection, larger than a TLS record."""
    context = ssl.create_default_context(cafile=str(pem))
    app = Upstream(origin.url.replace("127.0.0.1", "localhost"), tls=context)

    def echo(exchange: Exchange) -> None:
        exchange.write(reply(fields=[("Content-Type", "a/b")], body=exchange.read()))

    origin.default = echo
    body = bytes(range(256)) * 4000
    for _ in range(3):
        assert call(app, "/a", REQUEST_METHOD="PUT", body=body)[2] == body
    app.close()
    assert len({request.connection for request in origin.requests}) == 1
