"""Events on a real API server, sent with the rights that are shipped."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Any, Final

import anyio
import anyio.to_thread
import httpx
import pytest
import yaml

from controlplane import ControlPlane
from integration.cluster import NAMESPACE, SERVICE_ACCOUNT, Cluster, Tool
from support.background import running
from toolset.adapters.kube.credentials.providers import KubeconfigCredentials
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.write.events import EventOptions, KubeEvents, Lost
from toolset.model import Key
from toolset.runtime.backoff import Backoff

pytestmark = pytest.mark.integration

TARGET: Final = Key(NAMESPACE, "kubernaut-toolset-config")
TOOL: Final = Tool("nothing", "events-of-others", "grafana", 3000)
SERVICE: Final = Key(TOOL.namespace, TOOL.name)
FLUSH_S: Final = 20.0


class Heard:
    """Notes what became of what was recorded."""

    def __init__(self) -> None:
        self.sent_count = 0
        self.lost: list[Lost] = []

    def sent(self) -> None:
        self.sent_count += 1

    def dropped(self, reason: Lost) -> None:
        self.lost.append(reason)


@pytest.fixture
def uid(cluster: Cluster) -> Iterator[str]:
    """Yield the uid of a ConfigMap that no Event regards yet; a Service in another namespace is there too."""
    cluster.create(TOOL)
    made = cluster.admin.post(f"/api/v1/namespaces/{NAMESPACE}/configmaps", json={"metadata": {"name": TARGET.name}})
    yield str(made.raise_for_status().json()["metadata"]["uid"])
    for namespace in (NAMESPACE, TOOL.namespace):
        cluster.admin.delete(collection(namespace)).raise_for_status()


@pytest.fixture
def controller(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    path = control_plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT)
    token = yaml.safe_load(path.read_text("utf-8"))["users"][0]["user"]["token"]
    with control_plane.client(token) as client:
        yield client


@asynccontextmanager
async def recorder(
    cluster: Cluster, uid: str, heard: Heard, target: Key = TARGET, backoff: Backoff = Backoff(spread=0.0)
) -> AsyncGenerator[KubeEvents]:
    async with KubeTransport(KubeconfigCredentials(cluster.kubeconfig(), ""), "test/1") as transport:
        events = KubeEvents(
            transport,
            target,
            SERVICE_ACCOUNT,
            "kubernaut-dynamic-toolset-6d4cf56db6-x2x9v",
            lambda: datetime.now(timezone.utc),
            target_uid=lambda: uid,
            observer=heard,
            options=EventOptions(repeats_s=0.01, backoff=backoff),
        )
        async with running(events.run):
            yield events


def collection(namespace: str) -> str:
    return f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"


def listed(cluster: Cluster, uid: str) -> list[dict[str, Any]]:
    """Return what ``kubectl describe configmap`` would show."""
    selector = f"involvedObject.kind=ConfigMap,involvedObject.name={TARGET.name},involvedObject.uid={uid}"
    answer = cluster.admin.get(f"/api/v1/namespaces/{NAMESPACE}/events", params={"fieldSelector": selector})
    items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return items


async def test_an_event_is_made_and_its_repeats_are_counted(cluster: Cluster, uid: str) -> None:
    heard = Heard()
    async with recorder(cluster, uid, heard) as events:
        for _ in range(3):
            events.record("Normal", "Published", f"{SERVICE} is published as grafana", related=SERVICE)
            await events.flush(FLUSH_S)

    assert (heard.sent_count, heard.lost) == (3, [])
    (event,) = listed(cluster, uid)
    assert (event["type"], event["reason"], event["action"]) == ("Normal", "Published", "Publish")
    assert event["related"]["namespace"] == SERVICE.namespace
    assert event["series"]["count"] == 3
    assert event["series"]["lastObservedTime"] > event["eventTime"]
    asked = [each for each in cluster.requests() if each["objectRef"]["resource"] == "events"]
    assert [each["verb"] for each in asked[-3:]] == ["create", "patch", "patch"]


async def test_kubectl_describes_the_config_map_with_its_events(cluster: Cluster, uid: str) -> None:
    async with recorder(cluster, uid, Heard()) as events:
        for _ in range(2):
            events.record("Warning", "Unhealthy", f"{SERVICE} is no longer published", related=SERVICE)
            await events.flush(FLUSH_S)

    described = cluster.plane.kubectl("--namespace", NAMESPACE, "describe", "configmap", TARGET.name)
    (line,) = [line for line in described.splitlines() if "Unhealthy" in line]
    assert "(x2 over" in line
    assert line.endswith(f"{SERVICE_ACCOUNT}  {SERVICE} is no longer published")


async def test_an_event_that_somebody_deleted_is_created_again(cluster: Cluster, uid: str) -> None:
    heard = Heard()
    async with recorder(cluster, uid, heard) as events:
        events.record("Normal", "Published", "", related=SERVICE)
        await events.flush(FLUSH_S)
        cluster.admin.delete(collection(NAMESPACE)).raise_for_status()
        events.record("Normal", "Published", "", related=SERVICE)
        await events.flush(FLUSH_S)

    (event,) = listed(cluster, uid)
    assert event["series"]["count"] == 2
    assert heard.lost == []


async def test_the_largest_event_that_can_be_recorded_is_taken(cluster: Cluster, uid: str) -> None:
    heard = Heard()
    async with recorder(cluster, uid, heard) as events:
        words = {"reason": "R" * 128, "action": "A" * 128}
        events.record(
            "Warning", note="\N{LATIN SMALL LETTER E WITH ACUTE}\n\x1b\ud800" * 1000, related=SERVICE, **words
        )
        await events.flush(FLUSH_S)

    (event,) = listed(cluster, uid)
    assert len(event["message"].encode()) > 1000
    assert heard.lost == []


async def test_a_namespace_without_our_rights_costs_the_event_and_nothing_else(cluster: Cluster, uid: str) -> None:
    heard, elsewhere = Heard(), Key(TOOL.namespace, TARGET.name)
    async with recorder(cluster, uid, heard, elsewhere, Backoff(0.01, spread=0.0)) as events:
        events.record("Normal", "Published", "", related=SERVICE)
        await events.flush(FLUSH_S)

    assert (heard.sent_count, heard.lost) == (0, ["forbidden"])


async def test_an_api_server_that_is_away_for_a_moment_costs_no_event(cluster: Cluster, uid: str) -> None:
    heard = Heard()
    async with recorder(cluster, uid, heard) as events:
        cluster.plane.kill_apiserver()
        try:
            for reason in ("First", "Second", "Third"):
                events.record("Normal", reason, "", related=SERVICE)
            await anyio.wait_all_tasks_blocked()
        finally:
            await anyio.to_thread.run_sync(cluster.plane.start_apiserver)
        await events.flush(FLUSH_S)

    assert heard.lost == []
    assert {each["reason"] for each in listed(cluster, uid)} == {"First", "Second", "Third"}


def event_on_the_service(namespace: str) -> dict[str, object]:
    return {
        "metadata": {"name": "on-the-service", "namespace": namespace},
        "eventTime": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": SERVICE_ACCOUNT,
        "reportingInstance": "pod-1",
        "type": "Normal",
        "reason": "Published",
        "action": "Publish",
        "regarding": {"apiVersion": "v1", "kind": "Service", "namespace": SERVICE.namespace, "name": SERVICE.name},
    }


@pytest.mark.usefixtures("uid")
def test_an_event_in_the_services_own_namespace_is_beyond_our_rights(
    cluster: Cluster, controller: httpx.Client
) -> None:
    path, event = collection(SERVICE.namespace), event_on_the_service(SERVICE.namespace)

    refused = controller.post(path, json=event)
    assert (refused.status_code, refused.json()["reason"]) == (403, "Forbidden")
    assert cluster.admin.post(path, json=event).status_code == 201  # it is the right that is missing, nothing else


@pytest.mark.usefixtures("uid")
def test_kubectl_does_not_look_for_a_services_events_in_our_namespace(
    cluster: Cluster, controller: httpx.Client
) -> None:
    controller.post(collection(NAMESPACE), json=event_on_the_service(NAMESPACE)).raise_for_status()

    described = cluster.plane.kubectl("--namespace", SERVICE.namespace, "describe", "service", SERVICE.name)
    assert SERVICE_ACCOUNT not in described.rpartition("Events:")[2]  # the API server may have recorded something
