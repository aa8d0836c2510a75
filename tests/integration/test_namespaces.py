"""A ServiceAccount that may see two namespaces only: one watch for each, one view."""

import signal
from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from integration.cluster import NAMESPACE, Cluster, Tool, expected_urls
from integration.service import Service
from support.waiting import settles

pytestmark = pytest.mark.integration

ACCOUNT: Final = "narrow"
SEEN: Final = ("seen-a", "seen-b")
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1/namespaces"
SUBJECT: Final = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}
TOOLS: Final = tuple(
    Tool("nothing", namespace, "grafana", 3000, "service", labels={"app": "grafana"}) for namespace in (*SEEN, "unseen")
)


def allow(cluster: Cluster, namespace: str, role: Mapping[str, object]) -> None:
    """Give the ServiceAccount ``role`` in ``namespace``."""
    name = {"metadata": {"name": ACCOUNT}}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT}
    for kind, body in (("roles", role), ("rolebindings", {"roleRef": reference, "subjects": [SUBJECT]})):
        answer = cluster.admin.post(f"{RBAC}/{namespace}/{kind}", json={**name, **body})
        assert answer.status_code in {201, 409}, answer.text


@pytest.fixture
def narrow(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    assert cluster.admin.post(accounts, json={"metadata": {"name": ACCOUNT}}).status_code in {201, 409}
    cluster.create(*TOOLS)
    services = {"rules": [{"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]}]}
    for namespace in SEEN:
        allow(cluster, namespace, services)
    config_maps = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch", "create", "patch"]}
    allow(cluster, NAMESPACE, {"rules": [config_maps]})
    settings = {"DISCOVERY__WATCH_NAMESPACES": f"[{', '.join(SEEN)}]", "HEALTH__ENABLED": "false"}
    kubeconfig = str(cluster.plane.service_account_kubeconfig(NAMESPACE, ACCOUNT))
    service = Service(kubeconfig, tmp_path_factory.mktemp("narrow") / "log", settings)
    yield service
    service.end(signal.SIGTERM)
    service.close()
    assert service.bugs() == []


def test_namespaces_are_followed_one_by_one_where_rbac_allows_no_more(cluster: Cluster, narrow: Service) -> None:
    settles(cluster.urls, expected_urls("grafana", TOOLS[:2]), within_s=10)
    assert narrow.status("/readyz") == 200
    cluster.delete(TOOLS[0])
    settles(cluster.urls, expected_urls("grafana", TOOLS[1:2]), within_s=5)
