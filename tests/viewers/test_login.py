"""A login round trip in viewers that know how: from a closed image to pixels on the screen, and
out again. The library's own site has the login page; the viewer is on another origin."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, TimeoutError, expect

from iiif_proxy.web.own import OPENSEADRAGON, STATIC
from tests.servers import ROOT, Served, gunicorn
from tests.viewers.test_viewers import places, site  # noqa: F401

pytestmark = pytest.mark.timeout(300)
COLOUR = (0, 128, 128)
POLICY = """
[[rules]]
identifiers = "restricted/*"
public = { read = "nothing" }

[[rules]]
identifiers = "large.png"
public = { max_width = 200, regions = false }

[auth]
login = "/login?next={return}"
logout = "/logout?next={return}"
label = { en = "Log in to the Example Library" }
# The viewer of 2.0 that there is does not show texts with languages on its button.
confirm = ""
"""
IMAGE = "restricted%2Fb.png"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("library")
    (folder / "restricted").mkdir()
    Image.new("RGB", (4000, 3000), COLOUR).save(folder / "restricted" / "b.png")
    Image.new("RGB", (1000, 800), COLOUR).save(folder / "large.png")
    (folder / "policy.toml").write_text(POLICY)
    environ = {
        "IIIF_PROXY_SOURCE": f"file:{folder}/{{id}}",
        "IIIF_PROXY_CACHE_DIR": str(folder / "cache"),
        "IIIF_PROXY_POLICY": str(folder / "policy.toml"),
        "IIIF_PROXY_CLASSIFY": "tests.flow.library:class_of",
        "PYTHONPATH": str(ROOT),
    }
    with gunicorn("tests.flow.library", environ, options=["--chdir", str(ROOT)]) as served:
        yield served


def shows(page: Page) -> bool:
    """Whether the middle of the screen is of the image's colour.

    A page behind a window that has just been closed is not drawn, now and then (Chromium, under
    load): the screenshot that waits for it is given up, and taken again.
    """
    clip = {"x": 360.0, "y": 300.0, "width": 80.0, "height": 60.0}
    page.bring_to_front()
    try:
        taken = page.screenshot(clip=clip, timeout=5000)  # type: ignore[arg-type]
    except TimeoutError:
        return False
    found = Image.open(io.BytesIO(taken)).convert("RGB").resize((1, 1)).getpixel((0, 0))
    assert isinstance(found, tuple)
    return all(abs(a - b) < 6 for a, b in zip(found, COLOUR, strict=True))


def until(page: Page, holds: Callable[[], bool]) -> None:
    for _ in range(450):
        if holds():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come to that")


@pytest.mark.parametrize("name, version", [("mirador", 2), ("mirador", 3), ("mirador-flow", 3)])
def test_log_in_see_and_log_out(
    context: BrowserContext,
    library: Served,
    site: str,  # noqa: F811
    name: str,
    version: int,
) -> None:
    places(name)
    page = context.new_page()
    about = f"{library.url}/iiif/{version}/{IMAGE}/manifest.json"
    image = f"{library.url}/iiif/{version}/{IMAGE}/full/90,/0/default.jpg"
    page.goto(f"{site}/?{urlencode({'viewer': name, 'about': about})}")
    if name == "mirador":
        page.get_by_text("Continue").click()
    button = page.get_by_role("button", name="Log in", exact=True)
    expect(button).to_be_visible()
    assert context.request.get(image).status in {401, 403}
    assert not shows(page)
    with context.expect_page() as opened:
        button.click()
    login = opened.value
    login.get_by_label("Password").fill("wrong")
    login.get_by_role("button").click()
    login.get_by_label("Password").fill("open sesame")
    with login.expect_event("close"):
        login.get_by_role("button").click()
    out = page.get_by_role("button", name="Log out", exact=True)
    expect(out).to_be_visible()
    # Neither asks again for the tiles that were refused, so see others.
    zoom = page.get_by_role("button", name="Zoom in")
    for _ in range(4):
        zoom.click()
        page.wait_for_timeout(700)
    until(page, lambda: shows(page))
    assert context.request.get(image).status == 200
    with context.expect_page() as opened:
        out.click()
    until(page, lambda: opened.value.is_closed())
    assert context.request.get(image).status in {401, 403}


def test_our_own_page_leads_to_the_login_too(context: BrowserContext, library: Served) -> None:
    if not (STATIC / OPENSEADRAGON).is_file():
        pytest.skip("OpenSeadragon is not here (make openseadragon)")
    page = context.new_page()
    page.goto(f"{library.url}/iiif/-/view/large.png")
    sentence = "You may not see this image as it is."
    expect(page.locator("#message")).to_contain_text(sentence)
    page.get_by_role("link", name="As it is open to everybody").click()
    expect(page.locator("body")).to_have_attribute("data-state", re.compile("open|loaded"))
    until(page, lambda: shows(page))
    page.goto(f"{library.url}/iiif/-/view/{IMAGE}")
    with context.expect_page() as opened:
        page.get_by_role("button", name="Log in").click()
    opened.value.get_by_label("Password").fill("open sesame")
    with opened.value.expect_event("close"):
        opened.value.get_by_role("button").click()
    expect(page.locator("body")).to_have_attribute("data-state", re.compile("open|loaded"))
    until(page, lambda: shows(page))
