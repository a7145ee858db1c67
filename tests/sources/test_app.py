"""The wrapped application as a source: of any age, in the visitor's thread, as a stranger."""

import gzip
import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from iiif_proxy.errors import NotAuthenticated, NotFound, OriginFailed, OriginTimeout, ProxyError
from iiif_proxy.sources import app as app_room
from iiif_proxy.sources.app import AppSource
from iiif_proxy.sources.base import Conditions
from tests.sources.conftest import BLUE, LARGE, RED, Make, content, left

Environ = dict[str, Any]
Start = Callable[..., Any]
OK = "200 OK"


def environ_of(**more: Any) -> Environ:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/iiif/3/x/full/max/0/default.jpg",
        "QUERY_STRING": "",
        "SERVER_NAME": "inside",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "visited.example",
        "REMOTE_ADDR": "203.0.113.9",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(b"the visitor's"),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    } | more


class Closing:
    """An answer that says when and where it was closed."""

    def __init__(self, chunks: Iterable[bytes], fails: bool = False) -> None:
        self.chunks = iter(chunks)
        self.closed: list[threading.Thread] = []
        self.fails = fails

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed.append(threading.current_thread())
        if self.fails:
            raise RuntimeError("at close")


def body(app: Any, **options: Any) -> bytes:
    found = AppSource("app:/media/{id}", app, **options).ask("x", None, environ_of())
    assert found is not None
    try:
        return b"".join(found.chunks)
    finally:
        found.close()


# Applications of all ages


def lists(environ: Environ, start: Start) -> Iterable[bytes]:
    start(OK, [("Content-Length", str(len(RED)))])
    return [RED]


def generates(environ: Environ, start: Start) -> Iterable[bytes]:
    start(OK, [])
    yield RED[:100]
    yield RED[100:]


def begins_empty(environ: Environ, start: Start) -> Iterable[bytes]:
    start(OK, [])
    yield b""
    yield RED


def writes(environ: Environ, start: Start) -> Iterable[bytes]:
    write = start(OK, [])
    write(RED[:100])
    write(RED[100:])
    return []


def writes_and_returns(environ: Environ, start: Start) -> Iterable[bytes]:
    start(OK, [])(RED[:100])
    return [RED[100:]]


def writes_while_it_generates(environ: Environ, start: Start) -> Iterable[bytes]:
    write = start(OK, [])
    yield RED[:100]
    write(RED[100:200])
    yield RED[200:]
    write(b"")


def thinks_better_of_it(environ: Environ, start: Start) -> Iterable[bytes]:
    start("500 Oops", [])
    try:
        raise ValueError
    except ValueError as error:
        start(OK, [("Content-Length", str(len(RED)))], (ValueError, error, error.__traceback__))
    return [RED]


def compresses(environ: Environ, start: Start) -> Iterable[bytes]:
    start(OK, [("Content-Encoding", "gzip")])
    return [gzip.compress(RED)]


APPS = [
    lists, generates, begins_empty, writes, writes_and_returns, writes_while_it_generates,
    thinks_better_of_it, compresses,
]  # fmt: skip


@pytest.mark.parametrize("app", APPS)
def test_applications_of_all_ages(app: Any) -> None:
    assert body(app) == RED


def test_by_the_letter_of_the_specification() -> None:
    """wsgiref's validator looks at our side too: the environ, one close, no call after it."""

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        start(OK, [("Content-Type", "image/jpeg"), ("Content-Length", str(len(RED)))])
        return [RED]

    assert body(validator(app)) == RED


# Faults


def raises(environ: Environ, start: Start) -> Iterable[bytes]:
    raise KeyError("inside")


def raises_first(environ: Environ, start: Start) -> Iterable[bytes]:
    start(OK, [])
    raise KeyError("inside")
    yield b""


def raises_later(environ: Environ, start: Start) -> Iterable[bytes]:
    start(OK, [("ETag", '"1"')])
    yield LARGE[:50_000]
    raise KeyError("inside")


def does_not_start(environ: Environ, start: Start) -> Iterable[bytes]:
    return [RED]


def no_status(environ: Environ, start: Start) -> Iterable[bytes]:
    start("fine", [])
    return [RED]


def returns_none(environ: Environ, start: Start) -> Any:
    start(OK, [])


def text(environ: Environ, start: Start) -> Any:
    start(OK, [])
    return ["text"]


def too_short(environ: Environ, start: Start) -> Iterable[bytes]:
    start(OK, [("Content-Length", "99999")])
    return [RED]


def too_long(environ: Environ, start: Start) -> Iterable[bytes]:
    start(OK, [("Content-Length", "9"), ("ETag", '"1"')])
    while True:
        yield RED


def redirects(environ: Environ, start: Start) -> Iterable[bytes]:
    start("302 Found", [("Location", "/elsewhere")])
    return []


def fails(environ: Environ, start: Start) -> Iterable[bytes]:
    start("500 Oops", [])
    return [b"<h1>Oops</h1>"]


FAULTS = [
    raises, raises_first, raises_later, does_not_start, no_status, returns_none, text, too_short,
    too_long, redirects, fails,
]  # fmt: skip


@pytest.mark.parametrize("app", FAULTS)
def test_faults_of_an_application(app: Any, make: Make, tmp_path: Any) -> None:
    """They are the origin's, of this one image; nothing of it is kept, and then it is well."""
    source = AppSource("app:/{id}", app)
    cache = make(source)
    with pytest.raises(OriginFailed) as caught:
        cache.open("x", environ_of())
    assert "inside" not in caught.value.public
    assert left(tmp_path) == []
    assert not list((tmp_path / "records").rglob("*.json"))
    source.app = lists
    image = cache.open("x", environ_of())
    assert cache.content(image, environ_of()).read(0, 9) == RED[:9]


def test_an_application_that_never_ends() -> None:
    def endless(environ: Environ, start: Start) -> Iterable[bytes]:
        start(OK, [])
        while True:
            time.sleep(0.01)
            yield b"x"

    with pytest.raises(OriginTimeout):
        body(endless, total_timeout=0.1)


def test_an_application_that_writes_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_room, "WRITTEN", 1000)

    def endless(environ: Environ, start: Start) -> Iterable[bytes]:
        write = start(OK, [])
        while True:
            write(bytes(100))

    with pytest.raises(OriginFailed):
        body(endless)


def test_an_endless_image_is_cut(make: Make, tmp_path: Any) -> None:
    """A generator function calls start_response at its first chunk; that reads no further."""

    def endless(environ: Environ, start: Start) -> Iterable[bytes]:
        start(OK, [])
        yield LARGE[:1000]
        while True:
            yield bytes(100_000)

    with pytest.raises(OriginFailed, match="larger"):
        make(AppSource("app:/{id}", endless), max_bytes=10**6).open("x", environ_of())
    assert left(tmp_path) == []


def test_the_end_of_the_process_in_the_middle_leaves_nobody_waiting(make: Make) -> None:
    def ends(environ: Environ, start: Start) -> Iterable[bytes]:
        raise SystemExit(1)

    source = AppSource("app:/{id}", ends)
    cache = make(source)
    with pytest.raises(SystemExit):
        cache.open("x", environ_of())
    source.app = lists
    assert cache.open("x", environ_of()).record.info is not None


def test_status_as_the_contract_has_it() -> None:
    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        start(environ["PATH_INFO"][1:] + " Status", [("WWW-Authenticate", "Basic")])
        return [b"..."]

    source = AppSource("app:/{id}", app)
    assert source.ask("404", None, environ_of()) is None
    assert source.ask("410", None, environ_of()) is None
    with pytest.raises(NotAuthenticated) as caught:
        source.ask("401", None, environ_of())
    assert caught.value.headers == {"WWW-Authenticate": "Basic"}
    for status, expected in ((403, 403), (429, 429), (500, 502), (204, 502)):
        with pytest.raises(ProxyError) as error:
            source.ask(str(status), None, environ_of())
        assert error.value.status == expected


# Closing


@pytest.mark.parametrize(
    "status, chunks",
    [
        (OK, [RED]), (OK, [LARGE[:3000]]), (OK, []), ("404 No", [b"no"]), ("500 Oops", [b"oops"]),
        ("401 Who", []), ("304 Not Modified", []), ("nonsense", [RED]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("fails", [False, True])
def test_closed_once_in_the_visitors_thread(
    make: Make, status: str, chunks: list[bytes], fails: bool
) -> None:
    answer = Closing(chunks, fails)

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        start(status, [("ETag", '"1"')])
        return answer

    cache = make(AppSource("app:/{id}", app))
    try:
        cache.open("x", environ_of())
    except ProxyError:
        assert (status, chunks) != (OK, [RED])
    assert answer.closed == [threading.current_thread()]


def test_called_in_the_visitors_thread(make: Make) -> None:
    threads = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        threads.append(threading.current_thread())
        start(OK, [])
        yield RED
        threads.append(threading.current_thread())

    make(AppSource("app:/{id}", app)).open("x", environ_of())
    assert threads == [threading.current_thread()] * 2


# What it is told


def told(
    conditions: Conditions | None = None, template: str = "app:/m/{id}?size=full", **more: Any
) -> Environ:
    seen: list[Environ] = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        seen.append(environ)
        start(OK, [])
        return [RED]

    found = AppSource(template, app).ask("a/b c%é", conditions, environ_of(**more))
    assert found is not None
    found.close()
    return seen[0]


def test_where_it_is_asked() -> None:
    environ = told(SCRIPT_NAME="/mount", RAW_URI="/mount/iiif/3/…", REQUEST_METHOD="HEAD")
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["SCRIPT_NAME"] == "/mount"
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/m/a/b c%é"
    assert environ["QUERY_STRING"] == "size=full"
    assert environ["RAW_URI"] == "/mount/m/a/b%20c%25%C3%A9?size=full"
    assert "REQUEST_URI" not in environ
    assert environ["wsgi.input"].read() == b""
    assert "CONTENT_LENGTH" not in environ
    assert told(template="app:/get?file={id}")["QUERY_STRING"] == "file=a/b%20c%25%C3%A9"


def test_nothing_of_the_visitor_is_handed_on() -> None:
    """What is kept for everybody must not be coloured by what is in no key."""
    personal = {
        "HTTP_COOKIE": "a=b", "HTTP_AUTHORIZATION": "Basic x", "HTTP_RANGE": "bytes=0-1",
        "HTTP_IF_NONE_MATCH": '"x"', "HTTP_ACCEPT": "text/html", "HTTP_ACCEPT_LANGUAGE": "de",
        "HTTP_USER_AGENT": "x", "HTTP_X_FORWARDED_FOR": "10.0.0.1", "HTTP_X_ANYTHING": "x",
        "REMOTE_USER": "me", "AUTH_TYPE": "Basic", "CONTENT_LENGTH": "5", "CONTENT_TYPE": "x/y",
        "HTTP_TRANSFER_ENCODING": "chunked", "HTTP_EXPECT": "100-continue",
        "wsgi.file_wrapper": object(), "webob.adhoc_attrs": {"user": "me"},
        "werkzeug.request": object(), "bottle.request.cookies": object(),
    }  # fmt: skip
    environ = told(**personal)
    assert not personal.keys() & environ.keys()
    assert environ["REMOTE_ADDR"] == app_room.NOBODY


def test_what_other_middleware_provides_stays() -> None:
    thing = object()
    assert told(**{"my.database": thing})["my.database"] is thing


def test_conditions() -> None:
    environ = told(Conditions('"1"', "Tue, 14 Nov 2023 22:13:20 GMT"))
    assert environ["HTTP_IF_NONE_MATCH"] == '"1"'
    assert environ["HTTP_IF_MODIFIED_SINCE"] == "Tue, 14 Nov 2023 22:13:20 GMT"


def test_what_is_told_is_in_the_name() -> None:
    source = AppSource("app:/{id}", lists)
    said = [
        {}, {"HTTP_HOST": "other.example"}, {"HTTP_X_FORWARDED_HOST": "other.example"},
        {"HTTP_X_FORWARDED_PROTO": "https"}, {"HTTP_X_FORWARDED_PREFIX": "https"},
        {"HTTP_X_FORWARDED_PORT": "8443"}, {"HTTP_HOST": ""},
    ]  # fmt: skip
    names = {source.url("x", environ_of(**one)) for one in said}
    assert len(names) == len(said)
    assert source.url("x", environ_of(HTTP_COOKIE="a")) == source.url("x", environ_of())


def test_one_image_a_host(make: Make) -> None:
    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        start(OK, [("ETag", '"same"')])
        return [RED if environ["HTTP_HOST"] == "red.example" else BLUE]

    cache = make(AppSource("app:/{id}", app))
    for host, expected in (("red.example", RED), ("blue.example", BLUE)) * 2:
        environ = environ_of(HTTP_HOST=host)
        image = cache.open("x", environ)
        assert cache.content(image, environ).read(0, 1 << 20) == expected


def test_a_missing_one_is_asked_for_once(make: Make) -> None:
    asked: list[str] = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        asked.append(environ["PATH_INFO"])
        start("404 No", [])
        return [b"no"]

    cache = make(AppSource("app:/{id}", app))
    for _ in range(5):
        with pytest.raises(NotFound):
            cache.open("x", environ_of())
    assert asked == ["/x"]


def test_lost_bytes_and_waiters(make: Make, tmp_path: Any) -> None:
    cache = make(AppSource("app:/{id}", generates))
    image = cache.open("x", environ_of())
    for path in (tmp_path / "sources").rglob("source"):
        path.unlink()
    known = cache.open("x", environ_of())
    assert known.record == image.record
    assert cache.content(known, environ_of(), whole=False).read(0, 99) == RED[:99]
    assert content(make(AppSource("app:/{id}", lists)), "x") == RED
