"""What a reader of the demo may try with kubectl works on the embedded cluster."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
from anyio.from_thread import start_blocking_portal

from toolset.sim import EmbeddedCluster

pytestmark = pytest.mark.integration

MANIFEST: Final = """
apiVersion: v1
kind: Service
metadata: {{name: grafana, namespace: monitoring, labels: {{app: grafana}}}}
spec: {{selector: {{app: grafana}}, ports: [{{name: service, port: {port}}}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: notes, namespace: monitoring}}
data: {{{data}}}
"""


class Kubectl(Protocol):
    """Runs kubectl; returns what it prints."""

    def __call__(self, *arguments: str, given: str = "", **variables: str) -> str: ...


@pytest.fixture
def embedded() -> Iterator[EmbeddedCluster]:
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(EmbeddedCluster()) as running:
        portal.call(lambda: running.create("Namespace", {"metadata": {"name": "monitoring"}}))
        yield running


@pytest.fixture
def command(assets: Path, embedded: EmbeddedCluster, tmp_path: Path) -> list[str]:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(embedded.kubeconfig("monitoring"), encoding="utf-8")
    return [str(assets / "kubectl"), f"--kubeconfig={kubeconfig}", f"--cache-dir={tmp_path / 'cache'}"]


@pytest.fixture
def kubectl(command: list[str]) -> Kubectl:
    def run(*arguments: str, given: str = "", **variables: str) -> str:
        environment = {"PATH": os.environ["PATH"], **variables}
        done = subprocess.run(
            [*command, *arguments], input=given, capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def _object(kubectl: Kubectl, *what: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("get", *what, "-o", "json"))
    return found


def test_get_shows_what_is_there(kubectl: Kubectl) -> None:
    assert kubectl("get", "ns", "-o", "name").split() == [
        "namespace/default",
        "namespace/kube-node-lease",
        "namespace/kube-public",
        "namespace/kube-system",
        "namespace/monitoring",
    ]
    assert "kubernetes" in kubectl("get", "svc", "-A")
    assert kubectl("get", "cm,lease,events", "-A") == ""


def test_apply_creates_changes_and_leaves_alone(kubectl: Kubectl) -> None:
    first = MANIFEST.format(port=3000, data="a: one, b: two")
    assert kubectl("apply", "-f", "-", given=first).split("\n")[:2] == [
        "service/grafana created",
        "configmap/notes created",
    ]
    second = MANIFEST.format(port=80, data="a: three")
    assert "service/grafana configured" in kubectl("apply", "-f", "-", given=second)
    assert "service/grafana unchanged" in kubectl("apply", "-f", "-", given=second)
    assert [port["port"] for port in _object(kubectl, "svc", "grafana")["spec"]["ports"]] == [80]
    assert _object(kubectl, "cm", "notes")["data"] == {"a": "three"}


def test_server_side_apply_refuses_what_others_own_unless_forced(kubectl: Kubectl, command: list[str]) -> None:
    kubectl("apply", "--server-side", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    kubectl("patch", "cm", "notes", "--type=merge", "-p", '{"data": {"a": "mine"}}')
    again = MANIFEST.format(port=3000, data="a: two")

    refused = subprocess.run(
        [*command, "apply", "--server-side", "-f", "-"], input=again, capture_output=True, text=True, check=False
    )
    assert 'conflict with "kubectl-patch" using v1: .data.a' in refused.stderr

    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=again)
    assert _object(kubectl, "cm", "notes")["data"] == {"a": "two"}


def test_apply_can_change_over_to_the_server(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one, b: two"))
    kubectl("apply", "--server-side", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    assert _object(kubectl, "cm", "notes")["data"] == {"a": "one"}


def test_edit_saves_what_the_editor_leaves(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    assert "configmap/notes edited" in kubectl("edit", "cm", "notes", EDITOR="sed -i s/one/two/")
    assert _object(kubectl, "cm", "notes")["data"] == {"a": "two"}
    assert "service/grafana edited" in kubectl("edit", "svc", "grafana", EDITOR="sed -i s/3000/3001/")
    assert [port["port"] for port in _object(kubectl, "svc", "grafana")["spec"]["ports"]] == [3001]


def test_annotate_label_and_patch_change_one_thing(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    kubectl("annotate", "svc", "grafana", "kubernaut.io/toolset=disabled")
    kubectl("label", "svc", "grafana", "app=other", "--overwrite")
    kubectl("patch", "svc", "grafana", "-p", '{"spec": {"ports": [{"port": 3000, "name": "web"}]}}')
    service = _object(kubectl, "svc", "grafana")
    assert service["metadata"]["annotations"]["kubernaut.io/toolset"] == "disabled"
    assert service["metadata"]["labels"] == {"app": "other"}
    assert [port["name"] for port in service["spec"]["ports"]] == ["web"]


def test_describe_and_selectors_find_it(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    assert "3000/TCP" in kubectl("describe", "svc", "grafana")
    assert kubectl("get", "svc", "-l", "app=grafana", "-o", "name") == "service/grafana\n"
    assert kubectl("get", "svc", "-l", "app!=grafana", "-o", "name") == ""
    assert kubectl("get", "cm", "--field-selector=metadata.name=notes", "-o", "name") == "configmap/notes\n"


def test_delete_waits_until_it_is_gone(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    assert 'service "grafana" deleted' in kubectl("delete", "svc", "grafana")
    assert 'namespace "monitoring" deleted' in kubectl("delete", "ns", "monitoring")
    assert kubectl("get", "cm", "-A", "-o", "name") == ""


def test_watch_tells_each_change(command: list[str], kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    watching = [*command, "get", "cm", "notes", "--watch", "-o", 'jsonpath={.data.a}{"\\n"}']
    with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True) as watch:
        try:
            seen: list[str] = []
            assert watch.stdout is not None
            seen.append(watch.stdout.readline())
            kubectl("patch", "cm", "notes", "--type=merge", "-p", '{"data": {"a": "two"}}')
            seen.append(watch.stdout.readline())
            kubectl("delete", "cm", "notes")
            seen.append(watch.stdout.readline())
        finally:
            watch.terminate()
    assert seen == ["one\n", "two\n", "two\n"]
