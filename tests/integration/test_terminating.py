"""A namespace that is being deleted takes its tools along at once, although nobody deletes what is in it.

The API server is alone here: without a namespace controller a deleted namespace is `Terminating` for ever, as it is
where that controller is stuck.
"""

import json
import subprocess
from collections.abc import Iterator
from secrets import token_hex
from typing import Final

import pytest

from integration.cluster import Cluster, Tool
from integration.service import TOOLSET, Start, environment, plan
from support.waiting import eventually, settles

pytestmark = pytest.mark.integration

ENDING: Final = f"ending-{token_hex(4)}"
"""New to a server that a former run of this test may have used."""
GOING: Final = Tool("prometheus", ENDING, "prometheus-server", 80)
STAYING: Final = Tool("grafana", "team-a", "grafana", 3000, "service")
NAMESPACE: Final = f"/api/v1/namespaces/{ENDING}"


@pytest.fixture
def tools(cluster: Cluster) -> Iterator[Cluster]:
    """Yield a cluster with both tools; the namespace is gone after the test."""
    cluster.create(GOING, STAYING)
    yield cluster
    cluster.delete(GOING)
    cluster.admin.delete(NAMESPACE)
    done: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": ENDING},
        "spec": {"finalizers": []},
    }
    cluster.admin.put(f"{NAMESPACE}/finalize", json=done)
    settles(lambda: cluster.admin.get(NAMESPACE).status_code, 404, within_s=5)


def test_a_namespace_that_is_being_deleted_takes_its_tools_along(tools: Cluster, start: Start) -> None:
    service = start(tools, (GOING, STAYING))
    both = {"prometheus-toolset.yaml": GOING.url, "grafana-toolset.yaml": STAYING.url}
    settles(tools.urls, both, within_s=10)
    assert service.metric("toolset_store_objects", resource="namespaces") > 0
    eventually(lambda: service.metric("toolset_services", verdict="Published") == 2, within_s=5)
    known = {event["auditID"] for event in tools.requests()}

    tools.patch(NAMESPACE, {"metadata": {"labels": {"team": "a"}}})  # which changes nothing
    deleted = tools.admin.delete(NAMESPACE).raise_for_status().json()
    assert deleted["status"]["phase"] == "Terminating"
    settles(tools.urls, {"grafana-toolset.yaml": STAYING.url}, within_s=3)
    assert tools.admin.get(GOING.path).raise_for_status().json()["metadata"].get("deletionTimestamp") is None

    (line,) = service.logged("service removed")
    assert (line["reason"], line["type"], line["url"]) == ("Terminating", "prometheus", GOING.url)
    assert service.metric("toolset_services", verdict="Terminating") == 1
    since = [event for event in tools.requests() if event["auditID"] not in known]
    made = {(event["verb"], event["objectRef"]["resource"]) for event in since}
    assert made - {("create", "events"), ("patch", "events"), ("create", "selfsubjectaccessreviews")} == {
        ("patch", "configmaps")
    }


def test_explain_and_plan_know_of_a_namespace_that_is_being_deleted(tools: Cluster) -> None:
    tools.admin.delete(NAMESPACE).raise_for_status()
    command = [*TOOLSET, "explain", f"{ENDING}/{GOING.name}"]
    reported = subprocess.run(
        command, env=environment(tools.kubeconfig(), {}), capture_output=True, text=True, timeout=30, check=True
    ).stdout
    sentence = "it is being deleted (its namespace is being deleted)"
    assert reported == f"{ENDING}/{GOING.name} is not published: {sentence} [Terminating]\n"

    planned = plan(tools.kubeconfig(), {}, "--assume-healthy", "-o", "json")
    report = json.loads(planned.stdout)
    assert [each["namespace"] for each in report["candidates"]] == [STAYING.namespace]
    assert report["reasons"]["Terminating"] == 1
