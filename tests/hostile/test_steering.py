"""An identifier never leads to another scheme, host, port or folder than its template names."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iiif_proxy.errors import InvalidRequest
from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.sources.base import fill
from tests.ahead.conftest import encoded, photograph
from tests.hostile.test_grammar import asked, nothing_else
from tests.servers import Origin, reply

PNG = encoded(photograph((60, 40)), "PNG")
NAMES = [
    f"{dots}{slash}secret.png"
    for dots in ("..", ".", "%2e%2e", "%2E.", "%252e%252e", "..;", "..;a=b", "..%00", "..%20")
    for slash in ("/", "%2f", "%2F", "%5c", "\\", "%255c", "%252f", ";/", "//")
] + [
    "@evil.example/x", "%40evil.example%2fx", "user:word@evil.example/x", ":99/x", ":@evil/x",
    "//evil.example/x", "%2f%2fevil.example%2fx", "\\\\evil.example\\x", "%5c%5cevil%5cx",
    "http://evil.example/x", "http:%2f%2fevil.example%2fx", "file:///etc/passwd", "app:/x",
    "x%23y", "x%3fy=z", "x%3f", "%23", "%3f", "x%26k=other", "x%3bk=other", "x%0d%0aHost:%20evil",
    "x%20HTTP/1.1%0d%0aX:%20y", "x%09y", "x%00y", "%ff", "%ef%bc%8e%ef%bc%8e%2fsecret.png",
    "%e2%80%a5/secret.png", "..%ef%bc%8fsecret.png", "a/../../secret.png", "a/%2e%2e/%2e%2e/x",
]  # fmt: skip


@pytest.fixture(scope="module")
def other() -> Iterator[Origin]:
    with Origin() as origin:
        origin.default = reply(body=PNG)
        yield origin


@pytest.mark.parametrize("template", ["/in/{id}", "/in/{id}.png?k=v", "/in/get?file={id}&k=v"])
def test_no_identifier_steers_a_request(other: Origin, template: str) -> None:
    other.clear()
    source = other.url + template
    proxy = IIIFProxy(nothing_else, environ={}, source=source, cache_dir="")
    for name in NAMES:
        status, _ = asked(proxy, f"/iiif/3/{name}/info.json")
        assert status in {200, 303, 400, 404, 502}, name
    assert len(other.requests) > 20
    for request in other.requests:
        seen = urlsplit(request.target)
        assert request.method == "GET"
        assert request.all("Host") == [other.url.removeprefix("http://")]
        assert request.target.startswith("/in/")
        assert not seen.fragment
        segments = [part.partition(";")[0] for part in unquote(seen.path).split("/")]
        assert not {".", ".."} & set(segments), request.target
        assert "\\.." not in unquote(request.target)
        pairs = [pair.partition("=")[0] for pair in seen.query.split("&") if pair]
        assert pairs == (["file", "k"] if "file=" in template else ["k"] if "?" in template else [])


HOSTS = st.sampled_from(
    [
        "/",
        "\\",
        "@",
        ":",
        "#",
        "?",
        "&",
        ";",
        ".",
        "..",
        "%2e",
        "%2F",
        "evil.example",
        "//",
        "\x00",
        "\r\n",
        "\t",
        "[",
        "]",
        "::1",
    ]
)


@settings(max_examples=300)
@given(st.lists(HOSTS, max_size=8).map("".join))
def test_no_piece_of_an_address_makes_another(identifier: str) -> None:
    for template in ("http://host:81/{id}", "https://host/a/{id}/b", "http://host/?file={id}&k=v"):
        try:
            made = fill(template, identifier)
        except InvalidRequest:
            continue
        seen, meant = urlsplit(made), urlsplit(template)
        assert (seen.scheme, seen.netloc) == (meant.scheme, meant.netloc)
        assert not seen.fragment
        assert made.isascii()
        assert made.isprintable()
        assert "\\" not in made


@pytest.mark.parametrize("inner", ["", "deep/"])
def test_no_name_leaves_the_folder(tmp_path: Path, inner: str) -> None:
    folder = tmp_path / "pictures" / inner
    folder.mkdir(parents=True)
    (folder / "one.png").write_bytes(PNG)
    for place in (tmp_path, tmp_path / "pictures"):
        (place / "secret.png").write_bytes(PNG)
    (folder / "up").symlink_to("..")
    (folder / "root").symlink_to("/")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    proxy = IIIFProxy(nothing_else, environ={}, source=f"file:{folder}/{{id}}", cache_dir="")

    def ask(name: str) -> int:
        return asked(proxy, f"/iiif/3/{name}/info.json")[0]

    assert ask("one.png") == 200
    links = ["up/secret.png", "up%2fsecret.png", "link.png", f"root{tmp_path}/secret.png"]
    for name in [*NAMES, *links, f"{tmp_path}/secret.png", str(tmp_path).replace("/", "%2f")]:
        assert ask(name) in {303, 400, 404}, name
