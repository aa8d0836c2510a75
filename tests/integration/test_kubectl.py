"""What kubectl does, it does on the embedded cluster as on a real one: get, apply, edit, annotate, delete, watch."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
from anyio.from_thread import start_blocking_portal

from controlplane import ControlPlane
from integration.signatures import Signature, noted
from toolset.sim import EmbeddedCluster
from toolset.sim.discovery import DOCUMENTS

pytestmark = pytest.mark.integration

NAMESPACE: Final = "kubectl"
NAMESPACE_GONE: Final = Signature("delete", "namespaces", "", (), 200)
"""The one request that the table lacks: a real server without controllers never gets rid of a Namespace."""
MANIFEST: Final = """
apiVersion: v1
kind: Service
metadata: {{name: grafana, labels: {{app: grafana}}}}
spec: {{selector: {{app: grafana}}, ports: [{{name: service, port: {port}}}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: notes}}
data: {{{data}}}
"""


class Kubectl(Protocol):
    """Runs kubectl; returns what it prints."""

    def __call__(self, *arguments: str, given: str = "", fails: bool = False, **variables: str) -> str: ...


@pytest.fixture
def embedded(answered: set[Signature], tmp_path: Path) -> Iterator[Path]:
    """Yield the kubeconfig of an embedded cluster, of which nothing is asked that the differential table lacks."""
    file = tmp_path / "kubeconfig"
    with noted() as made, start_blocking_portal("asyncio") as portal:
        running = portal.wrap_async_context_manager(EmbeddedCluster())
        with running as cluster:
            file.write_text(cluster.kubeconfig(), encoding="utf-8")
            yield file
    documents = {each for each in made if each.resource in {*DOCUMENTS, "/openapi/v2"}}  # the old one is not there
    assert made - documents - {NAMESPACE_GONE} - answered == set()


@pytest.fixture(params=["embedded", "real"])
def command(request: pytest.FixtureRequest, assets: Path, tmp_path: Path) -> list[str]:
    """Return how to call kubectl for one of the two."""
    if request.param == "real":
        plane: ControlPlane = request.getfixturevalue("control_plane")
        kubeconfig = plane.kubeconfig
    else:
        kubeconfig = request.getfixturevalue("embedded")
    options = [f"--kubeconfig={kubeconfig}", f"--cache-dir={tmp_path / 'cache'}", f"--namespace={NAMESPACE}"]
    return [str(assets / "kubectl"), *options]


@pytest.fixture
def kubectl(command: list[str]) -> Iterator[Kubectl]:
    def run(*arguments: str, given: str = "", fails: bool = False, **variables: str) -> str:
        environment = {"PATH": os.environ["PATH"], **variables}
        done = subprocess.run(
            [*command, *arguments], input=given, capture_output=True, text=True, check=False, env=environment
        )
        assert bool(done.returncode) == fails, done.stderr
        return done.stderr if fails else done.stdout

    run("apply", "-f", "-", given=f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}")
    yield run
    run("delete", "svc/grafana", "cm/notes", "--ignore-not-found")


def _object(kubectl: Kubectl, *what: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("get", *what, "-o", "json"))
    return found


def _ports(kubectl: Kubectl) -> list[int]:
    return [port["port"] for port in _object(kubectl, "svc", "grafana")["spec"]["ports"]]


def test_get_shows_what_is_there(kubectl: Kubectl) -> None:
    assert {"namespace/default", f"namespace/{NAMESPACE}"} <= {*kubectl("get", "ns", "-o", "name").split()}
    assert "service/kubernetes" in kubectl("get", "svc", "-A", "-o", "name")
    assert kubectl("get", "svc,cm,lease,events.events.k8s.io", "-o", "name").split() in (
        [],
        ["configmap/kube-root-ca.crt"],
    )
    assert kubectl("get", "cm", "notes", fails=True) == 'Error from server (NotFound): configmaps "notes" not found\n'


SHOWN: Final = {
    "svc": "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE\ngrafana ClusterIP <ip> <none> 3000/TCP <age>\n",
    "svc -o wide": (
        "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR\n"
        "grafana ClusterIP <ip> <none> 3000/TCP <age> app=grafana\n"
    ),
    "cm notes": "NAME DATA AGE\nnotes 2 <age>\n",
    f"ns {NAMESPACE}": f"NAME STATUS AGE\n{NAMESPACE} Active <age>\n",
    "lease": "NAME HOLDER AGE\nlock a <age>\n",
    "events.events.k8s.io": (
        "LAST SEEN TYPE REASON OBJECT MESSAGE\n<age> Normal Published configmap/notes something happened\n"
    ),
}
MORE: Final = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: other}}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {{name: lock}}
spec: {{holderIdentity: a}}
---
apiVersion: events.k8s.io/v1
kind: Event
metadata: {{name: happened}}
eventTime: "2025-01-01T00:00:00.000000Z"
reportingController: example.org/reporter
reportingInstance: pod
type: Normal
reason: Published
action: Publish
note: something happened
regarding: {{apiVersion: v1, kind: ConfigMap, namespace: {NAMESPACE}, name: notes, uid: UID}}
"""


@pytest.fixture
def stocked(kubectl: Kubectl) -> Iterator[Kubectl]:
    """Yield kubectl on a cluster that has an object of each kind."""
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one, b: two"))
    kubectl("create", "-f", "-", given=MORE.replace("UID", _object(kubectl, "cm", "notes")["metadata"]["uid"]))
    yield kubectl
    kubectl("delete", "cm/other", "lease/lock", "events.events.k8s.io/happened")


@pytest.mark.parametrize("what", SHOWN)
def test_get_prints_the_columns_of_a_kind(stocked: Kubectl, what: str) -> None:
    printed = stocked("get", *what.split())
    lines = [" ".join(line.split()) for line in printed.splitlines() if "kubernetes" not in line]
    text = re.sub(r"(?<= )10\.\d+\.\d+\.\d+(?= )", "<ip>", "\n".join(lines) + "\n")
    assert re.sub(r"\b\d+[smhdy](?:\d+[smhd])?(?= |\n)", "<age>", text) == SHOWN[what]


def test_describe_shows_the_events_of_an_object(stocked: Kubectl) -> None:
    found = stocked("describe", "cm", "notes")
    assert found.startswith(f"Name:         notes\nNamespace:    {NAMESPACE}\n")
    kind, reason, _age, *rest = found.split()[-6:]
    assert (kind, reason, rest) == ("Normal", "Published", ["example.org/reporter", "something", "happened"])
    assert stocked("describe", "cm", "other").endswith("Events:  <none>\n")


def test_watch_prints_a_row_for_each_change(command: list[str], kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    with subprocess.Popen([*command, "get", "cm", "notes", "--watch"], stdout=subprocess.PIPE, text=True) as watch:
        try:
            assert watch.stdout is not None
            seen = [watch.stdout.readline().split()[:2] for _ in range(2)]
            kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one, b: two"))
            seen.append(watch.stdout.readline().split()[:2])
        finally:
            watch.terminate()
    assert seen == [["NAME", "DATA"], ["notes", "1"], ["notes", "2"]]


def test_apply_creates_changes_and_leaves_alone(kubectl: Kubectl) -> None:
    first = MANIFEST.format(port=3000, data="a: one, b: two")
    assert kubectl("apply", "-f", "-", given=first) == "service/grafana created\nconfigmap/notes created\n"
    second = MANIFEST.format(port=80, data="a: three")
    assert kubectl("apply", "-f", "-", given=second) == "service/grafana configured\nconfigmap/notes configured\n"
    assert kubectl("apply", "-f", "-", given=second) == "service/grafana unchanged\nconfigmap/notes unchanged\n"
    assert _ports(kubectl) == [80]
    assert _object(kubectl, "cm", "notes")["data"] == {"a": "three"}


def test_apply_is_refused_where_data_is_no_text(kubectl: Kubectl) -> None:
    refused = kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: 1"), fails=True)
    assert "BadRequest" in refused


def test_server_side_apply_refuses_what_others_own_unless_forced(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    kubectl("edit", "cm", "notes", EDITOR="sed -i s/one/mine/")
    again = MANIFEST.format(port=3000, data="a: two")

    refused = kubectl("apply", "--server-side", "-f", "-", given=again, fails=True)
    assert 'error: Apply failed with 1 conflict: conflict with "kubectl-edit" using v1: .data.a' in refused

    forced = kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=again)
    assert forced == "service/grafana serverside-applied\nconfigmap/notes serverside-applied\n"
    assert _object(kubectl, "cm", "notes")["data"] == {"a": "two"}
    kubectl("apply", "--server-side", "-f", "-", given=MANIFEST.format(port=80, data="b: two"))
    assert _ports(kubectl) == [80]
    assert _object(kubectl, "cm", "notes")["data"] == {"b": "two"}


def test_edit_saves_what_the_editor_leaves(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    assert kubectl("edit", "cm", "notes", EDITOR="sed -i s/one/two/") == "configmap/notes edited\n"
    assert _object(kubectl, "cm", "notes")["data"] == {"a": "two"}
    assert kubectl("edit", "svc", "grafana", EDITOR="sed -i s/3000/3001/") == "service/grafana edited\n"
    assert _ports(kubectl) == [3001]


def test_annotate_changes_one_thing(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    kubectl("annotate", "svc", "grafana", "kubernaut.io/toolset=disabled")
    service = _object(kubectl, "svc", "grafana")
    assert service["metadata"]["annotations"]["kubernaut.io/toolset"] == "disabled"
    assert service["metadata"]["labels"] == {"app": "grafana"}


def test_delete_waits_until_it_is_gone(kubectl: Kubectl) -> None:
    manifest = MANIFEST.format(port=3000, data="a: one")
    kubectl("apply", "-f", "-", given=manifest)
    assert kubectl("delete", "-f", "-", given=manifest).split()[:2] == ["service", '"grafana"']
    assert '(NotFound): error when deleting "STDIN": services "grafana"' in kubectl(
        "delete", "-f", "-", given=manifest, fails=True
    )


def test_watch_reports_each_change(command: list[str], kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    watching = [*command, "get", "cm", "notes", "--watch", "-o", 'jsonpath={.data.a}{"\\n"}']
    with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True) as watch:
        try:
            seen: list[str] = []
            assert watch.stdout is not None
            seen.append(watch.stdout.readline())
            kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: two"))
            seen.append(watch.stdout.readline())
            kubectl("delete", "cm", "notes")
            seen.append(watch.stdout.readline())
        finally:
            watch.terminate()
    assert seen == ["one\n", "two\n", "two\n"]


@pytest.mark.parametrize("command", ["embedded"], indirect=True)
def test_a_namespace_goes_with_all_that_is_in_it(kubectl: Kubectl) -> None:
    """A real one needs a controller for that."""
    kubectl("apply", "-f", "-", given=MANIFEST.format(port=3000, data="a: one"))
    assert kubectl("delete", "ns", NAMESPACE) == f'namespace "{NAMESPACE}" deleted\n'
    assert kubectl("get", "cm", "-A", "-o", "name") == ""
