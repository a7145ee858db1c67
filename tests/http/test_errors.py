"""What goes wrong: the right status, one public sentence, in the form that was asked for."""

import html
import json
import re
import threading
from collections.abc import Iterator

import pytest

from iiif_proxy.errors import InvalidRequest
from iiif_proxy.web import errors
from tests.http.collection import quarters, saved
from tests.http.conftest import Proxy, Serving
from tests.servers import Answer, Exchange, Origin, reply

PNG = ("Content-Type", "image/png")
TAILS = ["info.json", "full/max/0/default.png"]


def sentence(answer: Answer) -> str:
    """The body of a plain error, after checking that it is fit for the public."""
    text = answer.body.decode()
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"
    assert re.fullmatch(r"[A-Z][^\n]{10,160}\.\n", text), text
    assert not re.search(r"Traceback|Error|\.py|127\.0\.0\.1|/tmp|/work|/etc|\(", text), text
    assert ". " not in text
    assert answer.all("Access-Control-Allow-Origin") == ["*"]
    assert answer.all("X-Content-Type-Options") == ["nosniff"]
    assert answer.get("Vary") == "Accept"
    return text


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


BY_ORIGIN = [
    # what the origin answers, what we do
    (reply(404), 404),
    (reply("410 Gone"), 404),
    (reply("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="x"')]), 401),
    (reply("403 Forbidden"), 403),
    (reply("429 Too Many Requests", [("Retry-After", "7")]), 429),
    (reply("500 Internal Server Error", body=b"secret"), 502),
    (reply("503 Service Unavailable"), 502),
    (reply("204 No Content"), 502),
    (reply("206 Partial Content", [PNG, ("Content-Range", "bytes 0-9/99")], b"x" * 10), 502),
    (reply("301 Moved", [("Location", "http://169.254.169.254/latest")]), 502),
    (reply("301 Moved", [("Location", "file:///etc/passwd")]), 502),
    (reply("200 OK", [PNG], b""), 502),
    (reply("200 OK", [PNG], b"GIF89a"), 502),
    (reply("200 OK", [("Content-Type", "text/html")], b"<html>A page</html>"), 502),
    (reply("200 OK", [PNG, ("Content-Length", "999999")], saved(quarters(30, 20))), 502),
    (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", 502),
    (b"SSH-2.0-OpenSSH\r\n", 502),
]


@pytest.mark.parametrize("number", range(len(BY_ORIGIN)))
def test_origin_fails(proxy: Proxy, number: int) -> None:
    wire, status = BY_ORIGIN[number]
    path = f"/failing-{number}.png"

    def answer_and_close(exchange: Exchange) -> None:
        exchange.read()
        exchange.write(wire)
        exchange.close()

    proxy.origin.routes[path] = answer_and_close
    seen = [proxy.ask(f"/3{path}/{tail}") for tail in TAILS]
    assert [answer.status for answer in seen] == [status, status]
    for answer in seen:
        sentence(answer)
    if status == 429:
        assert seen[0].get("Retry-After") == "7"
    if status == 401:
        assert seen[0].get("WWW-Authenticate") == 'Basic realm="x"'
    if status == 404:
        return  # remembered, for a short time
    # Nothing of it was kept.
    proxy.origin.routes[path] = reply("200 OK", [PNG], saved(quarters(300, 200)))
    assert proxy.image(f"/3{path}/full/max/0/default.png").size == (300, 200)


@pytest.mark.parametrize("name", ["broken.png", "broken.jpg", "broken-large.jpg", "broken.tif"])
@pytest.mark.parametrize("tail", ["full/max", "full/50,", "pct:60,60,20,20/50,"])
def test_source_that_breaks_in_the_middle(proxy: Proxy, name: str, tail: str) -> None:
    """Its header is good, so far as it goes; the pixels are not all there."""
    for _ in range(2):
        answer = proxy.ask(f"/3/{name}/{tail}/0/default.png")
        assert answer.status == 502
        sentence(answer)


def test_kept_connection_that_the_origin_gave_up(proxy: Proxy) -> None:
    """An idle connection may be closed by the origin while our next request is on its way."""
    served: set[int] = set()

    def once(exchange: Exchange) -> None:
        exchange.read()
        if exchange.request.connection in served:
            exchange.close()
            return
        served.add(exchange.request.connection)
        fields = [PNG, ("Cache-Control", "no-cache"), ("ETag", '"1"')]
        exchange.write(reply("200 OK", fields, saved(quarters(30, 20))))

    proxy.origin.routes["/idle.png"] = once
    for _ in range(3):
        answer = proxy.ask("/3/idle.png/info.json")
        assert answer.status == 200, answer.body


def test_origin_is_down(serving: Serving) -> None:
    proxy = serving(origin="http://127.0.0.1:1")
    for target in ("/3/a.png/info.json", "/3/a.png/full/max/0/default.png"):
        answer = proxy.ask(target)
        assert answer.status == 502
        sentence(answer)
    passed = proxy.ask("//a.png")
    assert passed.status == 502
    assert not passed.all("Access-Control-Allow-Origin")


def test_origin_hangs(serving: Serving, origin: Origin, release: threading.Event) -> None:
    proxy = serving(read_timeout="0.2s")
    origin.routes["/slow.png"] = lambda exchange: (exchange.read(), release.wait(5))
    for target in ("/3/slow.png/info.json", "/3/slow.png/full/max/0/default.png"):
        answer = proxy.ask(target)
        assert answer.status == 504
        sentence(answer)
    assert proxy.ask("//slow.png").status == 504


def test_source_is_too_large(serving: Serving, origin: Origin) -> None:
    proxy = serving(source_max_bytes=2000, source_max_pixels=50_000)
    body = saved(quarters(60, 40)).ljust(3000, b"\0")
    origin.routes["/heavy.png"] = reply("200 OK", [PNG], body)
    origin.routes["/heavy-chunked.png"] = reply(
        "200 OK", [PNG, ("Transfer-Encoding", "chunked")], b"BB8\r\n" + body + b"\r\n0\r\n\r\n"
    )
    for name in ("heavy.png", "heavy-chunked.png", "300x200.png"):
        for tail in TAILS:
            answer = proxy.ask(f"/3/{name}/{tail}")
            assert answer.status == 502, name
            sentence(answer)
    assert proxy.ask("/3/60x40.png/info.json").status == 200


BAD = {
    400: "/3/300x200.png/full/0,/0/default.png",
    404: "/3/%3Cb%3Enothing%3C%2Fb%3E/info.json",
    405: "/3/300x200.png/info.json",
    501: "/3/300x200.png/full/^600,/0/default.png",
    502: "/3/text.txt/info.json",
}


@pytest.mark.parametrize("status", BAD)
@pytest.mark.parametrize(
    "accept, form",
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("image/avif,image/webp,image/*,*/*;q=0.8", "text/plain"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/json", "application/json"),
        ("application/json;q=0.5, text/html;q=0.9", "text/html"),
        ("image/png", "text/plain"),
        (";;,q=", "text/plain"),
    ],
)
def test_form(proxy: Proxy, status: int, accept: str | None, form: str) -> None:
    method = "DELETE" if status == 405 else "GET"
    lines = [] if accept is None else [f"Accept: {accept}"]
    plain = sentence(proxy.ask(BAD[status], method=method)).strip()
    answer = proxy.ask(BAD[status], *lines, method=method)
    assert answer.status == status
    assert answer.get("Content-Type") == f"{form}; charset=utf-8"
    text = answer.body.decode()
    if form == "application/json":
        assert json.loads(text) == {"status": status, "error": plain}
    elif form == "text/html":
        assert f"<p>{html.escape(plain)}</p>" in text
        assert f"<title>{status} " in text
    else:
        assert text == plain + "\n"


def test_no_sentence_is_markup() -> None:
    """Whatever a sentence may quote one day."""
    error = InvalidRequest('<script>alert("x")</script>', headers={"x-odd": "a\r\nb: c"})
    status, fields, body = errors.answer(error, {"HTTP_ACCEPT": "text/html"})
    assert b"<script" not in body
    assert b"&lt;script&gt;" in body
    assert ("X-Odd", "ab: c") in fields
    assert status == "400 Bad Request"


@pytest.mark.parametrize("status", BAD)
def test_errors_are_not_kept_by_caches(proxy: Proxy, status: int) -> None:
    answer = proxy.ask(BAD[status], method="DELETE" if status == 405 else "GET")
    assert answer.get("Cache-Control") == ("no-store" if status >= 500 else "no-cache")


def test_the_log_has_the_cause(proxy: Proxy) -> None:
    proxy.ask("/3/text.txt/info.json")
    assert "502" in proxy.served.log()
    assert "Traceback" not in proxy.served.log()


def test_unknown_is_remembered_for_a_short_time_only(serving: Serving, origin: Origin) -> None:
    proxy = serving(unknown_ttl="0.1s")
    assert proxy.ask("/3/late.png/info.json").status == 404
    origin.routes["/late.png"] = reply("200 OK", [PNG], saved(quarters(30, 20)))
    threading.Event().wait(0.12)
    assert proxy.ask("/3/late.png/info.json").status == 200
