"""Caching as HTTP has it: ETag, Last-Modified, 304, Cache-Control, Cache-Status."""

import email.utils
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.http.collection import MODIFIED, gradient, quarters, saved
from tests.http.conftest import Proxy, Serving
from tests.servers import Answer, reply

IMAGE = "/3/300x200.png/full/90,/0/default.png"
INFO = "/3/300x200.png/info.json"
NEVER = '"00000000000000000000"'


def put(proxy: Proxy, path: str, *fields: tuple[str, str], image: object = None) -> None:
    body = saved(gradient(60, 40) if image is None else image)  # type: ignore[arg-type]
    proxy.origin.routes[path] = reply("200 OK", [("Content-Type", "image/png"), *fields], body)


@pytest.mark.parametrize("target", [IMAGE, INFO, IMAGE.replace("/3/", "/2/")])
@pytest.mark.parametrize(
    "lines, status",
    [
        ((), 200),
        (("If-None-Match: {tag}",), 304),
        (("If-None-Match: W/{tag}",), 304),
        ((f"If-None-Match: {NEVER}, {{tag}}",), 304),
        ((f"If-None-Match: {NEVER},W/{{tag}}  ,  {NEVER}",), 304),
        ((f"If-None-Match: {NEVER}", "If-None-Match: {tag}"), 304),
        (("If-None-Match: *",), 304),
        (("If-None-Match:  * ",), 304),
        ((f"If-None-Match: {NEVER}",), 200),
        ((f"If-None-Match: W/{NEVER}",), 200),
        (('If-None-Match: "*"',), 200),
        (("If-None-Match: ",), 200),
        (("If-None-Match: {bare}",), 200),
        # If-None-Match counts alone.
        ((f"If-None-Match: {NEVER}", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"), 200),
        (("If-None-Match: {tag}", "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"), 304),
    ],
)
def test_if_none_match(proxy: Proxy, target: str, lines: tuple[str, ...], status: int) -> None:
    whole = proxy.ask(target)
    tag = whole.get("ETag") or ""
    assert re.fullmatch(r'"[!-~]+"', tag)
    lines = tuple(line.format(tag=tag, bare=tag.strip('"')) for line in lines)
    for method in ("GET", "HEAD"):
        answer = proxy.ask(target, *lines, method=method)
        assert answer.status == status
        assert answer.body == (whole.body if status == 200 and method == "GET" else b"")


@pytest.mark.parametrize(
    "since, status",
    [
        (MODIFIED, 304),
        ("Wed, 04 Mar 2026 00:00:00 GMT", 304),
        ("Tue, 03 Mar 2026 09:59:59 GMT", 200),
        ("Tuesday, 03-Mar-26 10:00:00 GMT", 304),
        ("yesterday", 200),
        ("", 200),
        ("99999999999999999999", 200),
    ],
)
def test_if_modified_since(proxy: Proxy, since: str, status: int) -> None:
    assert proxy.ask(IMAGE).get("Last-Modified") == MODIFIED
    assert proxy.ask(IMAGE, f"If-Modified-Since: {since}").status == status


def test_headers_of_a_304(proxy: Proxy) -> None:
    """RFC 9110, 15.4.5, and what a browser needs to believe it across origins."""
    for target in (IMAGE, INFO):
        whole = proxy.ask(target)
        answer = proxy.ask(target, f"If-None-Match: {whole.get('ETag')}")
        for name in (
            "ETag", "Cache-Control", "Vary", "Last-Modified", "Link",
            "Access-Control-Allow-Origin", "Access-Control-Expose-Headers",
        ):  # fmt: skip
            assert answer.all(name) == whole.all(name), name
        assert not answer.all("Content-Type")
        assert answer.get("Content-Length") in {None, "0"}


def test_not_modified_of_what_was_never_made_here(proxy: Proxy, serving: Serving) -> None:
    """The ETag names the content: a client that has it needs nobody to make it again."""
    other = serving(max_age="5m", source_ttl="2h")
    target = "/3/300x200.png/full/91,/0/default.png"
    tag = proxy.ask(target).get("ETag")
    assert other.ask(target, f"If-None-Match: {tag}").status == 304
    assert other.ask(target).get("Cache-Status") == "iiif-proxy; fwd=miss"


def test_etags_differ_where_bytes_do(proxy: Proxy) -> None:
    tails = ["full/80,", "full/81,", "0,0,80,80/80,"]
    targets = [f"/3/300x200.png/{tail}/0/default.{f}" for tail in tails for f in ("png", "jpg")]
    assert len({proxy.ask(target).get("ETag") for target in [*targets, INFO]}) == 7


@pytest.mark.parametrize(
    "fields, expected",
    [
        ([], "public, max-age=3600"),
        ([("Cache-Control", "max-age=60")], "public, max-age=60"),
        ([("Cache-Control", "public, max-age=60, s-maxage=30")], "public, max-age=30"),
        ([("Cache-Control", "max-age=864000")], "public, max-age=3600"),
        ([("Cache-Control", "no-cache")], "public, no-cache"),
        ([("Cache-Control", "max-age=0")], "public, no-cache"),
        ([("Cache-Control", "no-store")], "no-store"),
        ([("Cache-Control", "private, max-age=60")], "no-store"),
        ([("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")], "public, no-cache"),
        ([("Expires", "0")], "public, no-cache"),
    ],
)
def test_cache_control_is_at_most_the_origins(
    proxy: Proxy, fields: list[tuple[str, str]], expected: str
) -> None:
    name = f"cc-{abs(hash(str(fields)))}.png"
    put(proxy, f"/{name}", ("ETag", '"1"'), *fields)
    for tail in ("info.json", "full/max/0/default.png"):
        answer = proxy.ask(f"/3/{name}/{tail}")
        assert (answer.status, answer.get("Cache-Control")) == (200, expected)


def test_max_age_is_a_setting(serving: Serving) -> None:
    proxy = serving(max_age="5m", source_ttl="2h")
    assert proxy.ask(IMAGE).get("Cache-Control") == "public, max-age=300"


def test_miss_then_hit(proxy: Proxy) -> None:
    target = "/3/quarters.png/full/93,/0/default"
    seen = [proxy.ask(target + ".png") for _ in range(3)]
    assert [answer.get("Cache-Status") for answer in seen] == [
        "iiif-proxy; fwd=miss", "iiif-proxy; hit", "iiif-proxy; hit",
    ]  # fmt: skip
    assert len({answer.body for answer in seen}) == 1
    assert proxy.ask(target + ".jpg").get("Cache-Status") == "iiif-proxy; fwd=miss"
    # The other version's spelling, and another's of this one.
    assert (
        proxy.ask("/2/quarters.png/full/93,/0/color.png").get("Cache-Status") == "iiif-proxy; hit"
    )


def test_stale_says_so(serving: Serving) -> None:
    """The origin fails: what is known goes on being served, for seconds at a time."""
    proxy = serving(source_ttl="0s")
    put(proxy, "/stale.png", ("ETag", '"1"'))
    tails = ("full/50,/0/default.png", "full/51,/0/default.png")
    assert proxy.ask(f"/3/stale.png/{tails[0]}").get("Cache-Status") == "iiif-proxy; fwd=miss"
    proxy.origin.routes["/stale.png"] = reply("500 Oops")
    seen = [proxy.ask(f"/3/stale.png/{tail}") for tail in (tails[0], tails[0], tails[1])]
    assert [(answer.status, answer.get("Cache-Status")) for answer in seen] == [
        (200, "iiif-proxy; hit; detail=stale"),
        (200, "iiif-proxy; hit; detail=stale"),
        (200, "iiif-proxy; fwd=miss; detail=stale"),
    ]
    assert {answer.get("Cache-Control") for answer in seen} == {"public, max-age=5"}


def test_asked_for_by_many_at_once(proxy: Proxy) -> None:
    """One fetch, one making; everybody has the same bytes."""
    put(proxy, "/popular.png", ("ETag", '"1"'))
    target = "/3/popular.png/full/50,/0/default.jpg"
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: proxy.ask(target), range(24)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    statuses = [answer.get("Cache-Status") for answer in answers]
    assert statuses.count("iiif-proxy; fwd=miss") == 1
    assert len([r for r in proxy.origin.requests if r.target == "/popular.png"]) == 1


def test_head_makes_it_too(proxy: Proxy) -> None:
    target = "/3/quarters.png/full/94,/0/default.png"
    assert proxy.ask(target, method="HEAD").get("Cache-Status") == "iiif-proxy; fwd=miss"
    assert proxy.ask(target).get("Cache-Status") == "iiif-proxy; hit"


def test_nothing_is_stored_without_a_folder(serving: Serving) -> None:
    proxy = serving(cache_dir="")
    for _ in range(2):
        answer = proxy.ask(IMAGE)
        assert (answer.status, answer.get("Cache-Status")) == (200, "iiif-proxy; fwd=miss")
    assert proxy.ask(IMAGE, f"If-None-Match: {answer.get('ETag')}").status == 304


def test_nothing_is_stored_that_the_origin_forbids(proxy: Proxy) -> None:
    put(proxy, "/unstored.png", ("Cache-Control", "no-store"))
    for _ in range(2):
        answer = proxy.ask("/3/unstored.png/full/max/0/default.png")
        assert (answer.status, answer.get("Cache-Status")) == (200, "iiif-proxy; fwd=miss")


def changes(proxy: Proxy, name: str, *fields: tuple[str, str]) -> tuple[Answer, Answer]:
    """The answers before and after the source became another."""
    target = f"/3/{name}/full/max/0/default.png"
    put(proxy, f"/{name}", ("Cache-Control", "no-cache"), *fields)
    first = proxy.ask(target)
    assert proxy.ask(target).body == first.body
    changed = [(key, value.replace("1", "2")) for key, value in fields]
    put(proxy, f"/{name}", ("Cache-Control", "no-cache"), *changed, image=quarters(60, 40))
    return first, proxy.ask(target)


@pytest.mark.parametrize("fields", [[("ETag", '"1"')], [("ETag", 'W/"1"')], []])
def test_changed_source_never_meets_an_old_derivative(
    proxy: Proxy, fields: list[tuple[str, str]]
) -> None:
    name = f"changing{len(fields)}{'w' if 'W' in str(fields) else ''}.png"
    old, new = changes(proxy, name, *fields)
    assert (old.status, new.status) == (200, 200)
    assert old.body != new.body
    assert old.get("ETag") != new.get("ETag")
    target = f"/3/{name}/full/max/0/default.png"
    assert proxy.ask(target, f"If-None-Match: {old.get('ETag')}").status == 200


def test_revalidated_by_a_conditional_get(proxy: Proxy) -> None:
    put(proxy, "/same.png", ("ETag", '"1"'), ("Cache-Control", "no-cache"))
    target = "/3/same.png/full/max/0/default.png"
    proxy.ask(target)
    proxy.origin.routes["/same.png"] = reply("304 Not Modified", [("ETag", '"1"')])
    assert proxy.ask(target).get("Cache-Status") == "iiif-proxy; hit"
    last = [request for request in proxy.origin.requests if request.target == "/same.png"][-1]
    assert (last.method, last.all("If-None-Match")) == ("GET", ['"1"'])
    assert not [r for r in proxy.origin.requests if r.method == "HEAD" and r.target == "/same.png"]


def test_fresh_source_is_not_asked_again(proxy: Proxy) -> None:
    """`_hit`: the third time needs no more than a file, and says the same."""
    put(proxy, "/fresh.png", ("ETag", '"1"'), ("Last-Modified", MODIFIED))
    target = "/3/fresh.png/full/max/0/default.png"
    answers = [proxy.ask(target) for _ in range(4)]
    own = {"Date", "Cache-Status", "Server-Timing", "Timing-Allow-Origin"}
    kept = [[f for f in answer.fields if f[0] not in own] for answer in answers]
    assert kept[0] == kept[1] == kept[2] == kept[3]
    assert len([r for r in proxy.origin.requests if r.target == "/fresh.png"]) == 1
    date = email.utils.parsedate_to_datetime(answers[0].get("Date") or "")
    assert date.year >= 2026


def test_short_lived_source_is_asked_again(proxy: Proxy) -> None:
    """Answered from memory only as long as it is fresh."""
    put(proxy, "/brief.png", ("ETag", '"1"'), ("Cache-Control", "max-age=1"))
    target = "/3/brief.png/full/max/0/default.png"
    before = [proxy.ask(target).body for _ in range(3)]
    put(proxy, "/brief.png", ("ETag", '"2"'), image=quarters(60, 40))
    time.sleep(1.05)
    assert proxy.ask(target).body != before[0]
