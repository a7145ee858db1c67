"""A policy that changes while the proxy runs, and what a static server may answer."""

import json
import os
from pathlib import Path

import pytest

from iiif_proxy.access import watch
from tests.access.conftest import House, Housing
from tests.http.collection import quarters, saved
from tests.servers import Origin, reply

TILE = "/iiif/3/a.png/full/75,50/0/default.jpg"
CLOSED = '[classes.public]\nread = "nothing"\n'


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE", 0.0)


def change(here: House, text: str) -> None:
    """As an editor does: another file in its place."""
    other = here.policy.with_suffix(".new")
    other.write_text(text)
    os.replace(other, here.policy)


def checks(here: House) -> dict[str, dict[str, object]]:
    here.proxy.own._health.__self__._until = 0.0  # type: ignore[attr-defined]
    found: dict[str, dict[str, object]] = json.loads(here.ask("/iiif/-/health?deep").body)["checks"]
    return found


def test_a_changed_file_is_taken_over_if_it_is_right(house: Housing) -> None:
    here = house("")
    for _ in range(3):
        assert here.ask(TILE).status == 200  # Remembered by now.
    change(here, CLOSED)
    assert here.ask(TILE).status == 403
    assert here.ask(TILE, "member").status == 200
    change(here, "")
    assert here.ask(TILE).status == 200


def test_a_broken_one_is_not_and_health_says_so(house: Housing) -> None:
    here = house(CLOSED)
    assert checks(here)["policy"]["ok"] is True
    for broken in ("[classes.public]\nread = 'all'", "[", "\xff"):
        change(here, broken)
        assert here.ask(TILE).status == 403
        found = checks(here)["policy"]
        assert found["ok"] is False
        assert "policy.toml" not in json.dumps(found)
    here.policy.unlink()
    assert here.ask(TILE).status == 403
    assert checks(here)["policy"]["ok"] is False
    change(here, "")
    assert here.ask(TILE).status == 200
    assert checks(here)["policy"]["ok"] is True


def test_a_static_server_answers_only_what_is_for_everybody(house: Housing, tmp_path: Path) -> None:
    with Origin() as origin:
        fields = [("Content-Type", "image/png"), ("Cache-Control", "max-age=86400")]
        origin.default = reply(fields=[*fields, ("ETag", '"1"')], body=saved(quarters(300, 200)))
        policy = """
            [[rules]]
            identifiers = "restricted/*"
            public = { read = "nothing" }
            [[rules]]
            identifiers = "small/*"
            public = { max_width = 100 }
        """
        here = house(policy, source=f"{origin.url}/{{id}}")
        names = ("a", "restricted%2Fb", "small%2Fc")
        for name in names:
            assert here.ask(f"/iiif/3/{name}/full/75,50/0/default.jpg", "member").status == 200
        assert here.published() == {"a"}
        change(here, CLOSED)
        assert here.ask("/iiif/3/a/full/75,50/0/default.jpg").status == 403
        assert here.published() == set()
        assert here.ask("/iiif/3/a/full/75,50/0/default.jpg", "member").status == 200
        assert here.published() == set()
        change(here, "")
        for name in names:
            assert here.ask(f"/iiif/3/{name}/full/75,50/0/default.jpg").status == 200
        assert here.published() == set(names)
        # Another start, with a policy: what was published before it is gone.
        here = house(policy, source=f"{origin.url}/{{id}}")
        assert here.published() == set()


def test_processes_of_one_machine_take_it_over(house: Housing, tmp_path: Path) -> None:
    """Each by itself, as its next request comes; what one published is gone with the first."""
    with Origin() as origin:
        fields = [("Content-Type", "image/png"), ("Cache-Control", "max-age=86400")]
        origin.default = reply(fields=[*fields, ("ETag", '"1"')], body=saved(quarters(300, 200)))
        one, two = (house("", source=f"{origin.url}/{{id}}") for _ in range(2))
        target = "/iiif/3/a/full/75,50/0/default.jpg"
        assert [one.ask(target).status, two.ask(target).status] == [200, 200]
        change(one, CLOSED)
        assert one.ask(target).status == 403
        assert one.published() == set()
        assert two.ask(target).status == 403
        assert two.ask(target, "member").status == 200
        assert two.published() == set()
