"""Settings: what parses, what does not, what is said about it, and the README's table of them."""

import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest

from iiif_proxy.settings import FIELDS, SettingsError, load, table, variable

GOOD: list[tuple[str, str, Any]] = [
    ("origin", "http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
    ("origin", "https://example.org/a/b/", "https://example.org/a/b"),
    ("origin", "http://[::1]:80", "http://[::1]:80"),
    ("origin", "", None),
    ("source", "app:/{id}", ("app:/{id}",)),
    (
        "source",
        "http://a.example:81/m/{id}.tif  file:/srv/{id} \n https://b.example/?f={id}",
        ("http://a.example:81/m/{id}.tif", "file:/srv/{id}", "https://b.example/?f={id}"),
    ),
    ("prefix", "/iiif", "/iiif"),
    ("prefix", "iiif/", "/iiif"),
    ("prefix", "/a/b-c_d.e~f", "/a/b-c_d.e~f"),
    ("prefix", "/", ""),
    ("prefix", "", ""),
    ("cache_dir", "", None),
    ("cache_dir", "/var/cache/x", Path("/var/cache/x")),
    ("cache_size", "10GiB", 10 << 30),
    ("cache_size", "500MB", 500_000_000),
    ("cache_size", "1.5 kib", 1536),
    ("cache_size", "1048576", 1 << 20),
    ("cache_size", "7b", 7),
    ("fsync", "on", True),
    ("fsync", "True", True),
    ("fsync", "0", False),
    ("fsync", "no", False),
    ("source_ttl", "90", 90.0),
    ("source_ttl", "1.5h", 5400.0),
    ("source_ttl", "7d", 604800.0),
    ("unknown_ttl", "0", 0.0),
    ("connect_timeout", "250ms", 0.25),
    ("frame_ancestors", "", ()),
    ("frame_ancestors", "'self', https://*.example.org", ("'self'", "https://*.example.org")),
    ("source_max_pixels", "1", 1),
    ("default_version", "2", 2),
    ("max_width", "", None),
    ("max_width", "3000", 3000),
    ("tile_size", "256", 256),
    ("formats", "png jpg", ("png", "jpg")),
    ("formats", "webp, jpg,png jpg", ("webp", "jpg", "png")),
    ("preferred_formats", "webp, jpg", ("webp", "jpg")),
    ("rights", " http://x.example/ ", "http://x.example/"),
    ("rights", "", None),
    ("service", '{"id": "x"}', {"id": "x"}),
    (
        "viewers",
        "Mirador=https://m.example/?c={manifest} Universal_Viewer=https://u.example/#{manifest}",
        (
            ("Mirador", "https://m.example/?c={manifest}"),
            ("Universal Viewer", "https://u.example/#{manifest}"),
        ),
    ),
    ("annotations", "https://x.example/{id}.json", "https://x.example/{id}.json"),
    ("part_of", '[{"id": "x"}, {"id": "y"}]', [{"id": "x"}, {"id": "y"}]),
    ("see_also", "", None),
    ("background", "white", (255, 255, 255)),
    ("background", "#0a0B0c", (10, 11, 12)),
    ("background", "Black", (0, 0, 0)),
    ("jpeg_subsampling", "4:4:4", "4:4:4"),
    ("png_compression", "0", 0),
    ("base_url", "https://img.example.org/x/", "https://img.example.org/x"),
    (
        "trusted_proxies",
        "10.0.0.1/8, ::1",
        (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1")),
    ),
    ("trusted_proxies", "", ()),
    ("redirect_hosts", "*.example.org cdn.example", ("*.example.org", "cdn.example")),
    ("log_level", "debug", "debug"),
]
BAD = [
    ("origin", "127.0.0.1:9000"),
    ("origin", "ftp://example.org"),
    ("origin", "http://"),
    ("origin", "http://host:99999"),
    ("origin", "http://host:0"),
    ("origin", "http://user:secret@host"),
    ("origin", "http://host/?a=b"),
    ("origin", "http://host/?"),
    ("origin", "http://host/#a"),
    ("origin", "http://ho st/"),
    ("origin", 'http://host/"'),
    ("origin", "http://hé.example"),
    ("origin", "http://[::1"),
    ("source", ""),
    ("source", "app:/images"),
    ("source", "ftp://host/{id}"),
    ("source", "/srv/{id}"),
    ("source", "http://{id}/x"),
    ("source", "http://host{id}"),
    ("source", "http://host:{id}/"),
    ("source", "http://host:99999/{id}"),
    ("source", "http:///{id}"),
    ("source", "http://u:p@host/{id}"),
    ("source", "http://host/#{id}"),
    ("source", "file:images/{id}"),
    ("source", "app:{id}"),
    ("source", "app:/{id} nonsense"),
    ("prefix", "/a b"),
    ("prefix", "/a%20b"),
    ("prefix", "/a//b"),
    ("prefix", "/é"),
    ("cache_size", ""),
    ("cache_size", "-1"),
    ("cache_size", "10 elephants"),
    ("cache_size", "1e9"),
    ("cache_size", "١"),
    ("fsync", "maybe"),
    ("source_ttl", "1 year"),
    ("frame_ancestors", "https://a.example;script-src *"),
    ("frame_ancestors", "self"),
    ("source_ttl", "-5"),
    ("source_ttl", "inf"),
    ("connect_timeout", "0"),
    ("read_timeout", "0s"),
    ("source_timeout", "0"),
    ("source_max_pixels", "0"),
    ("default_version", "1"),
    ("default_version", "3.0"),
    ("max_width", "0"),
    ("max_width", "-1"),
    ("max_width", "1000.0"),
    ("max_width", "１００"),
    ("tile_size", "63"),
    ("tile_size", "8193"),
    ("formats", ""),
    ("formats", "webp"),
    ("formats", "jpg gif"),
    ("formats", "JPG PNG"),
    ("viewers", "Mirador"),
    ("viewers", "Mirador=https://x.example/"),
    ("viewers", "Mirador=javascript:alert({manifest})"),
    ("annotations", "https://x.example/notes"),
    ("annotations", "ftp://x.example/{id}"),
    ("part_of", "nonsense"),
    ("part_of", '"text"'),
    ("part_of", "[1]"),
    ("part_of", "null"),
    ("part_of", "[" * 100_000),
    ("background", "#fff"),
    ("background", "beige"),
    ("jpeg_quality", "0"),
    ("jpeg_quality", "101"),
    ("jpeg_subsampling", "4:1:1"),
    ("png_compression", "10"),
    ("base_url", "img.example.org"),
    ("base_url", "https://img.example.org/>x"),
    ("trusted_proxies", "localhost"),
    ("trusted_proxies", "10.0.0.0/33"),
    ("trusted_hops", "0"),
    ("threads", "0"),
    ("workers", "-1"),
    ("log_level", "loud"),
]


@pytest.mark.parametrize("name, text, value", GOOD)
def test_good(name: str, text: str, value: Any) -> None:
    assert getattr(load({variable(name): text}), name) == value
    assert getattr(load({}, {name: text}), name) == value


@pytest.mark.parametrize("name, text", BAD)
def test_bad(name: str, text: str) -> None:
    """One line, which names the variable, shows the value and says what would be right."""
    for environ, keywords in (({variable(name): text}, {}), ({}, {name: text})):
        with pytest.raises(SettingsError) as raised:
            load(environ, keywords)
        (fault,) = raised.value.faults
        assert fault.startswith(f"{variable(name)}: {text!r} is not ")
        assert len(fault) > len(f"{variable(name)}: {text!r} is not ")
        assert "\n" not in fault


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("source", ["app:/a/{id}", "app:/b/{id}"], ("app:/a/{id}", "app:/b/{id}")),
        ("cache_dir", Path("/x"), Path("/x")),
        ("cache_dir", None, None),
        ("upscaling", False, False),
        ("fsync", True, True),
        ("max_width", 1000, 1000),
        ("max_width", None, None),
        ("source_ttl", 60, 60.0),
        ("read_timeout", 2.5, 2.5),
        ("formats", ("jpg", "png"), ("jpg", "png")),
        ("part_of", {"id": "é"}, {"id": "é"}),
        ("see_also", [{"id": "x"}], [{"id": "x"}]),
        ("trusted_proxies", ["10.0.0.0/8"], (ipaddress.ip_network("10.0.0.0/8"),)),
        ("default_version", 2, 2),
    ],
)
def test_keywords_may_be_python_values(name: str, value: Any, expected: Any) -> None:
    assert getattr(load({}, {name: value}), name) == expected


def test_keywords_win_over_the_environment() -> None:
    found = load({"IIIF_PROXY_TILE_SIZE": "256", "IIIF_PROXY_THREADS": "3"}, {"tile_size": 1024})
    assert (found.tile_size, found.threads) == (1024, 3)
    # A value that does not count need not parse.
    assert load({"IIIF_PROXY_TILE_SIZE": "none"}, {"tile_size": 1024}).tile_size == 1024


@pytest.mark.parametrize(
    "name, meant",
    [
        ("IIIF_PROXY_CACHEDIR", "IIIF_PROXY_CACHE_DIR"),
        ("IIIF_PROXY_ORIGN", "IIIF_PROXY_ORIGIN"),
        ("IIIF_PROXY_MAXWIDTH", "IIIF_PROXY_MAX_WIDTH"),
        ("IIIF_PROXY_TRUSTED_PROXY", "IIIF_PROXY_TRUSTED_PROXIES"),
        ("IIIF_PROXY_QXZQXZ", None),
        ("IIIF_PROXY_", None),
        ("IIIF_PROXY_origin", None),
    ],
)
def test_unknown_name(name: str, meant: str | None) -> None:
    with pytest.raises(SettingsError) as raised:
        load({name: "1"})
    (fault,) = raised.value.faults
    assert fault.startswith(f"{name}: no such setting")
    if meant:
        assert fault.endswith(f"; did you mean {meant}?")


def test_unknown_keyword() -> None:
    with pytest.raises(SettingsError) as raised:
        load({}, {"cachedir": "x"})
    assert raised.value.faults == ["cachedir: no such setting; did you mean cache_dir?"]


def test_names_of_others_are_left_alone() -> None:
    load({"IIIF_PROXYORIGIN": "x", "PATH": "x", "iiif_proxy_origin": "x", "XIIIF_PROXY_A": "x"})


def test_one_line_for_every_fault() -> None:
    with pytest.raises(SettingsError) as raised:
        load(
            {"IIIF_PROXY_ORIGN": "x", "IIIF_PROXY_CACHE_SIZE": "a\nb", "IIIF_PROXY_THREADS": "-1"},
            {"nothing": 1},
        )
    lines = str(raised.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "IIIF_PROXY_ORIGN", "nothing", "IIIF_PROXY_CACHE_SIZE", "IIIF_PROXY_THREADS",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "values, beginning",
    [
        ({"max_height": 100}, "IIIF_PROXY_MAX_HEIGHT: needs IIIF_PROXY_MAX_WIDTH"),
        ({"upscaling": True}, "IIIF_PROXY_UPSCALING: needs IIIF_PROXY_MAX_WIDTH or "),
        ({"accel": "/-a/", "cache_dir": ""}, "IIIF_PROXY_ACCEL: needs IIIF_PROXY_CACHE_DIR"),
    ],
)
def test_what_does_not_go_together(values: dict[str, Any], beginning: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load({}, values)
    (fault,) = raised.value.faults
    assert fault.startswith(beginning)


def test_what_goes_together() -> None:
    load({}, {"max_height": 100, "max_width": 100})
    load({}, {"upscaling": True, "max_area": 10_000})


def test_every_default_is_what_it_says() -> None:
    """The text of a default, given, is the default."""
    default = load({})
    for name, this in FIELDS.items():
        if not this.metadata["unset"]:
            given = load({variable(name): this.metadata["default"]})
            assert getattr(given, name) == getattr(default, name), name


def test_cache_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x/cache")
    assert load({}).cache_dir == Path("/x/cache/iiif-proxy")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert load({}).cache_dir == Path("~/.cache/iiif-proxy").expanduser()
    monkeypatch.setattr("sys.platform", "darwin")
    assert load({}).cache_dir == Path("~/Library/Caches/iiif-proxy").expanduser()


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        load({}).origin = "x"  # type: ignore[misc]


def test_readme_has_the_table() -> None:
    """If not: python tools/settings_table.py"""
    readme = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    found = re.search(r"<!-- settings -->\n(.*?)<!-- /settings -->", readme, re.DOTALL)
    assert found is not None
    assert found[1] == table()


def test_readme_names_no_setting_that_is_not() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    named = set(re.findall(r"IIIF_PROXY_[A-Z0-9_]*[A-Z0-9]", readme))
    assert named == {variable(name) for name in FIELDS}
