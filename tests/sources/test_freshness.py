"""RFC 9111 as a shared cache reads it."""

import pytest

from iiif_proxy.sources.freshness import LONGEST, Freshness, freshness, http_date

NOW = 1_700_000_000.0
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
LATER = "Tue, 14 Nov 2023 22:23:20 GMT"
DEFAULT = 3600.0


@pytest.mark.parametrize(
    "headers, expected",
    [
        ({}, Freshness(True, DEFAULT, False)),
        ({"cache-control": "max-age=60"}, Freshness(True, 60, False)),
        ({"cache-control": "MAX-AGE=60, public"}, Freshness(True, 60, False)),
        ({"cache-control": 'max-age="60"'}, Freshness(True, 60, False)),
        ({"cache-control": "max-age=60, s-maxage=600"}, Freshness(True, 600, True)),
        ({"cache-control": "max-age=60", "age": "50"}, Freshness(True, 10, False)),
        ({"cache-control": "max-age=60", "age": "70"}, Freshness(True, 0, False)),
        ({"cache-control": "max-age=60, must-revalidate"}, Freshness(True, 60, True)),
        ({"cache-control": "max-age=nonsense"}, Freshness(True, 0, False)),
        ({"cache-control": "no-cache"}, Freshness(True, 0, True)),
        ({"cache-control": "no-cache, max-age=60"}, Freshness(True, 0, True)),
        ({"cache-control": "no-store"}, Freshness(False, DEFAULT, False)),
        ({"cache-control": "private, max-age=60"}, Freshness(False, 60, False)),
        ({"cache-control": "max-age=99999999999"}, Freshness(True, LONGEST, False)),
        ({"expires": LATER, "date": DATE}, Freshness(True, 600, False)),
        ({"expires": LATER}, Freshness(True, 600, False)),
        ({"expires": "0", "date": DATE}, Freshness(True, 0, False)),
        ({"expires": DATE, "date": LATER}, Freshness(True, 0, False)),
        ({"expires": LATER, "cache-control": "max-age=5"}, Freshness(True, 5, False)),
        ({"pragma": "no-cache"}, Freshness(True, 0, True)),
        ({"pragma": "no-cache", "cache-control": "max-age=5"}, Freshness(True, 5, False)),
    ],
)
def test_freshness(headers: dict[str, str], expected: Freshness) -> None:
    assert freshness(headers, NOW, DEFAULT) == expected


@pytest.mark.parametrize("text", [None, "", "yesterday", "Tue, 99 Nov 2023 22:13:20 GMT"])
def test_no_date(text: str | None) -> None:
    assert http_date(text) is None


def test_date() -> None:
    assert http_date(DATE) == NOW
