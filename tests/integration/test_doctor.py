"""`toolset doctor` on a real API server, with the rights that are shipped and with each of them taken away."""

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import anyio
import pytest
import yaml

from controlplane import ControlPlane
from deploy.manifests import KUSTOMIZE
from integration.cluster import NAMESPACE, SERVICE_ACCOUNT, TARGET, Cluster, Tool
from integration.service import TOOLSET, Service, Start, environment, plan
from support.command_line import complaints
from support.waiting import eventually, settles
from toolset.commands.doctor import Check, examine
from toolset.config.source import Source

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
ROLES: Final = {
    "clusterrole.yaml": f"{RBAC}/clusterroles/{SERVICE_ACCOUNT}",
    "role.yaml": f"{RBAC}/namespaces/{NAMESPACE}/roles/{SERVICE_ACCOUNT}",
}
LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
ELECTION: Final = {"ELECTION__ENABLED": "true"}
LOOKS: Final = ("list", "watch")
WITHIN_S: Final = 15
"""How soon the API server's authorizer has seen new rules: it follows them with a watch."""

Rules = list[dict[str, Any]]


class Right(NamedTuple):
    """One verb of one rule of a role that is shipped."""

    role: str
    rule: int
    verb: str
    resource: str


def shipped(role: str) -> Rules:
    rules: Rules = yaml.safe_load((KUSTOMIZE / "base" / role).read_text("utf-8"))["rules"]
    return rules


def rights() -> Iterator[Right]:
    for role in ROLES:
        for number, rule in enumerate(shipped(role)):
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield Right(role, number, verb, resource)


def only_says_where(stderr: str) -> bool:
    """Return whether nothing is said but which cluster is asked, and as whom."""
    return (
        re.fullmatch(r"toolset: cluster \S+ \(https://\S+\), context \S+, identity \S+\n", complaints(stderr))
        is not None
    )


def doctor(kubeconfig: str, **settings: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Return how `toolset doctor` ends, and what it says by subject."""
    command = [*TOOLSET, "doctor", "-o", "json"]
    given = environment(kubeconfig, ELECTION | settings)
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=30, check=False)
    assert only_says_where(done.stderr)
    return done.returncode, {each["subject"]: each for each in json.loads(done.stdout)}


def found(kubeconfig: str, **settings: str) -> dict[str, Check]:
    """Return what the doctor finds by subject, without a process of its own."""

    async def work() -> dict[str, Check]:
        source = Source(environment=environment(kubeconfig, ELECTION | settings))
        return {each.subject: each async for each in examine(source)}

    return anyio.run(work)


def problems(kubeconfig: str, **settings: str) -> list[str]:
    return [subject for subject, check in found(kubeconfig, **settings).items() if check.state == "problem"]


def seeing_services(verb: str) -> Rules:
    """Return the rules of the ClusterRole with one verb only on Services."""
    services, *others = shipped("clusterrole.yaml")
    assert services["resources"] == ["services"]
    return [{**services, "verbs": [verb]}, *others]


def write(plane: ControlPlane, role: str, rules: Rules) -> None:
    with plane.client() as admin:
        answer = admin.patch(
            ROLES[role], json={"rules": rules}, headers={"Content-Type": "application/merge-patch+json"}
        )
        answer.raise_for_status()


@pytest.fixture
def roles(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """Yield a control plane whose roles may be changed; they are as shipped again after the test."""
    yield control_plane
    for role in ROLES:
        write(control_plane, role, shipped(role))
    kubeconfig = str(control_plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT))
    settles(lambda: problems(kubeconfig), [], within_s=WITHIN_S)


def test_with_the_rights_that_are_shipped_there_is_no_problem_and_nothing_is_written(cluster: Cluster) -> None:
    cluster.admin.delete(f"{LEASE}/{SERVICE_ACCOUNT}")
    asked = len(cluster.requests())
    code, checks = doctor(cluster.kubeconfig())

    assert code == 0
    assert {check["state"] for check in checks.values()} == {"ok"}
    assert {check["remedy"] for check in checks.values()} == {""}
    user = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
    assert checks["credentials"]["detail"] == f"authenticated as {user}"
    assert checks["Kubernetes"]["detail"].startswith("version v1.")
    assert len([subject for subject in checks if subject.startswith("may ")]) == len([*rights()])
    written = [each for each in cluster.requests()[asked:] if each["verb"] not in {"get", "list", "watch"}]
    assert {each["objectRef"]["resource"] for each in written} == {"selfsubjectaccessreviews", "selfsubjectreviews"}


@pytest.mark.parametrize("right", [*rights()], ids=lambda right: f"{right.verb} {right.resource} {right.rule}")
def test_each_right_that_is_taken_away_is_named_alone_and_the_remedy_gives_it_back(
    roles: ControlPlane, right: Right
) -> None:
    kubeconfig = str(roles.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT))
    rules = copy.deepcopy(shipped(right.role))
    rule = rules[right.rule]
    rule["verbs"].remove(right.verb)
    write(roles, right.role, [each for each in rules if each["verbs"]])
    named = f" {rule['resourceNames'][0]}" if "resourceNames" in rule else ""
    where = "in every namespace" if right.role == "clusterrole.yaml" else f"in namespace {NAMESPACE}"
    subject = f"may {right.verb} {right.resource}{named} {where}"
    settles(lambda: problems(kubeconfig), [subject], within_s=WITHIN_S)

    remedy = found(kubeconfig)[subject].remedy
    match = re.fullmatch(r"add to the (ClusterRole|Role in namespace \S+) the rule (\{.*\})", remedy)
    assert match
    write(roles, right.role, [*[each for each in rules if each["verbs"]], yaml.safe_load(match[2])])
    settles(lambda: problems(kubeconfig), [], within_s=WITHIN_S)


def test_a_view_that_would_be_frozen_is_said_as_such(roles: ControlPlane) -> None:
    kubeconfig = str(roles.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT))
    for taken, left in (("watch", "list"), ("list", "watch")):
        write(roles, "clusterrole.yaml", seeing_services(left))
        subject = f"may {taken} services in every namespace"
        settles(lambda: problems(kubeconfig), [subject], within_s=WITHIN_S)
        detail = found(kubeconfig)[subject].detail
        assert detail.startswith(f"not allowed, while {left} is: the view would be frozen")


def test_a_service_without_a_right_names_it_once_and_goes_on_when_it_is_granted(
    roles: ControlPlane, cluster: Cluster, start: Start
) -> None:
    tool = Tool("grafana", "team-a", "grafana", 3000, "service")
    cluster.create(tool)
    write(roles, "clusterrole.yaml", seeing_services("list"))
    kubeconfig = cluster.kubeconfig()
    settles(lambda: problems(kubeconfig), ["may watch services in every namespace"], within_s=WITHIN_S)
    service = start(cluster, (tool,))

    (line,) = eventually_logged(service, "permission missing")
    rule = '{apiGroups: [""], resources: [services], verbs: [watch]}'
    assert (line["level"], line["verb"], line["resource"]) == ("error", "watch", "services")
    assert line["detail"] == "may not watch services in every namespace"
    assert line["remedy"] == f"add to the ClusterRole the rule {rule}"
    assert service.status("/livez") == 200
    ready = service.get("/readyz")
    assert ready.status_code == 503
    assert f"may not watch services in every namespace: add to the ClusterRole the rule {rule}" in str(ready.json())
    assert service.metric("toolset_permissions_missing") == 1

    write(roles, "clusterrole.yaml", shipped("clusterrole.yaml"))
    eventually(lambda: service.status("/readyz") == 200, within_s=40)
    settles(lambda: "grafana-toolset.yaml" in cluster.urls(), expected=True, within_s=5)
    eventually(lambda: service.logged("permissions complete"), within_s=40)
    assert len(service.logged("permission missing")) == 1
    assert service.metric("toolset_permissions_missing") == 0


def test_a_service_that_may_not_read_namespaces_works_and_says_so(
    roles: ControlPlane, cluster: Cluster, start: Start
) -> None:
    tool = Tool("grafana", "team-a", "grafana", 3000, "service")
    cluster.create(tool)
    write(roles, "clusterrole.yaml", shipped("clusterrole.yaml")[:1])
    kubeconfig, missing = cluster.kubeconfig(), [f"may {verb} namespaces in every namespace" for verb in LOOKS]
    settles(lambda: problems(kubeconfig), missing, within_s=WITHIN_S)
    service = start(cluster, (tool,))

    settles(cluster.urls, {"grafana-toolset.yaml": tool.url}, within_s=5)
    eventually(lambda: len(service.logged("permission missing")) == len(LOOKS), within_s=20)
    assert service.metric("toolset_reflector_failures_total", resource="namespaces") > 0
    assert (service.status("/livez"), service.status("/readyz")) == (200, 200)
    reported = plan(kubeconfig, {}, "--assume-healthy")
    assert (reported.returncode, only_says_where(reported.stderr)) == (0, True)
    cluster.delete(tool)
    settles(cluster.urls, {}, within_s=5)

    write(roles, "clusterrole.yaml", shipped("clusterrole.yaml"))
    eventually(lambda: service.logged("permissions complete"), within_s=60)
    eventually(lambda: service.metric("toolset_store_objects", resource="namespaces") > 0, within_s=70)


def eventually_logged(service: Service, message: str) -> list[dict[str, Any]]:
    eventually(lambda: service.logged(message), within_s=10)
    return service.logged(message)


def lease(cluster: Cluster, renewed: str) -> None:
    spec = {"holderIdentity": "gone", "leaseDurationSeconds": 15, "renewTime": renewed, "leaseTransitions": 3}
    cluster.admin.delete(f"{LEASE}/{SERVICE_ACCOUNT}")
    cluster.admin.post(LEASE, json={"metadata": {"name": SERVICE_ACCOUNT}, "spec": spec}).raise_for_status()


def test_a_lease_whose_holder_is_gone_is_a_problem(cluster: Cluster) -> None:
    lease(cluster, "2025-01-01T00:00:00.000000Z")
    subject = f"Lease {NAMESPACE}/{SERVICE_ACCOUNT}"
    code, checks = doctor(cluster.kubeconfig(), ELECTION__RETRY_PERIOD="100ms")
    assert (code, checks[subject]["state"]) == (1, "problem")
    assert "gone renewed it" in checks[subject]["detail"]
    assert "there is no leader" in checks[subject]["detail"]
    cluster.admin.delete(f"{LEASE}/{SERVICE_ACCOUNT}").raise_for_status()


def test_a_leader_next_to_a_service_without_an_election_is_a_problem(cluster: Cluster, start: Start) -> None:
    cluster.admin.delete(f"{LEASE}/{SERVICE_ACCOUNT}")
    service = start(cluster, (), **ELECTION)
    eventually(lambda: service.logged("leadership taken"), within_s=10)
    subject = f"Lease {NAMESPACE}/{SERVICE_ACCOUNT}"
    check = found(cluster.kubeconfig())[subject]
    assert (check.state, "holds it; renewed " in check.detail) == ("ok", True)
    assert problems(cluster.kubeconfig(), ELECTION__ENABLED="false") == [subject]


def test_another_installation_on_the_same_config_map_is_a_problem(cluster: Cluster, start: Start) -> None:
    start(cluster, (), OUTPUT__INSTANCE="blue")
    eventually(cluster.data, within_s=10)
    subject = f"ConfigMap {NAMESPACE}/{TARGET.rpartition('/')[2]}"
    assert problems(cluster.kubeconfig(), OUTPUT__INSTANCE="green") == [subject]
    assert problems(cluster.kubeconfig()) == [subject]  # an empty name is a name too
    assert found(cluster.kubeconfig(), OUTPUT__INSTANCE="blue")[subject].detail == "owned by the installation blue"


def test_a_namespace_that_is_not_there_is_a_problem_where_it_can_be_seen(cluster: Cluster) -> None:
    admin = str(cluster.plane.kubeconfig)
    assert problems(admin, TARGET__NAMESPACE="nowhere") == ["namespace nowhere"]
    assert problems(admin) == []


def test_credentials_that_are_refused_are_a_problem_and_nothing_else_is_asked(cluster: Cluster) -> None:
    broken = cluster.plane.audit_log.with_name("refused.kubeconfig")
    broken.write_text(cluster.plane.kubeconfig.read_text("utf-8").replace(cluster.plane.admin_token, "wrong"))
    assert problems(str(broken)) == ["credentials"]
    assert [*found(str(broken))][-1] == "credentials"


def test_an_api_server_that_is_away_is_a_problem_and_nothing_else_is_asked(cluster: Cluster) -> None:
    away = cluster.plane.audit_log.with_name("away.kubeconfig")
    away.write_text(cluster.plane.kubeconfig.read_text("utf-8").replace(cluster.plane.url, "https://127.0.0.1:9"))
    assert problems(str(away)) == ["API server"]
    assert [*found(str(away))] == ["settings", "API server"]


def test_the_doctor_speaks_to_people_too(cluster: Cluster) -> None:
    given = environment(cluster.kubeconfig(), ELECTION)
    done = subprocess.run([*TOOLSET, "doctor"], env=given, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, only_says_where(done.stderr)) == (0, True)
    lines = done.stdout.splitlines()
    assert lines[0] == "ok       settings: defaults and environment: valid"
    assert lines[-1] == f"{len(lines) - 2} checks, no problem"
