"""Somebody keeps bytes in the ConfigMap: the API server counts them too, and takes no key twice."""

import base64
from typing import Final

import pytest

from integration.cluster import CONFIG_MAPS, NAMESPACE, TARGET, Cluster, Tool, urls_in
from integration.service import Start
from support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TOOLS: Final = tuple(Tool("grafana", "team-a", f"g{n}", 3000, "service", labels={"app": "grafana"}) for n in range(2))
TAKEN: Final = "grafana-toolset.yaml"
MOVED: Final = "tool published with a warning"


@pytest.mark.parametrize("size", [pytest.param(1000, id="little"), pytest.param(1_030_000, id="nearly all there is")])
def test_binary_data_of_somebody_else_leaves_room_for_the_rest(cluster: Cluster, start: Start, size: int) -> None:
    content = {TAKEN: base64.b64encode(bytes(size)).decode()}
    name = TARGET.rpartition("/")[2]
    metadata = {"name": name, "namespace": NAMESPACE}
    cluster.admin.post(CONFIG_MAPS, json={"metadata": metadata, "binaryData": content}).raise_for_status()
    cluster.create(*TOOLS)
    of_others = len(cluster.writes())  # of the tests that used this API server before
    service = start(cluster, TOOLS)
    eventually(cluster.documents, within_s=20)

    assert TAKEN not in cluster.data()
    assert cluster.admin.get(TARGET).json()["binaryData"] == content
    assert {event["responseStatus"]["code"] for event in cluster.writes()[of_others:]} == {200}
    assert [line["k8s.service.name"] for line in service.logged(MOVED)] == [TOOLS[0].name]
    assert urls_in(cluster.data()) == {f"grafana.{t.namespace}.{t.name}-toolset.yaml": t.url for t in TOOLS}
