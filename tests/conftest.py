"""What every test may use. The surroundings of whoever runs them do not count."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.servers import Served

IN_CI = os.environ.get("CI") == "true"
PACKAGES = {
    "chromium": "chromium",
    "djpeg": "libjpeg-turbo-progs",
    "jpegtran": "libjpeg-turbo-progs",
    "nginx": "nginx-light",
    "opj_decompress": "libopenjp2-tools",
    "systemd-analyze": "systemd",
}

for name in list(os.environ):
    if name.startswith("IIIF_PROXY_") or name.lower().endswith("_proxy"):
        del os.environ[name]

# The machine's speed is no property of the code.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if IN_CI else "here")


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """`need("nginx")` is the path of a program that is no Python package.

    Where it is missing the test is skipped; in CI (CI=true), where .ci/run installs it, it fails.
    """

    def find(program: str) -> str:
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")
        if path is None:
            package = PACKAGES.get(program, program)
            reason = f"{program} is not here (Debian's package {package}; make system-packages)"
            (pytest.fail if IN_CI else pytest.skip)(reason)
        return path

    return find


@pytest.fixture(scope="session")
def browser(need: Callable[[str], str]) -> Iterator["Browser"]:
    """Debian's Chromium, one for all tests of a process; each test has a context of its own."""
    from playwright.sync_api import sync_playwright

    chromium = need("chromium")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., "Served"]]:
    """`sidecar(folder, recent="on")` serves the images of a folder; the same for the same."""
    from tests.servers import gunicorn

    running: dict[tuple[object, ...], Served] = {}
    with contextlib.ExitStack() as stack:

        def serve(folder: Path, **settings: str) -> "Served":
            key = (folder, *sorted(settings.items()))
            if key not in running:
                values = {"source": f"file:{folder}/{{id}}", "predict": "off"} | settings
                values["cache_dir"] = str(tmp_path_factory.mktemp("cache"))
                environ = {f"IIIF_PROXY_{name.upper()}": value for name, value in values.items()}
                running[key] = stack.enter_context(gunicorn("iiif_proxy.wsgi", environ))
            return running[key]

        yield serve
