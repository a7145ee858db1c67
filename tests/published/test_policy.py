"""A policy before a static server: what is restricted is never answered without us."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.published.site import RED, Site, colour_of, jpeg, near

MakeSite = Callable[..., AbstractContextManager[Site]]
POLICY = """
[[rules]]
identifiers = "closed*"
public = { read = "nothing" }
[[rules]]
identifiers = "small*"
public = { max_width = 100 }
"""
NAMES = ("open.jpg", "closed.jpg", "small.jpg")


def target(name: str) -> str:
    return f"/iiif/3/{name}/full/150,100/0/default.jpg"


def by_nginx(site: Site, name: str) -> bool:
    answer = site.ask(target(name))
    return answer.status == 200 and answer.get("Accept-Ranges") is not None


def test_what_is_restricted_is_not_answered_by_nginx(make_site: MakeSite, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    with make_site(policy=str(policy), class_header="X-Class") as site:
        for name in NAMES:
            site.images[f"/{name}"] = jpeg(RED)
            for _ in range(2):
                answer = site.ask(target(name), "X-Class: member")
                assert near(colour_of(answer), RED)
        assert [by_nginx(site, name) for name in NAMES] == [True, False, False]
        for name in NAMES[1:]:
            assert site.ask(target(name)).status == 403
            assert site.ask(target(name), "X-Class: member").status == 200
        # Closed for strangers altogether: soon, though nginx answers every request by itself.
        changed = tmp_path / "new"
        changed.write_text('[classes.public]\nread = "nothing"')
        os.replace(changed, policy)
        deadline = time.monotonic() + 60
        while by_nginx(site, "open.jpg") and time.monotonic() < deadline:
            threading.Event().wait(0.1)
        assert site.ask(target("open.jpg")).status == 403
        assert not list((site.cache / "published").glob("[0-9]*/*"))
