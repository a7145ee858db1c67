"""How a caller's class is found, and what nobody can make it believe."""

from pathlib import Path
from typing import Any

import pytest

from iiif_proxy.access import keys
from iiif_proxy.access.callers import network_of
from iiif_proxy.settings import SettingsError
from tests.access.conftest import Housing

CLOSED = '[classes.public]\nread = "nothing"\n'
INFO = "/iiif/3/a.png/info.json"
KEY = "k-5d0f2a7a1f6e4c20a9a1"


def classify(environ: dict[str, Any]) -> str | None:
    """What IIIF_PROXY_CLASSIFY names in these tests."""
    if environ.get("HTTP_COOKIE") == "broken":
        raise OSError("/var/db/secret is not there")
    return "member" if environ.get("HTTP_COOKIE") == "session=1" else None


def test_a_header_counts_only_from_trusted_peers(house: Housing) -> None:
    here = house(CLOSED)
    assert here.ask(INFO, "member").status == 200
    assert here.ask(INFO, "member", REMOTE_ADDR="203.0.113.9").status == 403
    assert here.ask(INFO, "unheard-of").status == 403
    assert here.ask(INFO).status == 403


def test_remote_user(house: Housing) -> None:
    here = house(f'{CLOSED}[who]\nremote_user = "member"\nusers = {{ eve = "public" }}')
    assert here.ask(INFO, REMOTE_USER="alice").status == 200
    assert here.ask(INFO, REMOTE_USER="eve").status == 403
    assert here.ask(INFO, REMOTE_USER="").status == 403
    assert here.ask(INFO, HTTP_REMOTE_USER="alice").status == 403


def test_a_key_of_the_environ(house: Housing) -> None:
    here = house(f'{CLOSED}[who]\nenviron = "app.class"')
    assert here.ask(INFO, **{"app.class": "member"}).status == 200
    assert here.ask(INFO, **{"app.class": ""}).status == 403
    assert here.ask(INFO, HTTP_APP_CLASS="member").status == 403


def test_a_callable(house: Housing) -> None:
    here = house(CLOSED, classify="tests.access.test_callers:classify")
    assert here.ask(INFO, HTTP_COOKIE="session=1").status == 200
    assert here.ask(INFO).status == 403
    heard = here.ask(INFO, HTTP_COOKIE="broken")
    assert heard.status == 503
    assert b"secret" not in heard.body


def test_api_keys(house: Housing, tmp_path: Path) -> None:
    line = f"# people\nreading-room  member  sha256:{keys.digest_of(KEY)}  # 2026\n"
    (tmp_path / "keys").write_text(line)
    here = house(f'{CLOSED}[keys]\nfile = "keys"\nquery = "key"')
    for fields in ({"HTTP_X_API_KEY": KEY}, {}):
        target = INFO if fields else f"{INFO}?x=1&key={KEY}"
        heard = here.ask(target, **fields)
        assert heard.status == 200
        assert heard.get("Cache-Control").startswith("private")
        assert "X-Api-Key" in heard.get("Vary")
    for fields in ({"HTTP_X_API_KEY": KEY + "x"}, {"HTTP_X_API_KEY": "x" * 10_000}, {}):
        heard = here.ask(INFO, **fields)
        assert heard.status == 401
        assert 'ApiKey realm="iiif", header="X-Api-Key"' in heard.get("WWW-Authenticate")
        assert KEY not in heard.body.decode()
    # The key's value is nowhere: not in what it leads to, nor where it is kept.
    assert KEY not in repr(here.ask(f"/iiif/3/a.png?key={KEY}").fields)


def test_a_key_in_the_query_only_where_the_policy_says_so(house: Housing, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"one member sha256:{keys.digest_of(KEY)}")
    here = house(f'{CLOSED}[keys]\nfile = "keys"\nheader = "X-Other"')
    assert here.ask(f"{INFO}?key={KEY}").status == 401
    assert here.ask(INFO, HTTP_X_API_KEY=KEY).status == 401
    assert here.ask(INFO, HTTP_X_OTHER=KEY).status == 200


@pytest.mark.parametrize(
    "line",
    ["one member", "one guest sha256:" + "0" * 64, "one member sha256:00", "one member md5:00"],
)
def test_a_broken_file_of_keys_stops_the_start(house: Housing, tmp_path: Path, line: str) -> None:
    (tmp_path / "keys").write_text(f"\n{line}\n")
    with pytest.raises(SettingsError, match=r"keys: line 2: "):
        house(f'{CLOSED}[keys]\nfile = "keys"')
    with pytest.raises(SettingsError, match=r"cannot be read"):
        house(f'{CLOSED}[keys]\nfile = "none"')


def test_addresses_as_rates_count_them() -> None:
    for address, network in {
        "203.0.113.9": "203.0.113.9",
        "::ffff:203.0.113.9": "203.0.113.9",
        "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
        "fe80::1%eth0": "fe80::/64",
        "nonsense": "unknown",
        "": "unknown",
    }.items():
        assert network_of(address) == network
