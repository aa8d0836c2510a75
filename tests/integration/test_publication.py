"""Among ten thousand Services, what matters is published, and nothing else is touched."""

import random
import threading
from typing import Any, Final

import pytest

from integration.backends import Backends
from integration.cluster import KUBERNETES_KEY, TARGET, USER, Cluster, Tool, boards, expected_urls
from integration.service import Service, Start
from support.waiting import eventually, settles

pytestmark = pytest.mark.integration

SOON_S: Final = 5.0
START_S: Final = 20.0

TWENTY: Final = (
    Tool("prometheus", "monitoring", "prometheus-server", 80, annotations={"toolset-priority": "9"}),
    Tool("prometheus", "monitoring", "metrics", 9090, "web", labels={"app": "prometheus"}),
    Tool("prometheus", "logging", "recorder", 9090, "web"),
    Tool(
        "victoria-metrics",
        "team-a",
        "victoria-metrics",
        8428,
        annotations={"toolset": "enabled", "toolset-type": "prometheus"},
    ),
    Tool("victoria-metrics", "team-a", "vm", 80, labels={"app.kubernetes.io/name": "prometheus"}),
    Tool("nothing", "team-a", "prometheus", 9090, "web"),
    Tool("grafana", "monitoring", "grafana", 3000, "service", annotations={"toolset-priority": "9"}),
    Tool("grafana", "monitoring", "visuals", 80, labels={"app.kubernetes.io/name": "grafana"}),
    Tool("grafana", "team-a", "boards", 3000, "service"),
    Tool("grafana", "team-a", "grafana", 80),
    Tool("jaeger", "monitoring", "jaeger-query", 80, "http-query", annotations={"toolset-priority": "9"}),
    Tool("jaeger", "team-a", "jaeger", 16686, "query"),
    Tool("jaeger", "logging", "traces", 16686, "query"),
    Tool("elasticsearch", "logging", "elasticsearch", 9200, annotations={"toolset-priority": "9"}),
    Tool("elasticsearch", "logging", "search", 9200),
    Tool("elasticsearch behind a login", "team-a", "elasticsearch", 9200),
    Tool("failing", "team-a", "es", 9200, labels={"app": "elasticsearch"}),
    Tool(
        "custom",
        "monitoring",
        "tasks",
        3200,
        annotations={"toolset": "enabled", "toolset-type": "tasks", "toolset-health-path": "/ready"},
    ),
    Tool(
        "custom",
        "logging",
        "note",
        3100,
        annotations={
            "toolset": "true",
            "toolset-type": "note",
            "toolset-health-path": "/ready",
            "toolset-priority": "9",
        },
    ),
    Tool(
        "custom",
        "team-a",
        "logs",
        3100,
        annotations={"toolset": "enabled", "toolset-type": "note", "toolset-health-path": "/ready"},
    ),
)
EIGHTEEN_URLS: Final = {
    "prometheus-toolset.yaml": "http://recorder.logging.svc.cluster.local:9090",
    "prometheus.monitoring.prometheus-server-toolset.yaml": "http://prometheus-server.monitoring.svc.cluster.local:80",
    "prometheus.monitoring.metrics-toolset.yaml": "http://metrics.monitoring.svc.cluster.local:9090",
    "prometheus.team-a.victoria-metrics-toolset.yaml": "http://victoria-metrics.team-a.svc.cluster.local:8428",
    "prometheus.team-a.vm-toolset.yaml": "http://vm.team-a.svc.cluster.local:80",
    "grafana-toolset.yaml": "http://grafana.monitoring.svc.cluster.local:3000",
    "grafana.monitoring.visuals-toolset.yaml": "http://visuals.monitoring.svc.cluster.local:80",
    "grafana.team-a.boards-toolset.yaml": "http://boards.team-a.svc.cluster.local:3000",
    "grafana.team-a.grafana-toolset.yaml": "http://grafana.team-a.svc.cluster.local:80",
    "jaeger-toolset.yaml": "http://traces.logging.svc.cluster.local:16686",
    "jaeger.monitoring.jaeger-query-toolset.yaml": "http://jaeger-query.monitoring.svc.cluster.local:80",
    "jaeger.team-a.jaeger-toolset.yaml": "http://jaeger.team-a.svc.cluster.local:16686",
    "elasticsearch-toolset.yaml": "http://elasticsearch.logging.svc.cluster.local:9200",
    "elasticsearch.logging.search-toolset.yaml": "http://search.logging.svc.cluster.local:9200",
    "elasticsearch.team-a.elasticsearch-toolset.yaml": "http://elasticsearch.team-a.svc.cluster.local:9200",
    "tasks-toolset.yaml": "http://tasks.monitoring.svc.cluster.local:3200",
    "note-toolset.yaml": "http://note.logging.svc.cluster.local:3100",
    "note.team-a.logs-toolset.yaml": "http://logs.team-a.svc.cluster.local:3100",
}
FIRST_OF_EACH_TYPE: Final = {
    KUBERNETES_KEY: {"toolset": "kubernetes", "enabled": True, "config": {"incluster": True, "namespaces": ["*"]}},
    "prometheus-toolset.yaml": {
        "toolset": "prometheus",
        "enabled": True,
        "config": {"url": EIGHTEEN_URLS["prometheus-toolset.yaml"], "timeout": "30s"},
    },
    "grafana-toolset.yaml": {
        "toolset": "grafana",
        "enabled": True,
        "config": {
            "url": EIGHTEEN_URLS["grafana-toolset.yaml"],
            "apiKey": "${GRAFANA_API_KEY}",
        },
    },
    "jaeger-toolset.yaml": {
        "toolset": "jaeger",
        "enabled": True,
        "config": {"url": EIGHTEEN_URLS["jaeger-toolset.yaml"], "timeout": "30s", "query_endpoint": "/api/traces"},
    },
    "elasticsearch-toolset.yaml": {
        "toolset": "elasticsearch",
        "enabled": True,
        "config": {
            "url": EIGHTEEN_URLS["elasticsearch-toolset.yaml"],
            "timeout": "30s",
            "health_endpoint": "/_cluster/health",
        },
    },
    "tasks-toolset.yaml": {
        "toolset": "tasks",
        "enabled": True,
        "config": {
            "url": EIGHTEEN_URLS["tasks-toolset.yaml"],
            "timeout": "30s",
            "health_path": "/ready",
            "type": "tasks",
        },
    },
}
GRAFANAS: Final = boards("grafana", 8)


def test_of_ten_thousand_services_twenty_match_and_the_eighteen_healthy_ones_are_published_at_once(
    large_cluster: Cluster, start: Start, backends: Backends
) -> None:
    large_cluster.create(*sorted(TWENTY, key=lambda tool: tool.namespace))  # the order of their age and their names

    service = start(large_cluster, TWENTY, OUTPUT__CREDENTIALS="{monitoring/grafana: {api_key: GRAFANA_API_KEY}}")

    settles(large_cluster.urls, EIGHTEEN_URLS, START_S)
    documents = large_cluster.documents()
    assert documents.keys() == {KUBERNETES_KEY, *EIGHTEEN_URLS}
    assert {key: documents[key] for key in FIRST_OF_EACH_TYPE} == FIRST_OF_EACH_TYPE
    assert [write["verb"] for write in large_cluster.writes()[-1:]] == ["patch"]
    first, *later = service.logged("config map written")
    assert (first["tools"], later) == (18, [])
    assert service.status("/readyz") == 200
    assert service.metric("toolset_services", verdict="Published") == 18
    assert service.metric("toolset_services", verdict="Unhealthy") == 2
    assert backends.answers.requests["es.team-a.svc.cluster.local:9200"]


def test_a_new_service_is_published_and_a_deleted_one_removed(large_cluster: Cluster, start: Start) -> None:
    first, second = GRAFANAS[:2]
    large_cluster.create(second)
    start(large_cluster, GRAFANAS)
    settles(large_cluster.urls, expected_urls("grafana", [second]), START_S)

    large_cluster.create(first)
    settles(large_cluster.urls, expected_urls("grafana", [first, second]), SOON_S)

    large_cluster.delete(first)
    settles(large_cluster.urls, expected_urls("grafana", [second]), SOON_S)


def test_an_irrelevant_change_causes_no_write(large_cluster: Cluster, start: Start) -> None:
    first, second = GRAFANAS[:2]
    bystander = Tool("nothing", "team-a", "web-shop", 8080)
    large_cluster.create(first)
    service = start(large_cluster, GRAFANAS)
    settles(large_cluster.urls, expected_urls("grafana", [first]), START_S)
    written = len(large_cluster.writes())
    looked = target_passes(service)

    large_cluster.create(bystander)
    large_cluster.patch(bystander.path, {"metadata": {"labels": {"team": "shop"}}})
    large_cluster.delete(bystander)
    large_cluster.patch(first.path, {"metadata": {"labels": {"team": "boards"}, "annotations": {"note": "new"}}})
    large_cluster.patch("/api/v1/namespaces/seed-00/services/app-00000", {"metadata": {"labels": {"tier": "web"}}})
    large_cluster.edit(notes="of somebody else")
    eventually(lambda: target_passes(service) > looked, SOON_S)
    large_cluster.create(second)  # events come in order: once this one is published, the others have been seen
    settles(large_cluster.urls, expected_urls("grafana", [first, second]), SOON_S)

    assert len(large_cluster.writes()) == written + 1


def target_passes(service: Service) -> float:
    return service.metric("controller_runtime_reconcile_total", controller="target", result="success")


def test_a_deleted_config_map_comes_back(large_cluster: Cluster, start: Start) -> None:
    tools = GRAFANAS[:2]
    large_cluster.create(*tools)
    service = start(large_cluster, GRAFANAS)
    settles(large_cluster.urls, expected_urls("grafana", tools), START_S)
    before = large_cluster.data()

    large_cluster.admin.delete(TARGET).raise_for_status()

    settles(large_cluster.data, before, SOON_S)
    assert service.exit_code is None


def test_an_edited_and_a_removed_key_return(large_cluster: Cluster, start: Start) -> None:
    tools = GRAFANAS[:2]
    large_cluster.create(*tools)
    service = start(large_cluster, GRAFANAS)
    settles(large_cluster.urls, expected_urls("grafana", tools), START_S)
    before = large_cluster.data()

    large_cluster.edit(**{"grafana-toolset.yaml": "url: http://elsewhere", KUBERNETES_KEY: None})

    settles(large_cluster.data, before, SOON_S)
    eventually(lambda: service.metric("toolset_drift_repaired_total") >= 1, SOON_S)


def test_a_key_that_somebody_edited_still_goes_with_its_service(large_cluster: Cluster, start: Start) -> None:
    large_cluster.create(*GRAFANAS[:2])
    start(large_cluster, GRAFANAS)
    settles(large_cluster.urls, expected_urls("grafana", GRAFANAS[:2]), START_S)
    before = large_cluster.data()
    large_cluster.edit(**{"grafana.team-a.board-1-toolset.yaml": "config: {url: 'http://elsewhere'}"})
    settles(large_cluster.data, before, SOON_S)

    large_cluster.delete(GRAFANAS[1])

    settles(large_cluster.urls, expected_urls("grafana", GRAFANAS[:1]), SOON_S)


@pytest.mark.timeout(120)
def test_a_service_that_changes_all_the_time_is_written_seldom_and_another_does_not_wait_with_it(
    large_cluster: Cluster, start: Start
) -> None:
    """With the pauses that are shipped."""
    flapping, calm = GRAFANAS[:2]
    large_cluster.create(flapping)
    service = start(large_cluster, GRAFANAS)
    settles(large_cluster.urls, expected_urls("grafana", [flapping]), START_S)
    before = len(large_cluster.writes())
    for number in range(24):
        allowed = "disabled" if number % 2 == 0 else None
        large_cluster.patch(flapping.path, {"metadata": {"annotations": {"kubernaut.io/toolset": allowed}}})
        threading.Event().wait(0.5)
    written = len(large_cluster.writes()) - before
    assert 4 <= written <= 8
    assert service.metric("toolset_configmap_writes_paced_total") > 0

    large_cluster.create(calm)
    settles(large_cluster.urls, expected_urls("grafana", [flapping, calm]), SOON_S)
    assert len(large_cluster.writes()) - before == written + 1

    large_cluster.patch(flapping.path, {"metadata": {"annotations": {"kubernaut.io/toolset": "disabled"}}})
    settles(large_cluster.urls, expected_urls("grafana", [calm]), 40)


def test_foreign_keys_and_overrides_survive_fifty_random_interleavings(large_cluster: Cluster, start: Start) -> None:
    large_cluster.create(*GRAFANAS[:2])
    start(large_cluster, GRAFANAS, OUTPUT__WRITE_PAUSE_CAP="500ms")  # fifty changes within seconds
    settles(large_cluster.urls, expected_urls("grafana", GRAFANAS[:2]), START_S)
    admin = Admin(large_cluster, random.Random(50))  # noqa: S311 - reproducible, not secret

    for _ in range(50):
        admin.interleave()

    settles(large_cluster.urls, expected_urls("grafana", [tool for tool in GRAFANAS if tool.name in admin.present]), 10)
    data = large_cluster.data()
    assert {key: data.get(key) for key in admin.foreign} == admin.foreign
    assert foreign_writes(large_cluster, frozenset(admin.foreign)) == []


class Admin:
    """Somebody who changes Services, their own keys and ours, in any order and at any moment."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self._cluster = cluster
        self._chance = chance
        self._serial = 0
        self.present = {tool.name for tool in GRAFANAS[:2]}
        self.foreign: dict[str, str] = {}
        self._edit_foreign()
        self._edit_overrides()

    def interleave(self) -> None:
        """Do one of each in random order, with pauses that meet the service in any phase of its work."""
        actions = [self._toggle, self._toggle, self._edit_foreign, self._edit_overrides, self._edit_ours]
        self._chance.shuffle(actions)
        for action in actions:
            action()
            threading.Event().wait(self._chance.choice((0.0, 0.0, 0.02, 0.05, 0.11)))

    def _toggle(self) -> None:
        tool = self._chance.choice(GRAFANAS[2:])
        if tool.name in self.present:
            self._cluster.delete(tool)
        else:
            self._cluster.create(tool)
        self.present ^= {tool.name}

    def _edit_foreign(self) -> None:
        self._serial += 1
        self.foreign["notes"] = f"note {self._serial}"
        self._cluster.edit(notes=self.foreign["notes"])

    def _edit_overrides(self) -> None:
        self._serial += 1
        self.foreign["overrides.yaml"] = f"suppress: [team-b/nothing-{self._serial}]\n"
        self._cluster.edit(**{"overrides.yaml": self.foreign["overrides.yaml"]})

    def _edit_ours(self) -> None:
        key = self._chance.choice((KUBERNETES_KEY, *expected_urls("grafana", GRAFANAS[:2])))
        self._cluster.edit(**{key: self._chance.choice((None, "config: {url: 'http://elsewhere'}\n"))})


def foreign_writes(cluster: Cluster, keys: frozenset[str]) -> list[dict[str, Any]]:
    """Return the service's writes that name one of ``keys``, or after which one is not as it was before.

    The audit log has every version of this ConfigMap, so nothing can go wrong and be put right unseen.
    """
    uid = cluster.admin.get(TARGET).json()["metadata"]["uid"]
    patches = (event for event in cluster.plane.audit() if event["verb"] == "patch" and "responseObject" in event)
    versions = [event for event in patches if event["responseObject"].get("metadata", {}).get("uid") == uid]
    versions.sort(key=lambda event: int(event["responseObject"]["metadata"]["resourceVersion"]))
    assert sum(event["user"]["username"] == USER for event in versions) > 20
    wrong: list[dict[str, Any]] = []
    before: dict[str, str] = {}
    for event in versions:
        data = event["responseObject"].get("data", {})
        now = {key: data[key] for key in keys if key in data}
        if event["user"]["username"] == USER and (now != before or keys & event["requestObject"]["data"].keys()):
            wrong.append(event)
        before = now
    return wrong
