import json
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import yaml

from fakes.api_server import Answer, ScriptedApiServer, page, status_error
from toolset.cli import main
from toolset.errors import SettingsError
from toolset.explaining import explain_service
from toolset.loading import load
from toolset.model import Key
from toolset.settings import Settings
from toolset.sim import EmbeddedCluster
from toolset.sim.cluster import kubeconfig

CLUSTER = """
apiVersion: v1
kind: List
items:
- kind: Service
  metadata: {name: prometheus, namespace: monitoring, labels: {app: prometheus}}
  spec: {clusterIP: 10.96.0.1, selector: {app: prometheus}, ports: [{name: web, port: 9090}]}
- kind: Service
  metadata: {name: prometheus-operated, namespace: monitoring, labels: {app: prometheus}}
  spec: {clusterIP: None, selector: {app: prometheus}, ports: [{name: web, port: 9090}]}
- kind: Service
  metadata: {name: jaeger-collector, namespace: tracing, labels: {app: jaeger}}
  spec: {selector: {app: jaeger}, ports: [{name: otlp, port: 4317}]}
- kind: Service
  metadata: {name: shop, namespace: default}
  spec: {selector: {app: shop}, ports: [{port: 80}]}
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    file = tmp_path / "services.yaml"
    file.write_text(CLUSTER, "utf-8")
    return str(file)


def test_every_service_of_a_file_is_explained_in_sentences(cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-f", cluster]) == 0
    assert capsys.readouterr().out == (
        "default/shop is not published: no detector recognises it [NoMatch]\n"
        "  to publish it all the same, annotate it with kubernaut.io/toolset=enabled and "
        "kubernaut.io/toolset-type=TYPE\n"
        "monitoring/prometheus is taken for prometheus: its label says prometheus\n"
        "  published at http://prometheus.monitoring.svc.cluster.local:9090 once it answers GET /-/healthy\n"
        "monitoring/prometheus-operated is not published: another Service leads to the same backend: "
        "monitoring/prometheus [Duplicate]\n"
        "  nothing is lost: both lead to the same pods\n"
        "tracing/jaeger-collector is not published: it has no usable port (label matched jaeger) [NoUsablePort]\n"
        "  nearly taken for jaeger; to choose a port, annotate it with kubernaut.io/toolset-port\n"
    )


def test_json_is_one_object_a_line(cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-f", cluster, "-o", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["namespace"], line["name"], line["type"], line["reason"]) for line in lines] == [
        ("default", "shop", None, "NoMatch"),
        ("monitoring", "prometheus", "prometheus", None),
        ("monitoring", "prometheus-operated", None, "Duplicate"),
        ("tracing", "jaeger-collector", None, "NoUsablePort"),
    ]
    assert lines[1] | {"detail": ""} == {
        "namespace": "monitoring",
        "name": "prometheus",
        "type": "prometheus",
        "product": "prometheus",
        "reason": None,
        "detail": "",
        "near": None,
        "evidence": "label",
        "scheme": "http",
        "port": 9090,
        "path": "",
        "url": "http://prometheus.monitoring.svc.cluster.local:9090",
        "health_path": "/-/healthy",
        "to_prove": False,
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param([], "either one Service as NAMESPACE/NAME, or manifests with -f FILE", id="nothing named"),
        pytest.param(["prometheus"], "`prometheus` names no Service: write it as NAMESPACE/NAME", id="no namespace"),
        pytest.param(["-f", "/nowhere/x.yaml"], "/nowhere/x.yaml: No such file or directory", id="no file"),
    ],
)
def test_a_mistake_gets_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *arguments]) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Settings]:
    """Give settings for an embedded cluster that holds the first two Services of the file."""
    async with EmbeddedCluster() as running:
        running.create("Namespace", {"metadata": {"name": "monitoring"}})
        for each in yaml.safe_load(CLUSTER)["items"][:2]:
            running.create("Service", each)
        file = tmp_path / "config"
        await anyio.Path(file).write_text(running.kubeconfig(), "utf-8")
        yield load("", {}, {"kube.kubeconfig": str(file)})


async def test_a_service_of_the_cluster_is_explained_beside_its_twins(asked: Settings) -> None:
    explained = await explain_service(asked, Key("monitoring", "prometheus-operated"))
    assert (explained.reason, explained.near) == ("Duplicate", "prometheus")


ENDING = {"metadata": {"name": "monitoring", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
SENTENCE = "it is being deleted (its namespace is being deleted)"


def test_a_namespace_in_the_file_that_ends_takes_its_services_with_it(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ending = tmp_path / "namespace.yaml"
    ending.write_text(yaml.safe_dump({"kind": "Namespace", **ENDING}), "utf-8")
    assert main(["explain", "-f", cluster, "-f", str(ending)]) == 0
    told = capsys.readouterr().out
    assert f"monitoring/prometheus is not published: {SENTENCE} [Terminating]\n" in told
    assert "tracing/jaeger-collector is not published: it has no usable port" in told


@pytest.mark.parametrize(
    ("answer", "followed", "reason"),
    [
        pytest.param(page([ENDING]), "[]", "Terminating", id="a namespace that ends"),
        pytest.param(page([]), "[]", None, id="no namespace"),
        pytest.param(status_error(403, "Forbidden"), "[]", None, id="no right to know"),
        pytest.param(None, "[monitoring]", None, id="a service that does not ask"),
    ],
)
async def test_the_namespace_of_a_service_is_asked_for_where_the_service_would_know(
    tmp_path: Path, answer: Answer | None, followed: str, reason: str | None
) -> None:
    services = page(yaml.safe_load(CLUSTER)["items"][:1])
    async with ScriptedApiServer(services, *([answer] if answer else [])).serve() as server:
        file = tmp_path / "config"
        await anyio.Path(file).write_text(kubeconfig(server.url), "utf-8")
        settings = load(f"discovery: {{watch_namespaces: {followed}}}", {}, {"kube.kubeconfig": str(file)})
        explained = await explain_service(settings, Key("monitoring", "prometheus"))

    assert explained.reason == reason
    about = [asked.params.get("fieldSelector") for asked in server.asked if asked.path == "/api/v1/namespaces"]
    assert about == (["metadata.name=monitoring"] if answer else [])


async def test_a_service_that_is_not_there_gets_one_sentence(asked: Settings) -> None:
    with pytest.raises(SettingsError, match="there is no Service monitoring/nothing; `kubectl get services"):
        await explain_service(asked, Key("monitoring", "nothing"))
