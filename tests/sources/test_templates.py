"""Identifiers fill templates, and never more than their place in it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iiif_proxy.errors import InvalidRequest
from iiif_proxy.sources.base import fill
from iiif_proxy.sources.file import FileSource


@pytest.mark.parametrize(
    "template, identifier, expected",
    [
        ("http://h/{id}", "a.jpg", "http://h/a.jpg"),
        ("http://h/m/{id}.tif", "a/b", "http://h/m/a/b.tif"),
        ("http://h/{id}", "ark:/12025/654xz321", "http://h/ark:/12025/654xz321"),
        ("http://h/{id}", "a b%2F?x#y", "http://h/a%20b%252F%3Fx%23y"),
        ("http://h/{id}", "café", "http://h/caf%C3%A9"),
        ("http://h/{id}", "x+y", "http://h/x%2By"),
        ("http://h/get?file={id}&w=1", "a&b=c/d", "http://h/get?file=a%26b%3Dc/d&w=1"),
        ("http://h/{id}", "//evil/x", "http://h///evil/x"),
        ("http://h/{id}", "@evil", "http://h/@evil"),
    ],
)
def test_fill(template: str, identifier: str, expected: str) -> None:
    assert fill(template, identifier) == expected


@pytest.mark.parametrize("identifier", ["..", "../x", "a/../b", "a/.", "..\\x", "x/.."])
def test_dot_segments_are_refused(identifier: str) -> None:
    with pytest.raises(InvalidRequest):
        fill("http://h/m/{id}", identifier)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_an_identifier_stays_in_its_place(identifier: str) -> None:
    try:
        filled = fill("http://host:81/m/{id}?k=v", identifier)
    except InvalidRequest:
        return
    assert filled.startswith("http://host:81/m/")
    assert filled.endswith("?k=v")
    assert filled.count("?") == 1
    assert "#" not in filled
    assert filled.isascii()


def test_file_never_leaves_its_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(b"secret")
    (inside / "a.jpg").write_bytes(b"picture")
    (inside / "sub").mkdir()
    (inside / "away").symlink_to(outside)
    (inside / "direct.jpg").symlink_to(outside / "secret.jpg")
    (inside / "within.jpg").symlink_to(inside / "a.jpg")
    source = FileSource(f"file:{inside}/{{id}}")
    found = source.ask("a.jpg", None, {})
    assert found is not None
    assert found.size == 7
    assert source.ask("within.jpg", None, {}) is not None
    for identifier in ("away/secret.jpg", "direct.jpg", "missing.jpg", "sub", "", "a.jpg\0"):
        assert source.ask(identifier, None, {}) is None
    with pytest.raises(InvalidRequest):
        source.ask("../out/secret.jpg", None, {})


def test_file_stamp_changes_with_the_file(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"one")
    source = FileSource(f"file://{tmp_path}/{{id}}")
    first = source.ask("a.jpg", None, {})
    picture.write_bytes(b"two")
    second = source.ask("a.jpg", None, {})
    assert first is not None
    assert second is not None
    assert first.stamp != second.stamp
