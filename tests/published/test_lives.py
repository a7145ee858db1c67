"""What ends: freshness, sources, processes, settings. Nothing old is served afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.clients import Answer, ask, get
from tests.published.site import BLUE, GREEN, RED, Site, colour_of, jpeg, near
from tests.servers import ROOT

MakeSite = Callable[..., AbstractContextManager[Site]]


def test_hits_go_on_without_the_sidecar(make_site: MakeSite) -> None:
    with make_site() as site:
        site.images["/x.jpg"] = jpeg(RED)
        target = "/iiif/3/x.jpg/full/150,100/0/default.jpg"
        assert near(colour_of(site.ask(target)), RED)
        os.killpg(site.served.process.pid, signal.SIGKILL)
        site.served.process.wait()
        assert near(colour_of(site.ask(target)), RED)
        assert site.ask("/iiif/3/x.jpg/full/151,101/0/default.jpg").status == 502


@pytest.mark.parametrize(
    "headers, environ",
    [
        ([("Cache-Control", "no-store")], {}),
        ([("Cache-Control", "private")], {}),
        ([("Cache-Control", "max-age=3599")], {}),
        ([("Cache-Control", "no-cache")], {}),
        ([], {"publish": "off"}),
        ([], {"canonical_redirect": "on"}),
        ([], {"cache_dir": ""}),
        ([], {"source_ttl": "3599s"}),
    ],
)
def test_not_everything_is_published(
    make_site: MakeSite, headers: list[tuple[str, str]], environ: dict[str, str]
) -> None:
    with make_site(**environ) as site:
        site.headers = headers
        site.images["/x.jpg"] = jpeg(RED)
        for _ in range(3):
            answer = site.ask("/iiif/3/x.jpg/full/150,100/0/default.jpg")
            assert answer.status == 200
            assert answer.get("Accept-Ranges") is None, "by Python"
        assert not list((site.cache / "published").glob("*/x.jpg"))


def test_files_that_are_looked_at_are_not_published(make_site: MakeSite, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(jpeg(RED))
    with make_site(source=f"file:{tmp_path}/{{id}}") as site:
        for _ in range(3):
            answer = site.ask("/iiif/3/x.jpg/full/150,100/0/default.jpg")
            assert near(colour_of(answer), RED)
            assert answer.get("Accept-Ranges") is None
        (tmp_path / "x.jpg").write_bytes(jpeg(BLUE))
        answer = site.ask("/iiif/3/x.jpg/full/150,100/0/default.jpg")
        assert near(colour_of(answer), BLUE)


def test_lost_bytes_show_a_change_within_its_life(make_site: MakeSite) -> None:
    """The source's bytes were evicted, and the origin has others by now."""
    with make_site() as site:
        site.images["/x.jpg"] = jpeg(RED)
        target = "/iiif/3/x.jpg/full/150,100/0/default.jpg"
        site.ask(target)
        assert site.by_nginx(target) is not None
        shutil.rmtree(site.cache / "sources")
        site.images["/x.jpg"] = jpeg(BLUE)
        assert near(colour_of(site.ask(target)), RED), "nobody has looked"
        assert near(colour_of(site.ask("/iiif/3/x.jpg/full/90,60/0/default.jpg")), BLUE)
        for _ in range(3):
            assert near(colour_of(site.ask(target)), BLUE)
        assert site.by_nginx(target) is not None


def test_limits_that_are_lowered_hold_for_nginx_too(
    make_site: MakeSite, need: Callable[[str], str]
) -> None:
    with make_site() as site:
        site.images["/x.jpg"] = jpeg(RED)
        target = "/iiif/3/x.jpg/full/500,333/0/default.jpg"
        site.ask(target)
        assert site.by_nginx(target) is not None
        # The next life, on the same cache: nginx has not heard of it.
        environ: dict[str, Any] = {
            "IIIF_PROXY_ORIGIN": site.origin.url,
            "IIIF_PROXY_CACHE_DIR": str(site.cache),
            "IIIF_PROXY_MAX_WIDTH": "400",
        }
        os.killpg(site.served.process.pid, signal.SIGKILL)
        subprocess.run(
            [sys.executable, "-c", "import iiif_proxy.wsgi"],
            cwd=ROOT, env=os.environ | environ, check=True,
        )  # fmt: skip
        assert site.ask(target).status == 502, "to the sidecar, which is dead"


# With steps of a second: what comes and goes.


@pytest.fixture(scope="module")
def short(make_site: MakeSite) -> Iterator[Site]:
    with make_site(step=1, workers=2, stale_if_error="0s") as site:
        site.headers = [("Cache-Control", "max-age=3")]
        yield site


def until_by_nginx(site: Site, target: str) -> Answer:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        answer = site.ask(target)
        if answer.get("Accept-Ranges"):
            return answer
        time.sleep(0.02)
    raise AssertionError("nginx never answered")


def test_staleness_needs_nobody(short: Site) -> None:
    """No process of ours lives: nginx stops in time all the same."""
    site = short
    site.images["/stale.jpg"] = jpeg(RED)
    target = "/iiif/3/stale.jpg/full/150,100/0/default.jpg"
    begun = time.time()
    site.ask(target)
    until_by_nginx(site, target)
    workers = site.served.workers()
    for pid in [site.served.process.pid, *workers]:
        os.kill(pid, signal.SIGSTOP)
    try:
        last = begun
        while time.time() < begun + 4:
            now = time.time()
            try:
                answer = ask(site.nginx, get(target), timeout=0.2)
            except TimeoutError:
                break
            if answer.get("Accept-Ranges"):
                last = now
        assert begun + 0.5 < last < begun + 2.05, last - begun
    finally:
        for pid in [site.served.process.pid, *workers]:
            os.kill(pid, signal.SIGCONT)


def test_a_change_is_seen_and_nothing_old_comes_after_it(short: Site) -> None:
    site = short
    site.images["/change.jpg"] = jpeg(RED)
    target = "/iiif/3/change.jpg/full/150,100/0/default.jpg"
    assert near(colour_of(until_by_nginx(site, target)), RED)
    site.images["/change.jpg"] = jpeg(BLUE)
    deadline = time.monotonic() + 5
    while not near(colour_of(site.ask(target)), BLUE):
        assert time.monotonic() < deadline
    by_nginx = 0
    while by_nginx < 50 and time.monotonic() < deadline:
        answer = site.ask(target)
        assert near(colour_of(answer), BLUE)
        by_nginx += answer.get("Accept-Ranges") is not None
    assert by_nginx == 50


def test_a_purge_is_at_once(short: Site) -> None:
    site = short
    site.images["/purge.jpg"] = jpeg(RED)
    target = "/iiif/3/purge.jpg/full/150,100/0/default.jpg"
    for colour in (GREEN, BLUE, RED):
        until_by_nginx(site, target)
        site.images["/purge.jpg"] = jpeg(colour)
        site.purge("purge.jpg")
        assert near(colour_of(site.ask(target)), colour)


def test_what_is_gone_is_gone(short: Site) -> None:
    site = short
    site.images["/gone.jpg"] = jpeg(RED)
    target = "/iiif/3/gone.jpg/full/150,100/0/default.jpg"
    until_by_nginx(site, target)
    del site.images["/gone.jpg"]
    deadline = time.monotonic() + 5
    while site.ask(target).status == 200:
        assert time.monotonic() < deadline
    assert {site.ask(target).status for _ in range(20)} == {404}
