"""The proxy as its visitors know it: gunicorn on a socket, before an origin on another."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.http import collection
from tests.servers import Answer, Origin, Served, ask, gunicorn

HOST = "visited.example"


class Proxy:
    """A running proxy. Targets are below the prefix, unless they begin with //."""

    def __init__(self, served: Served, origin: Origin, prefix: str = "/iiif") -> None:
        self.served = served
        self.origin = origin
        self.prefix = prefix

    def ask(self, target: str, *lines: str, method: str = "GET", host: str = HOST) -> Answer:
        target = target[1:] if target.startswith("//") else self.prefix + target
        head = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *lines]
        return ask(self.served.port, "\r\n".join([*head, "", ""]).encode("latin-1"))

    def image(self, target: str, *lines: str) -> Image.Image:
        answer = self.ask(target, *lines)
        assert answer.status == 200, answer.body[:200]
        return collection.opened(answer.body)

    def info(self, target: str, *lines: str) -> dict[str, Any]:
        answer = self.ask(target, *lines)
        assert answer.status == 200, answer.body[:200]
        found: dict[str, Any] = json.loads(answer.body)
        return found


def links(answer: Answer) -> dict[str, str]:
    """Targets of the Link header by relation."""
    return {
        rel: uri for uri, rel in re.findall(r'<([^>]*)>;rel="([^"]*)"', answer.get("Link") or "")
    }


def canonical(answer: Answer) -> str:
    """The canonical URI's last four segments."""
    return "/".join(links(answer)["canonical"].rsplit("/", 4)[1:])


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        origin.default = collection.serve
        yield origin
        assert not origin.failures


Serving = Callable[..., Proxy]


@pytest.fixture(scope="session")
def serving(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """`serving(max_width=1000)` is a proxy with these settings; the same one for the same ones."""
    running: dict[str, Proxy] = {}
    with contextlib.ExitStack() as stack:

        def serve(**settings: Any) -> Proxy:
            name = json.dumps(settings, sort_keys=True)
            if name not in running:
                folder: Path = tmp_path_factory.mktemp("cache")
                values = {
                    "origin": origin.url,
                    "cache_dir": folder,
                    "write_ahead": "off",
                } | settings
                environ = {f"IIIF_PROXY_{key.upper()}": str(val) for key, val in values.items()}
                # gunicorn's own trust in whoever is on loopback is not under test.
                options = ["--forwarded-allow-ips", "192.0.2.1"]
                served = stack.enter_context(gunicorn("iiif_proxy.wsgi", environ, options=options))
                running[name] = Proxy(served, origin, settings.get("prefix", "/iiif"))
            return running[name]

        yield serve
        for proxy in running.values():
            proxy.served.process.terminate()  # all at once; each is waited for afterwards


@pytest.fixture(scope="session")
def proxy(serving: Serving) -> Proxy:
    """With nothing set that a visitor could see."""
    return serving()
