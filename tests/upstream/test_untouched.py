"""Through gunicorn and Upstream as against direct: what the origin sees, what the visitor sees.

The differences that are meant are the two tables below.
"""

import gzip

import pytest

from iiif_proxy.upstream import Upstream
from tests.servers import Answer, Exchange, Fields, Origin, Request, Served, ask, get, reply
from tests.upstream.conftest import call

# Towards the origin: ours, or of one hop. Host is the origin's own.
ADDED = {"via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "host"}
ONE_HOP = {"connection", "expect"}
# Towards the visitor: gunicorn writes its own, and drops the application's Date and Server.
SERVERS_OWN = {"date", "server", "connection", "transfer-encoding"}

PACKED = gzip.compress(b"packed " * 100, mtime=0)

REQUESTS = {
    "plain": get("/a"),
    "encoded slash": get("/a%2Fb"),
    "encoded slash, lower case": get("/a%2fb"),
    "double slashes": get("/a//b//"),
    "double slash first": get("//a/b"),
    "dots": get("/a/../b/./c"),
    "encoded dots": get("/a/%2e%2E/b"),
    "trailing question mark": get("/a?"),
    "two question marks": get("/a??b?"),
    "query": get("/a?b=%20+c&d=e%2Ff&&=&;x"),
    "reserved": get("/a;b=c,d!$&'()*+:@~"),
    "unwise": get('/a|b^c`d{e}"<>\\[f]'),
    "encoded percent": get("/a%25%32%46%zz%"),
    "encoded UTF-8": get("/%C3%A9/%c3%a9"),
    "encoded garbage": get("/%ff%00%0d%0aX:y"),
    "unreserved encoded": get("/%7Ea%41"),
    "fragment": get("/a#b?c"),
    "HTTP/1.0": get("/a", version="1.0"),
    "HEAD": get("/a", method="HEAD"),
    "OPTIONS": get("/a", method="OPTIONS"),
    "OPTIONS of the server": get("*", method="OPTIONS"),
    "DELETE": get("/a", method="DELETE"),
    "TRACE": get("/a", method="TRACE"),
    "POST without a body": get("/a", method="POST"),
    "POST of nothing": get("/a", "Content-Length: 0", method="POST"),
    "POST": get("/a", "Content-Type: a/b", "Content-Length: 3", method="POST") + b"\0\xff\n",
    "GET with a body": get("/a", "Content-Length: 3") + b"abc",
    "PROPFIND": get("/a", "Depth: 1", "Content-Length: 4", method="PROPFIND") + b"<x/>",
    "MKCOL": get("/a/", method="MKCOL"),
    "MOVE": get("/a", "Destination: http://visited.example/b%2Fc", method="MOVE"),
    "LOCK": get("/a", "If: (<opaquelocktoken:a>)", "Timeout: Infinite", method="LOCK"),
    "VERSION-CONTROL": get("/a", method="VERSION-CONTROL"),
    "conditional": get("/a", 'If-None-Match: W/"a", "b"', "If-Modified-Since: yesterday"),
    "range": get("/a", "Range: bytes=1-2,4-", 'If-Range: "x"'),
    "personal": get("/a", "Cookie: a=b; c=d", "Authorization: Basic eDp5"),
    "encodings": get("/a", "Accept-Encoding: br;q=1.0, gzip"),
    "nobody's encodings": get("/a"),
    "odd fields": get("/a", "X-1: 2", "X-Empty:", "X-Latin: \xe9 \xff", "Dnt: 1"),
    "blanks in values": get("/a", "X-Blank:  a  b\tc  "),
}


def fields(of: Request | Answer, without: set[str]) -> Fields:
    found = [(name.lower(), value) for name, value in of.fields]
    return sorted((name, value) for name, value in found if name not in without)


@pytest.mark.parametrize("name", REQUESTS)
def test_origin_sees_what_was_sent(origin: Origin, server: Served, name: str) -> None:
    ask(origin.port, REQUESTS[name])
    answer = ask(server.port, REQUESTS[name])
    direct, passed = origin.requests
    assert answer.status == 200
    assert (passed.method, passed.target, passed.body) == (
        direct.method,
        direct.target,
        direct.body,
    )
    assert fields(passed, ADDED | ONE_HOP) == fields(direct, ADDED | ONE_HOP)
    assert passed.all("Host") == [f"127.0.0.1:{origin.port}"]
    assert {name for name, _ in fields(passed, set())} - {
        name for name, _ in fields(direct, set())
    } <= ADDED


@pytest.mark.parametrize(
    "absolute, target",
    [
        ("http://visited.example/a%2Fb?c", "/a%2Fb?c"),
        ("http://visited.example", "/"),
        ("http://visited.example?a", "/?a"),
        ("HTTPS://u@[::1]:80//a", "//a"),
    ],
)
def test_absolute_form_loses_its_authority(
    origin: Origin, server: Served, absolute: str, target: str
) -> None:
    assert ask(server.port, get(absolute)).status == 200
    assert origin.requests[0].target == target


ANSWERS = {
    "plain": reply(fields=[("Content-Type", "text/plain")], body=b"abc"),
    "empty": reply(),
    "not found": reply("404 Not Found", body=b"no"),
    "own reason": reply("200 Alles gut, \xe4hm"),
    "no reason": reply("299 "),
    "no reason and no blank": reply("299"),
    "odd status": reply("599 Odd", body=b"x"),
    "two cookies": reply(
        fields=[("Set-Cookie", "a=1; Expires=Mon, 01 Jan 2035"), ("Set-Cookie", "b=2"), ("A", "b")]
    ),
    "repeated": reply(fields=[("X-A", "1"), ("X-B", "2"), ("X-A", "3"), ("x-a", "4")]),
    "gzip": reply(fields=[("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")], body=PACKED),
    "broken gzip": reply(fields=[("Content-Encoding", "gzip")], body=b"not packed"),
    "partial": reply(
        "206 Partial Content",
        [("Content-Range", "bytes 1-2/10"), ("Accept-Ranges", "bytes")],
        b"bc",
    ),
    "unsatisfiable": reply("416 Range Not Satisfiable", [("Content-Range", "bytes */10")]),
    "not modified": reply("304 Not Modified", [("ETag", '"a"'), ("Content-Length", "10")]),
    "not modified, no length": b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
    "no content": b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    "redirect": reply("302 Found", [("Location", "http://elsewhere.example/%2F")]),
    "unauthorized": reply("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="\xe9"')]),
    "chunked": reply(
        fields=[("Transfer-Encoding", "chunked")],
        body=b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
    ),
    "chunked nothing": reply(fields=[("Transfer-Encoding", "Chunked")], body=b"0\r\n\r\n"),
    "old server's end": b"HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nuntil closed",
    "binary": reply(body=bytes(range(256)) * 300),
    "odd values": reply(fields=[("X-Empty", ""), ("X-Latin", "\xe9\xff"), ("X-Tab", "a\tb")]),
    "multi-status": reply("207 Multi-Status", [("DAV", "1,2")], b"<multistatus/>"),
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PROPFIND"])
@pytest.mark.parametrize("name", ANSWERS)
def test_visitor_sees_what_the_origin_sent(
    origin: Origin, server: Served, name: str, method: str
) -> None:
    wire = ANSWERS[name]
    bodiless = method == "HEAD"

    def answering(exchange: Exchange) -> None:
        exchange.write(wire.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if bodiless else wire)
        if wire.startswith(b"HTTP/1.0"):
            exchange.close()

    origin.default = answering
    direct = ask(origin.port, get("/a", method=method))
    passed = ask(server.port, get("/a", method=method))
    assert passed.whole
    assert (passed.status, passed.reason, passed.body) == (
        direct.status,
        direct.reason,
        direct.body,
    )
    assert fields(passed, SERVERS_OWN) == fields(direct, SERVERS_OWN)
    in_order = [value for key, value in passed.fields if key == "Set-Cookie"]
    assert in_order == direct.all("Set-Cookie")


def test_old_visitors_are_not_sent_chunks(origin: Origin, server: Served) -> None:
    origin.default = ANSWERS["chunked"]
    answer = ask(server.port, get("/a", version="1.0"))
    assert answer.all("Transfer-Encoding") == []
    assert answer.body == b"abc0123456789"


def test_early_hints_come_through_and_other_interim_answers_do_not(
    origin: Origin, server: Served
) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    origin.default = b"HTTP/1.1 102 Processing\r\n\r\n" + hints + reply(body=b"final")
    answer = ask(server.port, get("/a"))
    assert (answer.status, answer.body) == (200, b"final")
    assert len(answer.interim) == 1
    assert b"Link: </a.css>; rel=preload" in answer.interim[0]


def test_base_path_goes_in_front(origin: Origin) -> None:
    app = Upstream(origin.url + "/base%2F/")
    for target, asked in [("/a%2Fb?", "/base%2F/a%2Fb?"), ("//", "/base%2F//"), ("*", "/base%2F")]:
        call(app, RAW_URI=target, PATH_INFO=target.strip("?*").replace("%2F", "/"))
        assert origin.requests[-1].target == asked
    app.close()
