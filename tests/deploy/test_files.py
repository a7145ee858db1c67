"""What is shipped to be deployed is what the linters of each kind call right."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from iiif_proxy import __version__, metrics
from iiif_proxy.settings import FIELDS, variable
from iiif_proxy.web.telling import Checks, Stores
from tests.deploy.conftest import DEPLOY

Judge = Callable[[str], str]
KUBERNETES = sorted(p for p in (DEPLOY / "kubernetes").glob("*.yaml") if "kustom" not in p.name)


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_dockerfile(judge: Judge) -> None:
    run(judge("hadolint"), DEPLOY / "Dockerfile")


def test_compose(judge: Judge) -> None:
    schema = "vendor.compose-spec"
    run(judge("check-jsonschema"), "--builtin-schema", schema, DEPLOY / "compose.yaml")


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_kubernetes(judge: Judge, path: Path) -> None:
    run(judge("kubernetes-validate"), "--strict", path)
    assert f"- {path.name}\n" in (DEPLOY / "kubernetes" / "kustomization.yaml").read_text()


def test_systemd(need: Judge, tmp_path: Path) -> None:
    analyze = need("systemd-analyze")
    unit = tmp_path / "iiif-proxy.service"
    text = (DEPLOY / "iiif-proxy.service").read_text()
    unit.write_text(text.replace("/opt/iiif-proxy/bin/iiif-proxy serve", "/bin/true serve"))
    assert run(analyze, "verify", unit) == ""
    level = run(analyze, "security", "--offline=true", "--threshold=20", unit)
    assert re.search(r"exposure level for iiif-proxy.service: [01]\.\d OK", level)


@pytest.mark.parametrize("name", ["nginx-cache.conf", "nginx-cluster.conf"])
def test_gixy(judge: Judge, name: str) -> None:
    """Without what it says of $http_host: the visitor's host and port are what info.json names."""
    output = run(judge("gixy"), "--skips", "host_spoofing", DEPLOY / name)
    assert not re.search(r"(?:Medium|High): [1-9]", output), output


def test_the_two_caching_fronts_differ_in_their_upstream_only() -> None:
    def directives(name: str) -> list[str]:
        lines = (DEPLOY / name).read_text().splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    one, two = directives("nginx-cache.conf"), directives("nginx-compose.conf")
    assert [pair for pair in zip(one, two, strict=True) if pair[0] != pair[1]] == [
        ("server unix:/run/iiif-proxy/socket;", "server iiif-proxy:8182;")
    ]


def names() -> set[str]:
    """Every series that /-/metrics may have."""
    found = set()
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            found |= {family.name for family in metric.describe()}
    for collector in (Stores({}), Checks(dict)):
        found |= {family.name for family in collector.collect()}
    ends = ("", "_total", "_bucket", "_sum", "_count")
    return {name + end for name in found for end in ends}


@pytest.mark.parametrize("name", ["alerts.yaml", "grafana.json"])
def test_dashboards_and_alerts_ask_for_metrics_that_there_are(name: str) -> None:
    asked = set(re.findall(r"iiif_proxy_\w+", (DEPLOY / name).read_text()))
    assert len(asked) >= 4
    assert asked <= names()


def test_dashboard_is_whole() -> None:
    board = json.loads((DEPLOY / "grafana.json").read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert all(target["expr"] for panel in panels for target in panel["targets"])


def test_settings_named_in_deploy_exist() -> None:
    known = {variable(name) for name in FIELDS}
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            asked = set(re.findall(r"IIIF_PROXY_[A-Z_]+[A-Z]", path.read_text()))
            assert asked <= known, path


def test_version_of_the_image_is_ours() -> None:
    text = (DEPLOY / "kubernetes" / "deployment.yaml").read_text()
    assert f"image: iiif-proxy:{__version__}\n" in text
