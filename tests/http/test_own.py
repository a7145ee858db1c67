"""What is the proxy's own, below `/-/`."""

import html
import json
import re

import pytest

from iiif_proxy import __version__
from tests.http.conftest import Proxy, Serving


def test_health(proxy: Proxy) -> None:
    answer = proxy.ask("/-/health")
    assert (answer.status, answer.get("Content-Type")) == (200, "application/json")
    assert json.loads(answer.body)["status"] == "ok"
    assert json.loads(answer.body)["version"] == __version__
    assert answer.get("Cache-Control") == "no-store"


def counted(proxy: Proxy, sample: str) -> float:
    text = proxy.ask("/-/metrics").body.decode()
    found = re.search(rf"^{re.escape(sample)} ([0-9.e+]+)$", text, re.M)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    "target, kind, status",
    [
        ("/3/300x200.png/full/60,/0/default.png", "image", 200),
        ("/3/300x200.png/full/0,/0/default.png", "image", 400),
        ("/3/300x200.png/info.json", "info", 200),
        ("/3/nothing/info.json", "info", 404),
        ("/3/300x200.png", "base", 303),
    ],
)
def test_metrics_count_requests(serving: Serving, target: str, kind: str, status: int) -> None:
    """One process: prometheus_client counts by process."""
    proxy = serving(max_age="5m", source_ttl="2h")
    sample = f'iiif_proxy_requests_total{{kind="{kind}",status="{status}"}}'
    before = counted(proxy, sample)
    for _ in range(3):
        assert proxy.ask(target).status == status
    assert counted(proxy, sample) == before + 3


@pytest.mark.parametrize(
    "target",
    [
        "/-/nothing", "/-/health/more", "/-/static", "/-/static/",
        "/-/static/nothing.js", "/-/static/../own.py", "/-/static/..%2Fown.py",
        "/-/static/%2e%2e/own.py", "/-/static//etc/passwd", "/-/static/openseadragon",
        "/-/static/view.html", "/-/view", "/-/view/",
    ],
)  # fmt: skip
def test_nothing_else_is_here(proxy: Proxy, target: str) -> None:
    before = len(proxy.origin.requests)
    answer = proxy.ask(target)
    assert answer.status == 404
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"
    assert len(proxy.origin.requests) == before


@pytest.mark.parametrize("name", ["a%2Fb.png", "%3Cscript%3Ealert(1)%3C%2Fscript%3E", "%22'>x"])
def test_view_is_a_page_about_the_identifier_and_no_more(proxy: Proxy, name: str) -> None:
    answer = proxy.ask(f"/-/view/{name}")
    page = answer.body.decode()
    assert (answer.status, answer.get("Content-Type")) == (200, "text/html; charset=utf-8")
    assert f"http://visited.example/iiif/3/{html.escape(name)}/info.json" in page
    assert "<script>" not in page
    assert "{" not in re.sub(r"<style.*?</style>", "", page, flags=re.S)
    policy = answer.get("Content-Security-Policy") or ""
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    for address in re.findall(r'(?:src|href)="([^"]*static[^"]*)"', page):
        assert address.startswith("http://visited.example/iiif/-/static/")
        path = address.removeprefix("http://visited.example/iiif")
        if "openseadragon" not in path:  # fetched by make, if it can be had
            assert proxy.ask(path).status == 200
