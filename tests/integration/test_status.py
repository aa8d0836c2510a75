"""The status of the real service against a real API server: what it says, and to whom."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trustme

from integration.cluster import NAMESPACE, SERVICE_ACCOUNT, Cluster, Tool
from integration.service import TOOLSET, Service, Start, environment
from support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

HERE: Final = Tool("grafana below /a and /b", "team-a", "grafana", 3000, "service", labels={"app": "grafana"})
UNHEALTHY: Final = Tool("nothing", "team-a", "failing", 3000, "service", labels={"app": "grafana"})
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
READER: Final = "toolset-status-reader"
REVOKED_WITHIN_S: Final = 60


def address(service: Service) -> str:
    eventually(lambda: service.logged("status served"), within_s=10)
    return str(service.logged("status served")[0]["address"])


def status_of(service: Service, path: str) -> dict[str, Any]:
    answer = httpx.get(f"http://{address(service)}/api/v1/{path}", trust_env=False).raise_for_status()
    content: dict[str, Any] = answer.json()
    return content


def test_the_status_says_what_the_config_map_holds(cluster: Cluster, start: Start) -> None:
    cluster.create(HERE, UNHEALTHY)
    service = start(cluster, (HERE, UNHEALTHY))
    eventually(lambda: cluster.urls() and status_of(service, "status")["write"], within_s=15)
    tools = status_of(service, "tools")["tools"]
    assert [each["url"] for each in tools] == sorted(cluster.urls().values())
    assert tools[0]["probe"]["outcome"] == "alive"
    assert {key: status_of(service, "toolsets")["documents"][key] for key in cluster.data()} == cluster.data()
    eventually(
        lambda: status_of(service, "services/team-a/failing")["verdict"] in {"Unhealthy", "IdentityMismatch"},
        within_s=15,
    )
    done = subprocess.run(
        [*TOOLSET, "status", "--server", f"http://{address(service)}"],
        env=environment(cluster.kubeconfig(), {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, "team-a/grafana" in done.stdout) == (0, True), done.stderr


class Readers:
    """ServiceAccounts with tokens, and a role for the status."""

    def __init__(self, admin: httpx.Client) -> None:
        self._admin = admin
        self._made: list[str] = []

    def make(self, collection: str, body: dict[str, object]) -> None:
        name = body["metadata"]["name"]  # type: ignore[index]
        answer = self._admin.post(collection, json=body)
        assert answer.status_code in {201, 409}, answer.text
        self._made.append(f"{collection}/{name}")

    def token(self, name: str) -> dict[str, str]:
        """Return the header with a token of a ServiceAccount."""
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        self.make(accounts, {"metadata": {"name": name}})
        answer = self._admin.post(f"{accounts}/{name}/token", json={"spec": {"expirationSeconds": 600}})
        return {"Authorization": f"Bearer {answer.raise_for_status().json()['status']['token']}"}

    def bind(self, name: str, role: str, account: str, namespace: str) -> str:
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
        self.make(
            f"{RBAC}/clusterrolebindings", {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
        )
        return f"{RBAC}/clusterrolebindings/{name}"

    def clean(self) -> None:
        for path in self._made:
            self._admin.delete(path)


@pytest.fixture
def readers(cluster: Cluster) -> Iterator[Readers]:
    made = Readers(cluster.admin)
    yield made
    made.clean()


def test_a_token_and_the_right_are_needed_and_a_revoked_right_counts_within_a_minute(
    cluster: Cluster, start: Start, readers: Readers, tmp_path: Path
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    (tmp_path / "ca.crt").write_bytes(authority.cert_pem.bytes())
    (tmp_path / "tls.crt").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    (tmp_path / "tls.key").write_bytes(certificate.private_key_pem.bytes())
    readers.bind("toolset-status-delegator", "system:auth-delegator", SERVICE_ACCOUNT, NAMESPACE)
    rule = {"nonResourceURLs": ["/toolset-status/*"], "verbs": ["get"]}
    readers.make(f"{RBAC}/clusterroles", {"metadata": {"name": READER}, "rules": [rule]})
    ada, bob = readers.token("ada"), readers.token("bob")
    binding = readers.bind("toolset-status-ada", READER, "ada", "default")
    service = start(
        cluster,
        (),
        STATUS__AUTH="kubernetes",
        STATUS__TLS_CERT_FILE=str(tmp_path / "tls.crt"),
        STATUS__TLS_KEY_FILE=str(tmp_path / "tls.key"),
    )
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    with httpx.Client(base_url=f"https://{address(service)}", verify=context, trust_env=False) as client:

        def code(headers: dict[str, str]) -> int:
            return client.get("/api/v1/status", headers=headers).status_code

        assert code({}) == 401
        assert code({"Authorization": "Bearer nonsense"}) == 401
        eventually(lambda: code(ada) == 200, within_s=20)  # the API server's authorizer follows new rules with a watch
        assert code(bob) == 403  # although every authenticated user may get /api/* of the API server
        assert client.get("/", headers=ada).status_code == 200
        cluster.admin.delete(binding).raise_for_status()
        eventually(lambda: code(ada) == 403, within_s=REVOKED_WITHIN_S)
