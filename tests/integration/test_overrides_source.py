"""A deleted ConfigMap does not delete what the admin decided, and a ConfigMap of the admin's own is only read."""

from collections.abc import Iterator
from typing import Final

import pytest
import yaml

from integration.cluster import (
    CONFIG_MAPS,
    NAMESPACE,
    SERVICE_ACCOUNT,
    TARGET,
    AuditTail,
    Cluster,
    boards,
    expected_urls,
)
from integration.demands import applied, urls_of
from integration.service import Start
from support.waiting import eventually, settles

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

BOARDS: Final = boards("grafana below /a and /b", 2)
HIDES: Final = f"suppress: [{BOARDS[0].namespace}/{BOARDS[0].name}]\n"
SHOWN: Final = expected_urls("grafana", BOARDS[1:])
MINE: Final = "toolset-overrides"
ROLES: Final = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
QUICK: Final = {"CONTROLLER__RETRY_CAP": "1s"}


def put(cluster: Cluster, key: str, text: str | None) -> None:
    cluster.edit(**{key: text})


def reasons(cluster: Cluster) -> set[str]:
    events = cluster.admin.get(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events").json()["items"]
    return {event["reason"] for event in events}


def test_a_tool_that_the_admin_hid_stays_hidden_when_the_config_map_is_deleted(cluster: Cluster, start: Start) -> None:
    cluster.create(*BOARDS)
    service = start(cluster, BOARDS)
    settles(cluster.urls, expected_urls("grafana", BOARDS), within_s=10)
    put(cluster, "overrides.yaml", HIDES)
    settles(cluster.urls, SHOWN, within_s=5)
    audit = AuditTail(cluster.plane, "kubernaut-toolset-config")
    cluster.admin.delete(TARGET).raise_for_status()
    settles(cluster.urls, SHOWN, within_s=5)
    assert "overrides.yaml" not in cluster.data()
    annotations = cluster.admin.get(TARGET).json()["metadata"]["annotations"]
    assert annotations["kubernaut.io/overrides-in-force"] == HIDES
    assert "was deleted with overrides.yaml" in annotations["kubernaut.io/overrides-error"]
    eventually(lambda: "OverridesDeleted" in reasons(cluster), within_s=10)
    assert service.logged("overrides deleted; those that were in force stay")

    service.terminate()
    assert service.wait(within_s=15) == 0
    again = start(cluster, BOARDS)
    eventually(lambda: again.logged("overrides deleted; those that were in force stay"), within_s=10)
    assert cluster.urls() == SHOWN
    assert not [event for event in audit.read() if (data := applied(event)) and BOARDS[0].url in urls_of(data)]

    put(cluster, "overrides.yaml", "")
    settles(cluster.urls, expected_urls("grafana", BOARDS), within_s=5)
    assert "kubernaut.io/overrides-kept" not in cluster.admin.get(TARGET).json()["metadata"]["annotations"]


@pytest.fixture
def role(cluster: Cluster) -> Iterator[dict[str, object]]:
    """Yield the Role and the RoleBinding of the component, which the test grants; both are removed after it."""
    name = {"name": "toolset-overrides"}
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [MINE], "verbs": ["get", "list", "watch"]}
    ]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", **name}
    subject = {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": NAMESPACE}
    yield {
        "roles": {"metadata": name, "rules": rules},
        "rolebindings": {"metadata": name, "roleRef": reference, "subjects": [subject]},
    }
    for path in (
        f"{ROLES}/rolebindings/toolset-overrides",
        f"{ROLES}/roles/toolset-overrides",
        f"{CONFIG_MAPS}/{MINE}",
    ):
        cluster.admin.delete(path)


def test_overrides_are_read_from_a_config_map_of_the_admins_own(
    cluster: Cluster, start: Start, role: dict[str, object]
) -> None:
    cluster.create(*BOARDS)
    service = start(cluster, BOARDS, OUTPUT__OVERRIDES_FROM=MINE, **QUICK)
    eventually(lambda: "overrides: " in service.get("/readyz").text, within_s=10)
    eventually(lambda: f"resourceNames: [{MINE}], verbs: [list]" in service.get("/readyz").text, within_s=20)
    for kind, body in role.items():
        cluster.admin.post(f"{ROLES}/{kind}", json=body).raise_for_status()

    eventually(lambda: "nothing is written, because `output.overrides_from` names" in service.get("/readyz").text, 30)
    assert cluster.data() == {}
    body = {"metadata": {"name": MINE}, "data": {"overrides.yaml": HIDES}}
    cluster.admin.post(CONFIG_MAPS, json=body).raise_for_status()
    settles(cluster.urls, SHOWN, within_s=5)
    eventually(lambda: service.status("/readyz") == 200, within_s=5)

    cluster.admin.delete(TARGET).raise_for_status()
    settles(cluster.urls, SHOWN, within_s=5)
    assert service.logged("overrides deleted; those that were in force stay") == []

    cluster.admin.delete(f"{CONFIG_MAPS}/{MINE}").raise_for_status()
    eventually(lambda: service.logged("overrides deleted; those that were in force stay"), within_s=5)
    assert cluster.urls() == SHOWN
    noted = "kubernaut.io/overrides-in-force"
    eventually(lambda: noted in cluster.admin.get(TARGET).json()["metadata"]["annotations"], within_s=5)
    assert yaml.safe_load(cluster.admin.get(TARGET).json()["metadata"]["annotations"][noted])
    assert {event["objectRef"].get("name") for event in cluster.writes()} <= {"kubernaut-toolset-config"}
