"""A real Prometheus scrapes the real service: every panel shows something, and no alert is near."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
import yaml

import controlplane
from controlplane import ControlPlane
from deploy.manifests import NAME, NAMESPACE, rendered, with_components
from deploy.test_alerts import RULE
from deploy.test_dashboard import FOREIGN, expressions
from integration.backends import Daemon, binary, find
from integration.cluster import Cluster, Tool
from integration.service import Service
from support.lacking import lack
from support.waiting import eventually, settles

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TOOL: Final = Tool("prometheus", "monitoring", "prometheus", 9090, labels={"app.kubernetes.io/name": "prometheus"})
UNSEEN: Final = Tool("prometheus", "elsewhere", "prometheus", 9090, labels={"app.kubernetes.io/name": "prometheus"})
OVERWRITTEN: Final = "toolset_configmap_overwritten"
"""There is none while nobody overwrites the ConfigMap: its label names who does."""
REFERENCE: Final = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
LIMIT: Final = re.compile(r" unless (on|max by) \([^)]*\) \(?\w+\{[^}]*\}\)? == 0| (==|>) [0-9.]+")


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Yield a cluster that grants what the component `namespaced` asks for, and nothing more."""
    given = rendered(with_components(tmp_path_factory.mktemp("namespaced"), ["namespaced"]))
    for namespace in (TOOL.namespace, UNSEEN.namespace):
        body = yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        plane.kubectl("apply", "--server-side", "-f", "-", given=body)
    plane.kubectl("apply", "--server-side", "-f", "-", given=given)
    for kind in ("clusterrole", "clusterrolebinding"):
        plane.kubectl("delete", "--ignore-not-found", kind, NAME)
    with plane.client() as admin:
        cluster = Cluster(plane, admin)
        cluster.create(TOOL, UNSEEN)
        yield cluster
        cluster.clean()
    plane.kubectl("-n", "monitoring", "delete", "roles,rolebindings", "-l", f"app.kubernetes.io/name={NAME}")


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Yield a Prometheus that scrapes the service, which has found this very Prometheus."""
    if find("prometheus") is None:
        lack("there is no Prometheus here: run hack/backends/debian once (5 seconds)")
    folder = tmp_path_factory.mktemp("scraping")
    command = [
        *(binary("prometheus"), f"--config.file={folder}/config.yaml"),
        *("--storage.tsdb.path={directory}/data", "--web.listen-address={address}"),
    ]
    daemon = Daemon(folder / "prometheus", controlplane.free_ports(), "/-/ready", command)
    settings = {
        "ELECTION__ENABLED": "true",
        "DISCOVERY__WATCH_NAMESPACES": "[monitoring]",
        "HEALTH__INTERVAL": "1s",
        "PUBLISH__REQUIRED": "[monitoring/prometheus]",
        "CONTROLLER__RECONCILE_INTERVAL": "1s",
        "TOOLSET_TEST_CONNECT_TO": msgspec.json.encode({TOOL.authority: daemon.address}).decode(),
        "SERVER__PORT": str(controlplane.free_ports()),
    }
    service = Service(cluster.kubeconfig(), folder / "log", settings)
    (folder / "rules.yaml").write_text(yaml.safe_dump(RULE["spec"]), encoding="utf-8")
    target = {"targets": [f"127.0.0.1:{settings['SERVER__PORT']}"], "labels": {"namespace": NAMESPACE, "pod": "a"}}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [{"job_name": NAME, "static_configs": [target]}],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    daemon.start()
    try:
        with httpx.Client(base_url=f"http://{daemon.address}", trust_env=False) as client:
            eventually(lambda: found(client, f'sum(rate(toolset_probes_total{{job="{NAME}"}}[1m])) > 0'), within_s=30)
            yield client
        assert service.bugs() == []
    finally:
        service.end(signal.SIGTERM)
        service.close()
        daemon.kill()


def found(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    """Return what Prometheus finds now."""
    answer = client.get("/api/v1/query", params={"query": expression}).raise_for_status().json()
    series: list[dict[str, Any]] = answer["data"]["result"]
    return series


@pytest.mark.parametrize("place", expressions())
def test_an_expression_without_its_limit_finds_something(place: str, prometheus: httpx.Client) -> None:
    expression = expressions()[place]
    if "kube_pod_container_status_restarts_total" in expression:
        assert "kube_pod_container_status_restarts_total" in FOREIGN
        return
    if expression.startswith("absent("):
        assert found(prometheus, expression) == []
        return
    asked = LIMIT.sub("", expression).replace("$__rate_interval", "1m").replace("$namespace", ".*")
    if OVERWRITTEN in asked:
        assert f"`{OVERWRITTEN}`" in REFERENCE.read_text("utf-8")
        assert found(prometheus, asked) == []
        return
    eventually(lambda: found(prometheus, asked), within_s=10)


def test_no_alert_is_near_while_all_is_well(prometheus: httpx.Client) -> None:
    wanted = {rule["alert"]: ("ok", "inactive") for group in RULE["spec"]["groups"] for rule in group["rules"]}

    def states() -> dict[str, tuple[str, str]]:
        groups = prometheus.get("/api/v1/rules").raise_for_status().json()["data"]["groups"]
        return {rule["name"]: (rule["health"], rule["state"]) for group in groups for rule in group["rules"]}

    settles(states, wanted, within_s=20)


def test_the_rights_of_namespaced_are_enough_for_its_namespaces(cluster: Cluster, prometheus: httpx.Client) -> None:
    del prometheus
    assert set(cluster.urls().values()) == {TOOL.url}
