"""The embedded API server answers as the real one does, request by request."""

import difflib
import json
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import httpx
import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from controlplane import ControlPlane
from integration.cluster import IS_OLDER, TARGET, Cluster, Tool
from integration.exchange_table import EXCEPTIONS, TABLE
from integration.exchanges import Case, Side, together
from integration.service import Start
from integration.signatures import Signature, noted, of_audit
from support.waiting import eventually
from toolset import demo
from toolset.sim import EmbeddedCluster
from toolset.sim.discovery import DISCOVERY

pytestmark = pytest.mark.integration

ROWS: Final = [pytest.param(case, id=f"{part}: {case.name}") for part, cases in TABLE.items() for case in cases]


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(EmbeddedCluster()) as running:
        yield running


def _client(cluster: EmbeddedCluster) -> httpx.Client:
    return httpx.Client(base_url=cluster.url, trust_env=False, timeout=10)


@pytest.fixture
def pretender(embedded: EmbeddedCluster) -> Iterator[Side]:
    with _client(embedded) as client:
        yield Side(client, EXCEPTIONS, embedded.store.compact)


@pytest.fixture
def original(cluster: Cluster) -> Iterator[Side]:
    """Yield the real server; nothing is left behind for other tests to find."""

    def compact() -> None:
        """Compact etcd, and restart the API server, whose cache would remember."""
        plane = cluster.plane
        version = cluster.admin.get("/api/v1/namespaces").raise_for_status().json()["metadata"]["resourceVersion"]
        request = {"revision": version, "physical": True}
        httpx.post(f"{plane.etcd_url}/v3/kv/compaction", json=request, trust_env=False).raise_for_status()
        plane.kill_apiserver()
        plane.start_apiserver()

    side = Side(cluster.admin, EXCEPTIONS, compact)
    yield side
    side.prepare()


@pytest.fixture(scope="module")
def same(control_plane: ControlPlane) -> None:
    """Skip what the real server is not set up for: the embedded one is like the pinned release with WatchList."""
    with control_plane.client() as admin:
        streams_lists = Cluster(control_plane, admin).streams_lists
    if IS_OLDER or not streams_lists:
        pytest.skip("the embedded server answers as the pinned release of Kubernetes does, with its default features")


@pytest.mark.usefixtures("same")
@pytest.mark.parametrize("case", ROWS)
def test_both_servers_answer_alike(case: Case, original: Side, pretender: Side) -> None:
    answers = together(case, original, pretender)

    expected, actual = (json.dumps(each, indent=1, sort_keys=True).splitlines() for each in answers)
    assert actual == expected, "\n".join(difflib.unified_diff(expected, actual, "real", "embedded", lineterm="", n=6))


def test_the_table_has_every_request_that_the_service_makes(
    answered: set[Signature], cluster: Cluster, start: Start
) -> None:
    tools = tuple(Tool("grafana", "team-a", f"grafana-{place}", 3000, "service") for place in range(3))
    others = {event["auditID"] for event in cluster.requests()}
    cluster.create(*tools[:2])
    service = start(cluster, tools, ELECTION__ENABLED="true")
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

    made = {of_audit(event) for event in cluster.requests() if event["auditID"] not in others}
    assert {"create", "get", "list", "patch", "watch"} >= {each.verb for each in made} > {"create", "patch", "watch"}
    assert {each.resource for each in made} >= {
        "services",
        "configmaps",
        "namespaces",
        "leases.coordination.k8s.io",
        "events.events.k8s.io",
    }
    if not cluster.streams_lists:  # the embedded server does
        made = {each for each in made if not ("sendInitialEvents" in each.params and each.code == 422)}
    assert made - answered == set()


def test_the_table_has_every_request_of_the_demo(answered: set[Signature]) -> None:
    with noted() as made, start_blocking_portal("asyncio") as portal:
        portal.call(partial(demo.run, once=True, colours=False))
    assert {"create", "patch", "watch"} <= {each.verb for each in made}
    assert made - answered == set()


def test_a_request_that_no_case_sends_is_reported(answered: set[Signature]) -> None:
    """Another parameter, another outcome, another type of patch: each would need a case of its own."""
    known = next(each for each in answered if each.content_type == "merge" and each.code == 200)
    for odd in ({"params": ("dryRun", *known.params)}, {"code": 500}, {"content_type": "operations"}):
        assert msgspec.structs.replace(known, **odd) not in answered
    about = "/apis/events.k8s.io/v1/namespaces/x/events?force=true"
    assert of_audit({"verb": "patch", "requestURI": about, "responseStatus": {"code": 200}}) not in answered


@pytest.mark.parametrize("path", ["/api", "/apis"])
def test_discovery_reports_each_kind_what_the_real_server_reports(
    path: str, embedded: EmbeddedCluster, cluster: Cluster
) -> None:
    def resources(client: httpx.Client) -> dict[str, Any]:
        found = client.get(path, headers={"Accept": DISCOVERY}).raise_for_status()
        assert found.headers["Content-Type"] == DISCOVERY
        return {
            f"{group['metadata'].get('name', '')}/{version['version']}/{each['resource']}": each
            for group in found.json()["items"]
            for version in group["versions"]
            for each in version["resources"]
        }

    with _client(embedded) as client:
        ours = resources(client)
    reported = resources(cluster.admin)
    free = {"categories", "subresources"}
    for name, each in ours.items():
        assert {**each, "verbs": {*each["verbs"]}} == {
            field: {*value} - {"deletecollection"} if field == "verbs" else value
            for field, value in reported[name].items()
            if field not in free
        }


def test_there_are_at_most_ten_exceptions_and_each_has_a_reason() -> None:
    assert len(EXCEPTIONS) <= 10
    assert all(each.reason for each in EXCEPTIONS)
