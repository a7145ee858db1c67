"""What every test may use. The surroundings of whoever runs them do not count."""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

    from tests.objectstore import ObjectStore
    from tests.servers import Served

IN_CI = os.environ.get("CI") == "true"
PACKAGES = {
    "chromium-headless-shell": "chromium-headless-shell",
    "djpeg": "libjpeg-turbo-progs",
    "jpegtran": "libjpeg-turbo-progs",
    "nginx": "nginx-light",
    "opj_decompress": "libopenjp2-tools",
    "redis-server": "redis-server",
    "systemd-analyze": "systemd",
}
BROWSER_WAITS = 60_000  # Milliseconds, on a machine that does much else.
FAILED = pytest.StashKey[bool]()

for name in list(os.environ):
    if name.startswith("IIIF_PROXY_") or name.lower().endswith("_proxy"):
        del os.environ[name]

# Who begins in the background of a shell has Ctrl-C ignored, and so would all that is begun here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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
def _chromium(need: Callable[[str], str]) -> Iterator[Callable[[], "Browser"]]:
    """`_chromium()`: the browser of this process; another if that was closed."""
    # The shell has no windows, so that every page paints, whichever is in front: a picture of a
    # page behind another was waited for without end, once in some hundred logins.
    program = need("chromium-headless-shell")
    from playwright.sync_api import expect, sync_playwright

    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
    running: list[Browser] = []
    expect.set_options(timeout=BROWSER_WAITS)
    with sync_playwright() as playwright:

        def one() -> "Browser":
            if not running or not running[-1].is_connected():
                launched = playwright.chromium.launch(executable_path=program, args=options)
                running.append(launched)
            return running[-1]

        yield one
        if running:
            running[-1].close()


@pytest.fixture
def browser(
    _chromium: Callable[[], "Browser"], request: pytest.FixtureRequest
) -> Iterator["Browser"]:
    """Debian's Chromium, one for all tests of a process; each test has a context of its own."""
    browser = _chromium()
    request.node.stash[FAILED] = False
    yield browser
    if request.node.stash[FAILED]:  # The next shall not suffer from what this one did.
        browser.close()


@pytest.fixture
def context(browser: "Browser") -> Iterator["BrowserContext"]:
    """A visitor: a small screen, on which nothing moves by itself; downloads are kept."""
    context = browser.new_context(
        viewport={"width": 800, "height": 560}, reduced_motion="reduce", accept_downloads=True
    )
    context.set_default_timeout(BROWSER_WAITS)
    yield context
    context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


# Tests of several programs that are not ours, side by side: Redis, Celery, an S3 server, nginx,
# browsers. What fails among them is tried once more, and named in the summary (RERUN).
OTHERS = frozenset({"bulk", "cluster", "deploy", "pages", "viewers"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in OTHERS:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def objects() -> Iterator["ObjectStore"]:
    """An S3 server, one for all tests of a process."""
    from tests.objectstore import ObjectStore

    with ObjectStore() as objects:
        yield objects


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
