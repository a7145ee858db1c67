"""Any address at all, in this process: an answer of the contract, and nothing raised."""

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iiif_proxy.proxy import IIIFProxy
from tests.hostile.conftest import CONTRACT

NUMBERS = st.one_of(
    st.sampled_from(
        ["0", "1", "10", "59", "60", "61", "-1", "-0", "1e9", "inf", "nan", "0x1", "1_0", "+1",
         "01", "1.", ".5", "0.0", "90", "360", "22.5", "١", "１", "²"]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.integers(1, 400).map(lambda n: "9" * n),
)  # fmt: skip
ODD = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["%00", "%0d%0a", "%2e%2e", "%2F", "%ff", "%", "..", ".", "", "%25", "\\", "^"]
    ),
)


def joined(*parts: "st.SearchStrategy[str]") -> "st.SearchStrategy[str]":
    return st.tuples(*parts).map("".join)


COMMA = st.sampled_from([",", ",", ",", "", ",,", ";", "%2C"])
PAIR = joined(NUMBERS, COMMA, NUMBERS)
REGION = st.one_of(
    st.sampled_from(["full", "square", "pct:", "FULL"]),
    joined(st.sampled_from(["", "", "pct:", "px:"]), PAIR, COMMA, PAIR),
    ODD,
)
SIZES = st.one_of(
    st.sampled_from(["max", "full", "^max", "^", "!", "^!"]),
    joined(st.sampled_from(["", "", "!", "^", "^!", "pct:", "^pct:", "!^"]), PAIR),
    joined(st.sampled_from(["pct:", "^pct:", ",", "^,"]), NUMBERS),
    joined(NUMBERS, st.just(",")),
    ODD,
)
ROTATION = joined(st.sampled_from(["", "", "!", "!!", "-"]), st.one_of(NUMBERS, ODD))
LAST = joined(
    st.one_of(st.sampled_from(["default", "color", "gray", "bitonal", "native", ""]), ODD),
    st.sampled_from([".", ".", ".", "", ".."]),
    st.one_of(st.sampled_from(["jpg", "png", "webp", "gif", "tif", "jp2", "pdf", "JPG", ""]), ODD),
)
NAME = st.one_of(st.just("one.png"), st.just("one.png"), ODD, joined(ODD, st.just("/"), ODD))
ADDRESS = st.one_of(
    st.tuples(st.sampled_from(["3", "2"]), NAME, REGION, SIZES, ROTATION, LAST).map("/".join),
    st.tuples(st.sampled_from(["3", "2"]), NAME, st.just("info.json")).map("/".join),
    st.tuples(st.sampled_from(["3", "2"]), NAME).map("/".join),
    st.lists(ODD, max_size=8).map("/".join),
    joined(st.sampled_from(["-/view/", "-/explain/", "-/static/", "-/preset/", "-/"]), ODD),
)


def nothing_else(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("404 Not Found", [])
    return []


@pytest.fixture(scope="module")
def proxy(pictures: Path) -> IIIFProxy:
    source = f"file:{pictures}/{{id}}"
    return IIIFProxy(nothing_else, environ={}, source=source, cache_dir="", max_pixels=1_000_000)


def environ_of(target: str) -> dict[str, Any]:
    """The target goes as it is, in UTF-8 where it is no ASCII."""
    raw = target.encode("utf-8", "surrogatepass").decode("latin-1")
    path, _, query = raw.partition("?")
    return {
        "REQUEST_METHOD": "GET",
        "RAW_URI": raw,
        "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
        "SCRIPT_NAME": "",
        "QUERY_STRING": query,
        "HTTP_HOST": "here.example",
        "SERVER_NAME": "here",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.9",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }


def asked(proxy: IIIFProxy, target: str) -> tuple[int, bytes]:
    seen: list[int] = []

    def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        seen.append(int(status[:3]))
        for name, value in headers:
            assert re.fullmatch(r"[A-Za-z-]+", name)
            assert not re.search(r"[\x00-\x1f\x7f]", value)
            value.encode("latin-1")

    body = proxy(environ_of(target), start)
    try:
        data = b"".join(body)
    finally:
        getattr(body, "close", lambda: None)()
    return seen[-1], data


@settings(max_examples=150)
@given(address=ADDRESS)
@example("3/one.png/pct:0,0,1e9,1e9/max/0/default.jpg")
@example("3/one.png/full/pct:" + "9" * 400 + "/0/default.jpg")
@example("3/one.png/full/max/" + "0." + "3" * 400 + "/default.jpg")
@example("2/" + "%2e%2e%2f" * 500 + "info.json")
def test_any_address_has_an_answer_of_the_contract(
    proxy: IIIFProxy, pictures: Path, address: str
) -> None:
    status, body = asked(proxy, "/iiif/" + address)
    assert status in CONTRACT
    assert b"Traceback" not in body
    assert bytes(pictures) not in body
