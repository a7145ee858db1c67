"""What a visitor may write on a socket: an answer of the contract, and of the next too."""

import re

import pytest

from tests.hostile.conftest import CONTRACT, GUNICORN, Place
from tests.servers import Client, ask, get

IMAGE = "/iiif/3/one.png/full/max/0/default.jpg"
LONG = "a" * 100_000
DIGITS = "9" * 400
ADDRESSES = [
    # Dots in every spelling, in front of what lies beside the folder.
    *(
        f"/iiif/{version}/{dots}{slash}secret.png/full/max/0/default.jpg"
        for version in (2, 3)
        for dots in ("..", "%2e%2e", ".%2E", "%252e%252e", "..;", "%c0%ae%c0%ae", "%uff0e%uff0e")
        for slash in ("/", "%2f", "%5c", "\\", "%252f", "%c0%af", "//")
    ),
    *(
        f"/iiif/3/{name}/full/max/0/default.jpg"
        for name in (
            "%00", "one.png%00", "one.png%00.jpg", "%ff%fe", "%c3%28", "%ed%a0%80", "%f8%80%80%80",
            "%", "%2", "%zz", "one.png%", "%0d%0aX-Evil:1", "%0a", "%20", "%7f", "%1b[31m",
            "%e2%80%ae", "CON", "one.png:$DATA", "one.png%3a", "~root", "$(id)", "`id`", "{id}",
            "{{7*7}}", "'%22<script>", "/etc/passwd", "%2fetc%2fpasswd", "//etc/passwd",
            "http:%2f%2f127.0.0.1%2f", "file:%2f%2f%2fetc%2fpasswd", "@evil.example", "%40",
            "%23", "%3f", "a" * 256, "a" * 3000, "/".join("a" * 2000), "%2f" * 1000,
        )
    ),
    *(
        f"/iiif/3/one.png/{rest}"
        for number in (
            "1e9", "1E9", "inf", "-inf", "nan", "0x10", "1_0", "+1", "-1", "-0", "%201", "1%0a",
            "\u0661".encode().decode("latin-1"), "%D9%A1%D9%A2", "%EF%BC%91", "%C2%B2", DIGITS,
            "0." + DIGITS, DIGITS + "." + DIGITS, "1.", ".", "", ".5", "1,1,1,1,1", "%31", "1;2",
        )
        for rest in (
            f"{number},0,10,10/max/0/default.jpg", f"pct:{number},0,10,10/max/0/default.jpg",
            f"full/{number},/0/default.jpg", f"full/!{number},{number}/0/default.jpg",
            f"full/pct:{number}/0/default.jpg", f"full/max/{number}/default.jpg",
            f"full/max/!{number}/default.jpg", f"full/max/0/{number}.jpg",
            f"full/max/0/default.{number}",
        )
    ),
    "/iiif/3/%2e%2e/info.json", "/iiif/3//info.json", "/iiif/3/", "/iiif//", "/iiif/%00",
    "/iiif/-/view/%00", "/iiif/-/view/%ff", "/iiif/-/explain/%00", "/iiif/-/static/%2e%2e/own.py",
    "/iiif/-/static/../own.py", "/iiif/-/static/%00", "/iiif/-/preset/%00/one.png", "/iiif/-/%ff",
    "/iiif/%2d/health", "/%69iif/3/one.png/info.json", "//", "/?", "/#", "/\x80", "/" + "/" * 3000,
]  # fmt: skip


def test_every_address_is_answered(place: Place) -> None:
    place.origin.clear()
    wrong = []
    for target in dict.fromkeys(ADDRESSES):
        answer = ask(place.served.port, get(target), timeout=20)
        if answer.status not in CONTRACT | {414}:
            wrong.append((answer.status, target[:100]))
        elif "secret" in target:
            assert answer.body[:2] != b"\xff\xd8", target[:100]
        if answer.status >= 400:
            assert str(place.folder).encode() not in answer.body, target[:100]
            assert b"Traceback" not in answer.body, target[:100]
    assert not wrong
    place.lives()
    assert "Traceback" not in place.served.log()


@pytest.mark.parametrize(
    "target",
    [
        f"/iiif/3/{LONG}/full/max/0/default.jpg",
        f"/iiif/3/one.png/{LONG}/max/0/default.jpg",
        f"/iiif/3/one.png/full/max/0/default.jpg?{LONG}",
        "/iiif/3/" + "%2e%2e%2f" * 11_000,
        "/iiif/3/" + "a/" * 50_000 + "info.json",
    ],
)
def test_a_path_of_100_kilobytes(place: Place, target: str) -> None:
    answer = ask(place.served.port, get(target), timeout=20)
    assert answer.status in {0, 400, 414}  # 0: closed while more was sent
    place.lives()


INJECTING = ["%0d%0aX-Evil:%201", "%0aX-Evil:%201", "%0d%0a%0d%0a<b>", "%E5%98%8A%E5%98%8DX-Evil:1"]


@pytest.mark.parametrize("text", INJECTING)
@pytest.mark.parametrize(
    "target",
    [
        "/iiif/3/{}", "/iiif/2/{}", "/iiif/{}", "/iiif/3/{}/info.json",
        "/iiif/3/{}/full/max/0/default.jpg", "/iiif/3/one.png/full/max/0/{}.jpg",
        "/iiif/-/view/{}", "/iiif/-/explain/{}", "/iiif/3/one.png/info.json?{}",
    ],
)  # fmt: skip
def test_no_identifier_writes_a_header(place: Place, target: str, text: str) -> None:
    answer = ask(place.served.port, get(target.format(text)))
    assert answer.status in CONTRACT
    assert answer.get("X-Evil") is None
    assert "\n" not in re.sub(r"\r\n", "", answer.head.decode("latin-1"))
    if location := answer.get("Location"):
        assert location.startswith("http://visited.example/iiif/")


def raw(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


HIDDEN = raw("GET /hidden HTTP/1.1", "Host: visited.example")
TWO_WAYS = {
    "length and chunks": raw(
        "POST /seen HTTP/1.1", "Host: v", "Content-Length: 5", "Transfer-Encoding: chunked",
        body=b"0\r\n\r\n" + HIDDEN,
    ),
    "chunks and length": raw(
        "POST /seen HTTP/1.1", "Host: v", "Transfer-Encoding: chunked",
        f"Content-Length: {5 + len(HIDDEN)}", body=b"0\r\n\r\n" + HIDDEN,
    ),
    "two lengths": raw(
        "POST /seen HTTP/1.1", "Host: v", "Content-Length: 0", f"Content-Length: {len(HIDDEN)}",
        body=HIDDEN,
    ),
    "a list of lengths": raw(
        "POST /seen HTTP/1.1", "Host: v", f"Content-Length: 0, {len(HIDDEN)}", body=HIDDEN
    ),
    "a signed length": raw("POST /seen HTTP/1.1", "Host: v", "Content-Length: +0", body=HIDDEN),
    "a length below zero": raw("POST /seen HTTP/1.1", "Host: v", "Content-Length: -1", body=HIDDEN),
    "another coding": raw(
        "POST /seen HTTP/1.1", "Host: v", "Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + HIDDEN
    ),
    "a coding in the wrong place": raw(
        "POST /seen HTTP/1.1", "Host: v", "Transfer-Encoding: chunked, identity",
        body=b"0\r\n\r\n" + HIDDEN,
    ),
    "a blank before the colon": raw(
        "POST /seen HTTP/1.1", "Host: v", f"Content-Length : {len(HIDDEN)}", body=HIDDEN
    ),
    "a folded line": raw(
        "POST /seen HTTP/1.1", "Host: v", "X-A: b", " Content-Length: 9", body=HIDDEN
    ),
    "a name with an underscore": raw(
        "POST /seen HTTP/1.1", "Host: v", f"Content_Length: {len(HIDDEN)}",
        "Content-Length: 0", "Connection: close", body=HIDDEN,
    ),
    "chunks of a wrong size": raw(
        "POST /seen HTTP/1.1", "Host: v", "Transfer-Encoding: chunked",
        body=b"0x5\r\nabcde\r\n0\r\n\r\n" + HIDDEN,
    ),
    "chunks to HTTP/1.0": raw(
        "POST /seen HTTP/1.0", "Host: v", "Transfer-Encoding: chunked",
        body=b"0\r\n\r\n" + HIDDEN,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO_WAYS)
def test_what_two_servers_could_read_differently_is_one_request_or_none(
    place: Place, name: str
) -> None:
    place.origin.clear()
    with Client(place.served.port, 20) as client:
        client.send(TWO_WAYS[name])
        client.finish()
        answer = client.answer("POST")
        rest = b"".join(client.stream.until_closed())
    assert answer.status in CONTRACT | GUNICORN | {0}
    assert b"HTTP/1." not in rest
    assert all(request.target != "/hidden" for request in place.origin.requests)
    assert len(place.origin.requests) <= 1
    place.lives()


def closing(first: str, *lines: str, body: bytes = b"") -> bytes:
    return raw(f"{first} HTTP/1.1", "Host: v", *lines, body=body)


CLOSE = "Connection: close"
PLAIN = {
    "HTTP/1.0": (raw(f"GET {IMAGE} HTTP/1.0"), {200}),
    "HTTP/1.0 kept": (raw(f"GET {IMAGE} HTTP/1.0", "Connection: keep-alive"), {200}),
    "HTTP/2.0": (raw(f"GET {IMAGE} HTTP/2.0", "Host: v"), {400, 505}),
    "no version": (raw(f"GET {IMAGE}"), {400}),
    "no host": (raw(f"GET {IMAGE} HTTP/1.1", CLOSE), {200, 400}),
    "two hosts": (raw(f"GET {IMAGE} HTTP/1.1", "Host: a", "Host: b", CLOSE), CONTRACT),
    "absolute form": (
        closing(f"GET http://other.example{IMAGE}", CLOSE), {200},
    ),
    "absolute form of another scheme": (
        closing(f"GET file://other{IMAGE}", CLOSE), CONTRACT,
    ),
    "authority form": (closing("GET visited.example:80", CLOSE), CONTRACT),
    "asterisk": (closing("GET *", CLOSE), CONTRACT),
    "tunnel": (closing("CONNECT other:443", CLOSE), CONTRACT),
    "trace": (closing(f"TRACE {IMAGE}", CLOSE), {405}),
    "upgrade": (
        closing(f"GET {IMAGE}", "Connection: close, Upgrade", "Upgrade: h2c"), {200},
    ),
    "websocket": (
        closing(
            f"GET {IMAGE}", "Connection: Upgrade, close", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ), {200},
    ),
    "a body with GET": (
        closing(f"GET {IMAGE}", "Content-Length: 3", CLOSE, body=b"abc"),
        {200},
    ),
    "many headers": (
        closing(f"GET {IMAGE}", *(f"X-{i}: a" for i in range(500))), {400, 431},
    ),
    "a long header": (closing(f"GET {IMAGE}", "X-A: " + "a" * 50_000), {400, 431}),
    "NUL in a header": (closing(f"GET {IMAGE}", "X-A: \0", CLOSE), {400}),
    "a lone CR": (raw(f"GET {IMAGE} HTTP/1.1", "Host: v\rX-B: 1", CLOSE), {400}),
    "odd hosts": (
        raw(f"GET {IMAGE} HTTP/1.1", 'Host: a"><script>\xff@b:c', CLOSE), CONTRACT,
    ),
    "odd conditions": (
        closing(
            f"GET {IMAGE}", "If-None-Match: \"" + "a," * 2000,
            "Range: bytes=-,-",
            "If-Modified-Since: Mon, 99 Foo 99999999999 99:99:99 GMT", "Accept: ;;q=,/*;q=nan",
            "Accept-Encoding: \xff", "Cookie: \xff=;", CLOSE,
        ), {200},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_odd_requests_are_answered(place: Place, name: str) -> None:
    request, expected = PLAIN[name]
    with Client(place.served.port, 20) as client:
        client.send(request)
        client.finish()
        answer = client.answer(request.partition(b" ")[0].decode())
    assert answer.status in expected
    assert answer.get("Upgrade") is None
    place.lives()


def test_connection_names_no_header_of_the_answer(place: Place) -> None:
    lines = ["Connection: ETag, Cache-Control, X-Content-Type-Options, Host, close"]
    answer = ask(place.served.port, get(IMAGE, *lines))
    assert answer.status == 200
    assert answer.get("ETag")
    assert answer.get("X-Content-Type-Options") == "nosniff"
