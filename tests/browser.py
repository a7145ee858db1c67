"""A real browser, and a sidecar before a folder, for tests of pages and viewers."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.servers import Served, gunicorn


@pytest.fixture(scope="session")
def browser(need: Callable[[str], str]) -> Iterator[Browser]:
    """Debian's Chromium, one for all tests of a process; each test has a context of its own."""
    chromium = need("chromium")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """`sidecar(folder, recent="on")` serves the images of a folder; the same for the same."""
    running: dict[tuple[object, ...], Served] = {}
    with contextlib.ExitStack() as stack:

        def serve(folder: Path, **settings: str) -> Served:
            key = (folder, *sorted(settings.items()))
            if key not in running:
                values = {"source": f"file:{folder}/{{id}}", "predict": "off"} | settings
                values["cache_dir"] = str(tmp_path_factory.mktemp("cache"))
                environ = {f"IIIF_PROXY_{name.upper()}": value for name, value in values.items()}
                running[key] = stack.enter_context(gunicorn("iiif_proxy.wsgi", environ))
            return running[key]

        yield serve
