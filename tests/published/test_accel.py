"""deploy/nginx-accel.conf: the sidecar decides, nginx sends, and nobody can tell from outside."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.clients import Answer, ask, get, reply
from tests.published.site import ACCEL, BLUE, GREEN, RED, Site, colour_of, jpeg, main_conf, near
from tests.servers import Exchange

MakeSite = Callable[..., AbstractContextManager[Site]]
LOCATION = "/-derivatives/"
ASKED = f"X-Iiif-Accel: {LOCATION}"
# nginx's own, of every answer.
OF_NGINX = {"Server", "Date", "Connection"}
OF_A_MISS = {"Cache-Status", "Server-Timing", "Timing-Allow-Origin", "X-Request-Id"}
MODIFIED = formatdate(1_600_000_000, usegmt=True)
POLICY = """
[[rules]]
identifiers = "closed*"
public = { read = "nothing" }
"""


@pytest.fixture(scope="module")
def site(make_site: MakeSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    policy = tmp_path_factory.mktemp("policy") / "policy.toml"
    policy.write_text(POLICY)
    with make_site(
        shipped=ACCEL, accel=LOCATION, policy=str(policy), class_header="X-Class"
    ) as made:
        for name, colour in (("/open.jpg", RED), ("/closed.jpg", BLUE)):
            made.images[name] = jpeg(colour)
        made.headers = [("Last-Modified", MODIFIED)]
        yield made


def target(name: str, width: int) -> str:
    """Each test has a width of its own."""
    return f"/iiif/3/{name}/full/{width},{width}/0/default.jpg"


def by_nginx(answer: Answer) -> bool:
    return answer.get("Accept-Ranges") == "bytes"


def seen(answer: Answer) -> list[tuple[str, str]]:
    """What a visitor is told, but for what nginx says of files."""
    return sorted(pair for pair in answer.fields if pair[0] not in {*OF_NGINX, "Accept-Ranges"})


def as_bytes(site: Site, path: str, *lines: str, method: str = "GET") -> Answer:
    """The same through nginx and the sidecar, which must give bytes to whom asks like that."""
    # True of every stored image, and judged by nginx if at all.
    return site.ask(path, "If-Match: *", *lines, method=method)


def sent(site: Site) -> float:
    """Bytes of images, as the sidecar counts them."""
    text = ask(site.sidecar, get("/iiif/-/metrics")).body.decode()
    return sum(
        map(
            float,
            re.findall(r'^iiif_proxy_answered_bytes_total\{kind="image"\} (\S+)$', text, re.M),
        )
    )


def files(site: Site, name: str) -> list[Path]:
    return [path for path in (site.cache / "derivatives").glob("*/*/*") if name in path.name]


def test_the_shipped_file_is_sound(need: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text(ACCEL.read_text())
    found = subprocess.run(
        [need("nginx"), "-t", "-c", main_conf(tmp_path)], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert "warn" not in found.stderr


@pytest.mark.parametrize(
    "name",
    [
        "plain.jpg",
        "a%2Fb.jpg",
        "scans%2F1900%2Fmap%20of%20x.jpg",
        "M%C3%BCnchen.jpg",
        "100%25.jpg",
        "a%252Fb.jpg",
        "a/b/c.jpg",
        "%3Fa=b&c%23d+e.jpg",
        "$iiif_accel",
    ],
)
def test_identifiers(site: Site, name: str) -> None:
    def any_path(exchange: Exchange) -> None:
        exchange.read()
        site.images[exchange.request.target.partition("?")[0]] = jpeg(GREEN)
        site.answer(exchange)

    site.origin.default = any_path
    try:
        first, second = (site.ask(target(name, 50)) for _ in range(2))
        assert [by_nginx(first), by_nginx(second)] == [False, True]
        assert near(colour_of(second), GREEN)
        assert second.body == first.body
        assert second.get("Link") == first.get("Link")
    finally:
        site.origin.default = site.answer


@pytest.mark.parametrize("name, lines", [("open.jpg", []), ("closed.jpg", ["X-Class: member"])])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("format_", ["jpg", "png", "webp", "tif"])
def test_headers_are_those_of_python(
    site: Site, name: str, lines: list[str], version: int, format_: str
) -> None:
    path = f"/iiif/{version}/{name}/0,0,60,60/30,/0/default.{format_}"
    site.ask(path, *lines)
    for _ in range(2):  # The whole way, and what is remembered.
        found, due = site.ask(path, *lines), as_bytes(site, path, *lines)
        assert [by_nginx(found), by_nginx(due)] == [True, False]
        assert seen(found) == seen(due)
        assert found.body == due.body
    assert found.get("Last-Modified") == MODIFIED
    head = site.ask(path, *lines, method="HEAD")
    assert seen(head) == seen(due)
    assert (head.status, head.body) == (200, b"")


def test_an_image_without_a_date_gets_none(site: Site) -> None:
    fields, site.headers = site.headers, []
    try:
        site.images["/dateless.jpg"] = jpeg(RED)
        path = target("dateless.jpg", 51)
        site.ask(path)
        found = site.ask(path)
        assert by_nginx(found)
        assert found.get("Last-Modified") is None
    finally:
        site.headers = fields


def test_conditions(site: Site) -> None:
    path = target("open.jpg", 52)
    site.ask(path)
    found = site.ask(path)
    assert by_nginx(found)
    etag = found.get("ETag")
    for lines in (
        [f"If-None-Match: {etag}"],
        [f'If-None-Match: "other", W/{etag}'],
        [f"If-Modified-Since: {MODIFIED}"],
    ):
        unchanged = site.ask(path, *lines)
        assert (unchanged.status, unchanged.body) == (304, b"")
        for name in ("ETag", "Link", "Cache-Control", "Access-Control-Allow-Origin"):
            assert unchanged.get(name) == found.get(name)
    for lines in (
        ['If-None-Match: "other"'],
        ["If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"],
        # Since it was made, but our ETag decides.
        ['If-None-Match: "other"', f"If-Modified-Since: {MODIFIED}"],
    ):
        whole = site.ask(path, *lines)
        assert (whole.status, whole.body) == (200, found.body)
        assert by_nginx(whole)
    for line in (f"If-Match: {etag}", f"If-Unmodified-Since: {MODIFIED}"):
        assert site.ask(path, line).body == found.body


def test_parts(site: Site) -> None:
    path = target("open.jpg", 53)
    whole = site.ask(path)
    part = site.ask(path, "Range: bytes=10-19")
    assert (part.status, part.body) == (206, whole.body[10:20])
    assert part.get("Content-Range") == f"bytes 10-19/{len(whole.body)}"
    for name in ("ETag", "Link", "Cache-Control", "Access-Control-Allow-Origin"):
        assert part.all(name) == whole.all(name)
    for tag, status in ((whole.get("ETag"), 206), ('"other"', 200), (MODIFIED, 206)):
        assert site.ask(path, "Range: bytes=0-0", f"If-Range: {tag}").status == status
    beyond = site.ask(path, "Range: bytes=99999999-")
    assert beyond.status == 416
    assert beyond.all("Access-Control-Allow-Origin") == ["*"]


def test_each_request_is_decided_by_the_policy(site: Site) -> None:
    path = target("closed.jpg", 54)
    for _ in range(3):
        member = site.ask(path, "X-Class: member")
        assert near(colour_of(member), BLUE)
        assert str(member.get("Cache-Control")).startswith("private")
        assert member.get("Vary") == "Authorization, Cookie"
        stranger = site.ask(path)
        assert stranger.status == 403
    assert by_nginx(member)


def test_the_location_is_not_reached_from_outside(site: Site) -> None:
    path = target("closed.jpg", 55)
    site.ask(path, "X-Class: member")
    (file,) = files(site, "full_55,55")
    inside = file.relative_to(site.cache / "derivatives")
    for start in ("", "/", "/x/..", "/iiif/..", "/%2e"):
        answer = site.ask(f"{start}{LOCATION}{inside}")
        assert answer.status == 404
        assert b"\xff\xd8" not in answer.body

    def sends(exchange: Exchange) -> None:
        exchange.read()
        exchange.write(reply(200, [("X-Accel-Redirect", f"{LOCATION}{inside}")], b"mine"))

    site.origin.default = sends
    try:
        assert site.ask("/page").body == b"mine"
    finally:
        site.origin.default = site.answer


def test_nobody_else_gets_an_empty_body(site: Site) -> None:
    path = target("open.jpg", 56)
    site.ask(path)
    for lines in ([], [ASKED[:-1]], ["X-Iiif-Accel: 1"]):
        answer = site.direct(path, *lines)
        assert near(colour_of(answer), RED)
        assert answer.get("X-Accel-Redirect") is None
    handed = site.direct(path, ASKED)
    assert (handed.body, handed.get("Content-Length")) == (b"", "0")
    assert str(handed.get("X-Accel-Redirect")).startswith(LOCATION)
    # nginx says what it is, whatever its visitors say.
    assert near(colour_of(site.ask(path, "X-Iiif-Accel: /etc/")), RED)


def test_what_was_evicted_in_between_comes_as_bytes(site: Site) -> None:
    path = target("open.jpg", 57)
    site.ask(path)
    whole = site.ask(path)
    assert by_nginx(whole)
    # tests/published/application.py purges once the file was named, before nginx has heard of it.
    made = site.ask(path, "X-Purge: open.jpg")
    assert made.body == whole.body
    assert not by_nginx(made)
    assert made.get("Cache-Status") == "iiif-proxy; fwd=miss"
    told = [pair for pair in seen(made) if pair[0] not in OF_A_MISS]
    assert told == [pair for pair in seen(whole) if pair[0] not in OF_A_MISS]
    assert not files(site, "full_57,57")


def test_what_nginx_cannot_see_comes_as_bytes(site: Site) -> None:
    """The store is elsewhere, or not for nginx to read: slower, and right."""
    path = target("open.jpg", 58)
    site.ask(path)
    whole = site.ask(path)
    assert by_nginx(whole)
    site.seen.rename(site.seen.with_name("away"))
    try:
        found = site.ask(path)
        part = site.ask(path, "Range: bytes=0-9")
    finally:
        site.seen.with_name("away").rename(site.seen)
    assert found.body == part.body == whole.body
    assert not by_nginx(found)
    assert seen(found) == seen(whole)
    assert by_nginx(site.ask(path))


def test_sent_bytes_are_counted_and_uses_noted(site: Site) -> None:
    path = target("open.jpg", 59)
    size = len(site.ask(path).body)
    (file,) = files(site, "full_59,59")
    os.utime(file, ns=(1, file.stat().st_mtime_ns))
    before = sent(site)
    # The whole way, and what is remembered.
    for lines in (['If-None-Match: "other"'], []):
        assert by_nginx(site.ask(path, *lines))
    assert file.stat().st_atime > 1
    assert sent(site) - before == 2 * size
