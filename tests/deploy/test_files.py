"""What is shipped to be deployed is what the linters of each kind call right."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase
from ruamel.yaml import YAML

from iiif_proxy import __version__, metrics
from iiif_proxy.engine import QUEUE
from iiif_proxy.settings import FIELDS, variable
from iiif_proxy.web.telling import Checks, Stores
from tests.deploy.conftest import DEPLOY

Judge = Callable[[str], str]
CLUSTER = DEPLOY / "kubernetes-cluster"
# What is no whole object, and what is none of Kubernetes' own kinds.
OTHERS = {"kustomization.yaml", "store.yaml", "scaling.yaml"}
KUBERNETES = sorted(p for p in DEPLOY.glob("kubernetes*/*.yaml") if p.name not in OTHERS)


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_dockerfile(judge: Judge) -> None:
    run(judge("hadolint"), DEPLOY / "Dockerfile")


@pytest.mark.parametrize("name", ["compose.yaml", "compose-cluster.yaml"])
def test_compose(judge: Judge, name: str) -> None:
    schema = "vendor.compose-spec"
    run(judge("check-jsonschema"), "--builtin-schema", schema, DEPLOY / name)


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_kubernetes(judge: Judge, path: Path) -> None:
    run(judge("kubernetes-validate"), "--strict", path)
    assert f"- {path.name}\n" in (path.parent / "kustomization.yaml").read_text()


def documents(name: str) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(CLUSTER / name))


def test_the_clusters_patches_are_of_what_there_is() -> None:
    (customized,) = documents("kustomization.yaml")
    assert all((CLUSTER / name).exists() for name in customized["resources"])
    base = {
        (one["kind"], one["metadata"]["name"]): one
        for path in (DEPLOY / "kubernetes").glob("*.yaml")
        if path.name not in OTHERS
        for one in YAML(typ="safe").load_all(path)
    }
    (store,) = documents("store.yaml")
    inside = [
        YAML(typ="safe").load(one["patch"]) for one in customized["patches"] if "patch" in one
    ]
    for patch in [store, *inside]:
        assert (patch["kind"], patch["metadata"]["name"]) in base
    deployment = base["Deployment", "iiif-proxy"]
    pod = deployment["spec"]["template"]["spec"]
    (patched,) = store["spec"]["template"]["spec"]["containers"]
    assert patched["name"] in [one["name"] for one in pod["containers"]]
    # A list is replaced, not merged: what was in it must be there again.
    assert pod["containers"][0]["envFrom"][0] in patched["envFrom"]


def test_the_clusters_names_lead_to_each_other() -> None:
    (each,) = documents("each.yaml")
    service, front = documents("front.yaml")
    nginx = front["spec"]["template"]["spec"]["containers"][0]
    said = {one["name"]: one.get("value", "") for one in nginx["env"]}
    assert said["SIDECARS"].startswith(each["metadata"]["name"] + ".")
    assert each["spec"]["clusterIP"] == "None"
    labels = front["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == front["spec"]["selector"]["matchLabels"] == labels
    (customized,) = documents("kustomization.yaml")
    given = [word for one in customized["configMapGenerator"] for word in one.get("literals", [])]
    redis = documents("redis.yaml")[0]["metadata"]["name"]
    assert [word for word in given if f"redis://{redis}:6379" in word]


def test_scaling_is_of_keda_and_asks_for_what_there_is() -> None:
    sidecars, workers = documents("scaling.yaml")
    (deployed,) = documents("workers.yaml")
    for scaled, target in ((sidecars, "iiif-proxy"), (workers, deployed["metadata"]["name"])):
        assert (scaled["apiVersion"], scaled["kind"]) == ("keda.sh/v1alpha1", "ScaledObject")
        assert scaled["spec"]["scaleTargetRef"]["name"] == target
        assert scaled["spec"]["minReplicaCount"] < scaled["spec"]["maxReplicaCount"]
        # KEDA takes texts only.
        for trigger in scaled["spec"]["triggers"]:
            assert all(isinstance(word, str) for word in trigger["metadata"].values())
    by_kind = {one["type"]: one["metadata"] for one in sidecars["spec"]["triggers"]}
    assert set(by_kind) == {"cpu", "prometheus"}
    asked = set(re.findall(r"iiif_proxy_\w+", by_kind["prometheus"]["query"]))
    assert asked
    assert asked <= names()
    (queue,) = [one["metadata"] for one in workers["spec"]["triggers"]]
    assert queue["listName"] == QUEUE
    broker = "redis://{}:6379/{}".format(queue["address"].partition(".")[0], queue["databaseIndex"])
    kustomized = (CLUSTER / "kustomization.yaml").read_text()
    assert f"IIIF_PROXY_BROKER={broker}\n" in kustomized


def test_the_two_fronts_of_several_differ_in_their_upstream_only() -> None:
    def parts(path: Path) -> tuple[list[str], str]:
        lines = [line.strip() for line in path.read_text().splitlines()]
        text = "\n".join(line for line in lines if line and not line.startswith("#"))
        found = re.search(r"upstream iiif_proxy \{\n(.*?)\n\}", text, re.S)
        assert found
        return found[1].splitlines(), text.replace(found[1], "")

    (ours, one), (theirs, two) = (
        parts(DEPLOY / "nginx-cluster.conf"),
        parts(CLUSTER / "nginx.conf.template"),
    )
    assert one == two
    assert [line for line in theirs if line not in ours] == [
        "zone iiif_proxy 256k;",
        "resolver ${NGINX_LOCAL_RESOLVERS} valid=5s;",
        "server ${SIDECARS}:8182 resolve max_fails=1 fail_timeout=5s;",
    ]
    assert all(line.startswith("server 10.") for line in ours if line not in theirs)


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
    for path in (DEPLOY / "kubernetes" / "deployment.yaml", CLUSTER / "workers.yaml"):
        assert f"image: iiif-proxy:{__version__}\n" in path.read_text()
