"""Who may write an object may put almost anything into its managedFields; nobody else notices."""

import signal
from collections.abc import Iterator
from typing import Final

import pytest

from integration.cluster import TARGET, Cluster, Tool
from integration.service import Start
from support.waiting import settles

pytestmark = pytest.mark.integration

DEPTH: Final = 9000
NEAR: Final = Tool("grafana", "team-a", "grafana", 3000, "service")
LATER: Final = Tool("prometheus", "team-a", "prometheus-server", 80)
DEEP: Final = "/api/v1/namespaces/team-a/services"


@pytest.fixture
def tools(cluster: Cluster) -> Iterator[Cluster]:
    """Yield a cluster with one tool; the deep Service that a test makes is gone after it."""
    cluster.create(NEAR)
    yield cluster
    cluster.admin.delete(f"{DEEP}/deep").raise_for_status()


def test_a_service_with_deep_managed_fields_neither_ends_the_service_nor_hides_others(
    tools: Cluster, start: Start
) -> None:
    former = start(tools, (NEAR, LATER))
    settles(tools.urls, {"grafana-toolset.yaml": NEAR.url}, within_s=10)
    fields = '{"f:a":' * DEPTH + "{}" + "}" * DEPTH
    entry = f'{{"manager":"m","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{fields}}}'
    body = f'{{"metadata":{{"name":"deep","managedFields":[{entry}]}},"spec":{{"ports":[{{"port":1}}]}}}}'
    made = tools.admin.post(DEEP, content=body, headers={"Content-Type": "application/json"}).raise_for_status()
    assert made.text.count("f:a") >= DEPTH, "the API server keeps it"
    tools.create(LATER)
    both = {"grafana-toolset.yaml": NEAR.url, "prometheus-toolset.yaml": LATER.url}
    settles(tools.urls, both, within_s=10)
    former.end(signal.SIGTERM)

    tools.delete(NEAR)
    start(tools, (NEAR, LATER))  # which lists the deep one
    settles(tools.urls, {"prometheus-toolset.yaml": LATER.url}, within_s=10)


def test_a_config_map_with_managed_fields_that_are_no_utf_8_does_not_end_the_service(
    cluster: Cluster, start: Start
) -> None:
    cluster.create(NEAR)
    former = start(cluster, (NEAR, LATER))
    settles(cluster.urls, {"grafana-toolset.yaml": NEAR.url}, within_s=10)
    entry = b'{"manager":"m","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:\xff":{}}}'
    name = TARGET.rpartition("/")[2].encode()
    body = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"%b","managedFields":[%b]}}' % (name, entry)
    answer = cluster.admin.put(TARGET, content=body, headers={"Content-Type": "application/json"})
    assert b"\xff" in answer.raise_for_status().content, "the API server keeps it"
    settles(cluster.urls, {"grafana-toolset.yaml": NEAR.url}, within_s=10)
    former.end(signal.SIGTERM)

    cluster.create(LATER)
    start(cluster, (NEAR, LATER))  # which lists it
    both = {"grafana-toolset.yaml": NEAR.url, "prometheus-toolset.yaml": LATER.url}
    settles(cluster.urls, both, within_s=10)
