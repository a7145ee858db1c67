"""raw_target: what servers put into an environ, and what the visitor had sent."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iiif_proxy.errors import InvalidRequest
from iiif_proxy.upstream import raw_target

GUNICORN = "RAW_URI"
WAITRESS = "REQUEST_URI"


@pytest.mark.parametrize(
    "name, raw, script, info, expected",
    [
        (GUNICORN, "/a%2Fb?c=%2F", "", "/a/b", "/a%2Fb?c=%2F"),
        (GUNICORN, "/a?", "", "/a", "/a?"),
        (GUNICORN, "http://h/a%2Fb", "", "/a/b", "/a%2Fb"),
        (GUNICORN, "http://h", "", "", "/"),
        (GUNICORN, "*", "", "*", "*"),
        # Mounted: only what is below counts.
        (GUNICORN, "/m/a%2Fb", "/m", "/a/b", "/a%2Fb"),
        (GUNICORN, "/m", "/m", "", "/"),
        (GUNICORN, "/m?a", "/m", "", "/?a"),
        (GUNICORN, "/%6d/a", "/m", "/a", "/a"),
        (GUNICORN, "/m%2Fn/a%2fb", "/m/n", "/a/b", "/a%2fb"),
        (GUNICORN, "/%C3%A9/a", "/\xc3\xa9", "/a", "/a"),
        (GUNICORN, "/mm/a", "/m", "/a", "/a"),
        # Servers that tidy PATH_INFO up.
        (WAITRESS, "//a%2Fb", "", "/a/b", "//a%2Fb"),
        ("REQUEST_URI", "/a%2Fb", "", "/a%2Fb", "/a%2Fb"),
        # Rewritten on the way: PATH_INFO is what is meant.
        (GUNICORN, "/old%2F", "", "/new b", "/new%20b"),
        # No raw target.
        ("", "", "", "/a b/\xc3\xa9;%", "/a%20b/%C3%A9;%25"),
        ("", "", "/m", "", "/"),
    ],
)
def test_table(name: str, raw: str, script: str, info: str, expected: str) -> None:
    environ = {"SCRIPT_NAME": script, "PATH_INFO": info, "QUERY_STRING": ""}
    if name:
        environ[name] = raw
    assert raw_target(environ) == expected


def test_query_of_the_fallback() -> None:
    environ = {"PATH_INFO": "/a", "QUERY_STRING": "b=%2F&c=\xe9 |\r\n"}
    assert raw_target(environ) == "/a?b=%2F&c=%E9%20|%0D%0A"


def test_no_latin_1_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        raw_target({"PATH_INFO": "/\u20ac"})


PATH = st.text(st.sampled_from("/ab.%2Ff5c~"), max_size=12).map("/".__add__)


@given(PATH, st.sampled_from(["", "?", "?a=%2F", "??"]))
def test_gunicorns_raw_target_is_never_changed(path: str, query: str) -> None:
    info = unquote_to_bytes(path).decode("latin-1")
    assert raw_target({"RAW_URI": path + query, "PATH_INFO": info}) == path + query
