"""X-Accel-Redirect without nginx: who gets it, and what for. With it: published/test_accel.py."""

from collections.abc import Callable

import pytest

from tests.http.conftest import Proxy

Serving = Callable[..., Proxy]
TARGET = "/3/quarters.png/full/30,/0/default.png"
ASKED = "X-Iiif-Accel: /-derivatives/"


@pytest.mark.parametrize(
    "settings, handed",
    [
        ({"accel": "/-derivatives"}, True),
        ({}, False),
        ({"accel": "/-other/"}, False),
        ({"accel": "/-derivatives/", "trusted_proxies": "192.0.2.0/24"}, False),
    ],
)
def test_who_gets_an_empty_body(serving: Serving, settings: dict[str, str], handed: bool) -> None:
    proxy = serving(**settings)
    made = proxy.ask(TARGET, ASKED)
    assert made.body.startswith(b"\x89PNG"), "what is made anew are bytes"
    for line in ('If-None-Match: "other"', "X-Other: 1"):  # The whole way, and what is remembered.
        answer = proxy.ask(TARGET, ASKED, line)
        assert answer.get("Cache-Status") == "iiif-proxy; hit"
        assert answer.body == (b"" if handed else made.body)
        location = answer.get("X-Accel-Redirect")
        assert (location or "").startswith("/-derivatives/") is handed
        assert (answer.get("Cache-Control") is None) is handed
        assert proxy.ask(TARGET, line).body == made.body


def test_what_is_never_handed_over(serving: Serving) -> None:
    proxy = serving(accel="/-derivatives/")
    made = proxy.ask(TARGET)
    for lines in (["If-Match: *"], ["If-Unmodified-Since: Thu, 01 Jan 2026 00:00:00 GMT"]):
        assert proxy.ask(TARGET, ASKED, *lines).body == made.body
    head = proxy.ask(TARGET, ASKED, method="HEAD")
    assert head.get("Content-Length") == str(len(made.body))
    unchanged = proxy.ask(TARGET, ASKED, f"If-None-Match: {made.get('ETag')}")
    assert (unchanged.status, unchanged.get("X-Accel-Redirect")) == (304, None)
    for target in ("/3/quarters.png/info.json", "/3/unknown.png/full/30,/0/default.png"):
        assert proxy.ask(target, ASKED).get("X-Accel-Redirect") is None
