"""The embedded API server answers as the real one does, request by request."""

import difflib
import json
from collections.abc import Iterator
from typing import Final

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from controlplane import ControlPlane
from integration.cluster import TARGET, Cluster, Tool
from integration.exchange_table import EXCEPTIONS, TABLE
from integration.exchanges import Case, Side, signature_of, together, uncovered
from integration.service import Start, eventually
from toolset.sim import EmbeddedCluster

pytestmark = pytest.mark.integration

ROWS: Final = [pytest.param(case, id=f"{part}: {case.name}") for part, cases in TABLE.items() for case in cases]


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(EmbeddedCluster()) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def left_clean(control_plane: ControlPlane) -> Iterator[None]:
    """Leave nothing behind for other tests to find."""
    yield
    with control_plane.client() as admin:
        Side(admin, EXCEPTIONS, lambda: None).prepare()


@pytest.fixture
def pretender(embedded: EmbeddedCluster) -> Iterator[Side]:
    with httpx.Client(base_url=embedded.url, trust_env=False, timeout=10) as client:
        yield Side(client, EXCEPTIONS, embedded.store.compact)


@pytest.fixture
def original(cluster: Cluster) -> Side:
    def compact() -> None:
        """Compact etcd, and restart the API server, whose cache would remember."""
        plane = cluster.plane
        version = cluster.admin.get("/api/v1/namespaces").raise_for_status().json()["metadata"]["resourceVersion"]
        request = {"revision": version, "physical": True}
        httpx.post(f"{plane._etcd_url}/v3/kv/compaction", json=request, trust_env=False).raise_for_status()
        plane.kill_apiserver()
        plane.start_apiserver()

    return Side(cluster.admin, EXCEPTIONS, compact)


@pytest.mark.parametrize("case", ROWS)
def test_both_servers_answer_alike(case: Case, original: Side, pretender: Side) -> None:
    answers = together(case, original, pretender)

    expected, actual = (json.dumps(each, indent=1, sort_keys=True).splitlines() for each in answers)
    assert actual == expected, "\n".join(difflib.unified_diff(expected, actual, "real", "embedded", lineterm="", n=6))


def test_the_table_has_every_request_that_the_service_makes(cluster: Cluster, start: Start) -> None:
    tools = tuple(Tool("grafana", "team-a", f"grafana-{place}", 3000, "service") for place in range(3))
    others = {event["auditID"] for event in cluster.requests()}
    cluster.create(*tools[:2])
    service = start(cluster, tools)
    eventually(lambda: len(cluster.urls()) == 2, 20)
    cluster.edit(**{"grafana-toolset.yaml": "config: {url: 'http://elsewhere'}"})  # taken back, which makes an Event
    eventually(lambda: service.metric("toolset_drift_repaired_total") >= 1, 10)
    cluster.create(tools[2])
    cluster.delete(tools[1])
    eventually(lambda: len(cluster.urls()) == 2, 10)
    cluster.admin.delete(TARGET)
    eventually(lambda: len(cluster.urls()) == 2, 10)
    service.terminate()
    service.wait(20)

    made = [event for event in cluster.requests() if event["auditID"] not in others]
    assert {"create", "patch", "watch"} <= {event["verb"] for event in made}
    assert uncovered(made, (case for cases in TABLE.values() for case in cases)) == []


def test_a_request_that_no_case_sends_is_told() -> None:
    about = {"resource": "services", "namespace": "x"}
    odd = {"verb": "deletecollection", "objectRef": about, "requestURI": "/api/v1/namespaces/x/services?dryRun=All"}
    assert uncovered([odd], ()) == [signature_of(odd)]


@pytest.mark.parametrize("path", ["/api/v1", "/apis/coordination.k8s.io/v1", "/apis/events.k8s.io/v1"])
def test_discovery_tells_of_each_kind_what_the_real_server_tells(
    path: str, embedded: EmbeddedCluster, cluster: Cluster
) -> None:
    told = {each["name"]: each for each in cluster.admin.get(path).raise_for_status().json()["resources"]}
    free = {"storageVersionHash", "categories"}
    for resource in httpx.get(embedded.url + path, trust_env=False).raise_for_status().json()["resources"]:
        assert resource == {name: each for name, each in told[resource["name"]].items() if name not in free}


def test_there_are_at_most_ten_exceptions_and_each_has_a_reason() -> None:
    assert len(EXCEPTIONS) <= 10
    assert all(each.reason for each in EXCEPTIONS)
