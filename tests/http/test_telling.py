"""What is told: timings, request ids, log lines, health in depth, counters of all processes."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import webob

from iiif_proxy.proxy import IIIFProxy
from tests.http.conftest import Proxy, Serving
from tests.http.test_own import counted
from tests.http.test_start import sidecar
from tests.servers import Origin

TIMING = re.compile(r"[a-z]+;dur=[0-9]+\.[0-9]")


@pytest.fixture(scope="module")
def telling(serving: Serving) -> Proxy:
    return serving(log_format="json", trusted_proxies="127.0.0.1", max_age="7m")


def lines(proxy: Proxy, path: str) -> list[dict[str, object]]:
    """The log's lines about a path; they are written before the answer is out."""
    found = [json.loads(x) for x in proxy.served.log().splitlines() if x.startswith('{"time"')]
    return [line for line in found if line.get("path") == path]


def test_a_miss_says_where_the_time_went(telling: Proxy) -> None:
    target = "/3/gradient.jpg/full/61,/0/default.png"
    miss, hit = telling.ask(target), telling.ask(target)
    assert "miss" in (miss.get("Cache-Status") or "")
    stages = (miss.get("Server-Timing") or "").split(", ")
    assert {stage.partition(";")[0] for stage in stages} >= {"fetch", "decode", "encode"}
    assert all(TIMING.fullmatch(stage) for stage in stages)
    assert hit.get("Server-Timing") is None


def test_a_line_for_each_request(telling: Proxy) -> None:
    target = "/3/gradient.jpg/full/62,/0/default.png"
    for _ in range(2):
        telling.ask(target, "X-Request-Id: abc-1")
    miss, hit = lines(telling, "/iiif" + target)
    assert miss["level"] == "info"
    assert (miss["kind"], miss["status"], miss["cache"]) == ("image", 200, "miss")
    assert (miss["identifier"], miss["request"]) == ("gradient.jpg", "abc-1")
    assert "62," in str(miss["plan"])
    assert set(miss["stages"]) >= {"decode", "encode"}  # type: ignore[call-overload]
    assert (hit["cache"], hit["plan"], hit["bytes"]) == ("hit", miss["plan"], miss["bytes"])


@pytest.mark.parametrize(
    "target, status", [("/3/nothing/info.json", 404), ("/3/gradient.jpg", 303)]
)
def test_other_answers_have_lines_too(telling: Proxy, target: str, status: int) -> None:
    telling.ask(target)
    assert lines(telling, "/iiif" + target)[-1]["status"] == status


def test_credentials_and_queries_are_not_logged(telling: Proxy) -> None:
    secret = "c2VjcmV0OnNlY3JldA"
    lines = [f"Authorization: Basic {secret}", f"Cookie: session={secret}"]
    telling.ask(f"/3/gradient.jpg/info.json?token={secret}", *lines)
    assert secret not in telling.served.log()


@pytest.mark.parametrize("given", ["a b", "x" * 200, "a\tb", '"', "<script>"])
def test_request_ids_that_are_none_are_replaced(telling: Proxy, given: str) -> None:
    answer = telling.ask("/3/nothing/info.json", f"X-Request-Id: {given}")
    assert answer.get("X-Request-Id") is None
    line = lines(telling, "/iiif/3/nothing/info.json")[-1]
    assert re.fullmatch("[0-9a-f]{16}", str(line["request"]))


def test_request_ids_of_strangers_are_replaced(serving: Serving) -> None:
    proxy = serving(trusted_proxies="192.0.2.1", max_age="8m", log_format="json")
    target = "/3/gradient.jpg/full/64,/0/default.png"
    for _ in range(2):
        assert proxy.ask(target, "X-Request-Id: abc-1").get("X-Request-Id") is None
    assert [line.get("request") == "abc-1" for line in lines(proxy, "/iiif" + target)] == [
        False
    ] * 2


def test_the_origin_is_told_the_id(serving: Serving) -> None:
    """Over HTTP and as a sub-request of an application."""
    for number, source in enumerate(("", "app:/{id}")):
        settings = {"source": source} if source else {}
        proxy = serving(trusted_proxies="127.0.0.1", log_format="json", max_age="11m", **settings)
        name = f"request-{number}.png"
        proxy.ask(f"/3/{name}/info.json", f"X-Request-Id: told-{number}")
        proxy.ask(f"/3/x{name}/info.json")
        said = {r.target: r.all("X-Request-Id") for r in proxy.origin.requests if name in r.target}
        assert said[f"/{name}"] == [f"told-{number}"]
        [own] = said[f"/x{name}"]
        assert lines(proxy, f"/iiif/3/x{name}/info.json")[-1]["request"] == own


def test_who_gives_an_id_gets_it_back(telling: Proxy) -> None:
    """With what took long or failed; stored images are the same bytes for everybody."""
    target = "/3/gradient.jpg/full/65,/0/default.png"
    for asked in ("/3/nothing/info.json", target):
        assert telling.ask(asked, "X-Request-Id: abc-2").get("X-Request-Id") == "abc-2"
    assert telling.ask(target, "X-Request-Id: abc-3").get("X-Request-Id") is None
    assert lines(telling, "/iiif" + target)[-1]["request"] == "abc-3"


def test_what_nobody_foresaw_has_an_id_to_look_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = IIIFProxy(environ={}, cache_dir=str(tmp_path), source=f"file:{tmp_path}/{{id}}")
    monkeypatch.setattr(app.service, "info", lambda *_: 1 / 0)
    answer = webob.Request.blank("/iiif/3/a.png/info.json").get_response(app)
    assert answer.status_code == 500
    assert b"1 / 0" not in answer.body
    [line] = [r for r in caplog.records if r.exc_info]
    assert line.message == "a request failed"
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-Id"])


def test_nobody_writes_lines_into_the_log(proxy: Proxy) -> None:
    proxy.ask("/3/a%0A2026-01-01%20INFO%20forged/full/max/0/default.jpg")
    assert not re.search("^2026-01-01 INFO forged", proxy.served.log(), re.M)


def test_hits_have_the_same_line_as_text(serving: Serving) -> None:
    proxy = serving(max_age="9m", log_format="text")
    target = "/3/gradient.jpg/full/66,/0/default.png"
    for _ in range(3):
        proxy.ask(target)
    found = [line for line in proxy.served.log().splitlines() if "/iiif" + target in line]
    pattern = (
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO iiif_proxy\.requests: image 200 (hit|miss) "
    )
    assert [re.match(pattern, line)[1] for line in found] == ["miss", "hit", "hit"]  # type: ignore[index]
    plan = r" plan=\S+ bytes=\d+ ms=[\d.]+"
    assert all(re.search(plan, line) for line in found)


def test_quiet_logs_have_no_lines_of_hits(serving: Serving) -> None:
    proxy = serving(max_age="10m", log_level="warning")
    target = "/3/gradient.jpg/full/67,/0/default.png"
    for _ in range(3):
        proxy.ask(target)
    assert "gradient" not in proxy.served.log()


def test_deep_health(telling: Proxy) -> None:
    answer = telling.ask("/-/health?deep")
    found = json.loads(answer.body)
    assert (answer.status, found["status"]) == (200, "ok")
    assert {"origin", "cache", "space", "derivatives", "codecs"} <= set(found["checks"])
    assert found["checks"]["space"]["free_bytes"] > 0
    assert "/" not in "".join(check["says"] for check in found["checks"].values())


def test_what_is_optional_is_told(telling: Proxy) -> None:
    found = json.loads(telling.ask("/-/health").body)
    assert found["jpegtran"] == (shutil.which("jpegtran") is not None)
    assert found["extras"] == {"heif": True, "jp2": True, "pdf": True, "raw": True, "tiff": True}
    assert "jpg" in found["formats"]
    deep = json.loads(telling.ask("/-/health?deep").body)["checks"]["codecs"]
    assert deep["jpegtran"] == found["jpegtran"]
    assert "jpegtran" in deep["says"]


def test_deep_health_of_a_dead_origin(serving: Serving) -> None:
    proxy = serving(origin="http://127.0.0.1:1")
    answer = proxy.ask("/-/health?deep")
    found = json.loads(answer.body)
    assert (answer.status, found["status"]) == (503, "failing")
    assert found["checks"]["origin"]["ok"] is False
    assert proxy.ask("/-/health").status == 200


def test_deep_health_of_a_lost_cache(serving: Serving, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    proxy = serving(cache_dir=str(folder))
    shutil.rmtree(folder)
    folder.write_text("in the way")
    try:
        answer = proxy.ask("/-/health?deep")
        assert answer.status == 503
        assert json.loads(answer.body)["checks"]["cache"]["ok"] is False
        assert str(tmp_path) not in answer.body.decode()
    finally:
        folder.unlink()


def test_metrics_tell_of_stages_and_stores(telling: Proxy) -> None:
    telling.ask("/3/gradient.jpg/full/63,/0/default.png")
    assert counted(telling, 'iiif_proxy_stage_seconds_count{stage="decode"}') >= 1
    assert counted(telling, 'iiif_proxy_cache_bytes{store="derivatives"}') > 0
    assert counted(telling, 'iiif_proxy_source_answers_total{outcome="new"}') >= 1
    assert counted(telling, 'iiif_proxy_answered_bytes_total{kind="image"}') > 0
    assert counted(telling, 'iiif_proxy_check_ok{check="origin"}') == 1
    assert counted(telling, 'iiif_proxy_check_ok{check="cache"}') == 1


def await_workers(proxy: Proxy, count: int, without: int = 0) -> None:
    end = time.monotonic() + 20
    while len(set(proxy.served.workers()) - {without}) < count:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_processes_count_together(tmp_path: Path, origin: Origin) -> None:
    """Also when one was killed and another came in its place."""
    place = tmp_path / "counting"
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(place)}
    with sidecar(tmp_path, origin, environ, workers="3") as proxy:
        sample = 'iiif_proxy_requests_total{kind="base",status="303"}'
        for _ in range(40):
            assert proxy.ask("/3/300x200.png").status == 303
        assert counted(proxy, sample) == 40
        await_workers(proxy, 3)
        before = proxy.served.workers()
        os.kill(before[0], signal.SIGKILL)
        await_workers(proxy, 3, without=before[0])
        for _ in range(20):
            assert proxy.ask("/3/300x200.png").status == 303
        assert counted(proxy, sample) == 60
    assert list(place.iterdir()) == []
