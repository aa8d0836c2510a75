"""The ServiceAccount may do what the documents say, on a real API server, and nothing else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
import yaml

from controlplane import ControlPlane
from deploy.manifests import NAME, NAMESPACE, TARGET, built, overlay, table, with_components
from support.waiting import settles

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

RBAC: Final = frozenset({"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"})
CLUSTER: Final = "cluster"
ELSEWHERE: Final = "elsewhere"
NAMESPACES: Final = (ELSEWHERE, NAMESPACE, "monitoring", "holmes")
GROUPS: Final = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated")
UNBOUND: Final = "unbound"
VERBS: Final = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate", "*")
NAMED: Final = {"configmaps": TARGET, "leases": NAME}
WITHIN_S: Final = 10
"""How soon the API server's authorizer has seen new rules: it follows them with a watch."""
REVIEWS: Final = "/apis/authorization.k8s.io/v1"


class Right(NamedTuple):
    """One verb on one kind of thing."""

    where: str
    group: str
    resource: str
    name: str
    verb: str


def documented(*headings: str) -> set[Right]:
    """Return the rights that docs/install.md grants below ``headings``."""
    return {
        Right(where, group, resource, name, verb)
        for heading in headings
        for where, group, resources, name, verbs in table("install.md", heading)
        for resource in resources.split(", ")
        for verb in verbs.split(", ")
    }


EVERYWHERE: Final = documented("Permissions")
CASES: Final = {
    (): EVERYWHERE,
    ("status",): EVERYWHERE | documented("Permissions with `status`"),
    ("namespaced",): {right for right in EVERYWHERE if right.where != CLUSTER}
    | documented("Permissions with `namespaced`"),
    ("holmes-integration",): {
        right._replace(where="holmes") if right.where == NAMESPACE else right for right in EVERYWHERE
    },
    ("overrides-configmap",): EVERYWHERE | documented("Permissions with `overrides-configmap`"),
    ("consumer-reload",): EVERYWHERE | documented("Permissions with `consumer-reload`"),
}


@pytest.fixture(params=CASES, ids=lambda components: components[0] if components else "base")
def granted(request: pytest.FixtureRequest, plane: ControlPlane, tmp_path: Path) -> Iterator[set[Right]]:
    """Apply the RBAC of the base, with or without a component; yield what it should grant."""
    folder = with_components(tmp_path, request.param) if request.param else overlay("base")
    names = [*NAMESPACES[:1], *NAMESPACES[2:]]
    others = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]
    others += [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": UNBOUND, "namespace": NAMESPACE}}]
    wanted = [thing for thing in built(folder) if thing["kind"] in RBAC | {"Namespace"}]
    plane.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all([*wanted, *others]))
    yield CASES[request.param]
    kinds = "roles,rolebindings,clusterroles,clusterrolebindings"
    for namespace in NAMESPACES:
        plane.kubectl("-n", namespace, "delete", "--ignore-not-found", kinds, "-l", f"app.kubernetes.io/name={NAME}")


def rules(plane: ControlPlane, account: str, namespace: str) -> set[Right]:
    """Return what the API server says that a ServiceAccount may do in ``namespace``."""
    with plane.client(plane.service_account_token(NAMESPACE, account)) as client:
        asked = client.post(f"{REVIEWS}/selfsubjectrulesreviews", json={"spec": {"namespace": namespace}})
    status = asked.raise_for_status().json()["status"]
    assert not status["incomplete"]
    return {
        Right(namespace, *each)
        for rule in status["resourceRules"]
        for each in product(rule["apiGroups"], rule["resources"], rule.get("resourceNames", [""]), rule["verbs"])
    } | {
        Right(namespace, "", path, "", verb)
        for rule in status["nonResourceRules"]
        for path, verb in product(rule["nonResourceURLs"], rule["verbs"])
    }


def in_force(plane: ControlPlane) -> set[Right]:
    """Return what the ServiceAccount may do in any namespace beyond what one without a binding may."""
    found: set[Right] = set()
    for namespace in NAMESPACES:
        found |= rules(plane, NAME, namespace) - rules(plane, UNBOUND, namespace)
    everywhere = {right._replace(where=CLUSTER) for right in found if right.where == ELSEWHERE}
    return everywhere | {right for right in found if right._replace(where=CLUSTER) not in everywhere}


def test_the_rules_are_the_documented_ones(plane: ControlPlane, granted: set[Right]) -> None:
    settles(lambda: in_force(plane), granted, within_s=WITHIN_S)


def resources(admin: httpx.Client) -> Iterator[tuple[str, str, bool]]:
    """Yield group, resource (or resource/subresource) and whether it is in namespaces, of all that is served."""
    groups: list[dict[str, Any]] = admin.get("/apis").raise_for_status().json()["groups"]
    paths = {f"/apis/{version['groupVersion']}": group["name"] for group in groups for version in group["versions"]}
    for path, group in {"/api/v1": "", **paths}.items():
        for each in admin.get(path).raise_for_status().json()["resources"]:
            yield group, each["name"], each["namespaced"]


def questions(admin: httpx.Client) -> list[Right]:
    """Return every right that somebody could have: each verb on each resource, in our namespace, another, and all."""
    asked: set[Right] = set()
    for group, resource, namespaced in resources(admin):
        names = ("", "other", NAMED[resource]) if resource in NAMED else ("",)
        places = (ELSEWHERE, NAMESPACE, CLUSTER) if namespaced else (CLUSTER,)
        asked |= {Right(place, group, resource, name, verb) for place, name, verb in product(places, names, VERBS)}
    return sorted(asked)


def allowed(client: httpx.Client, account: str, right: Right) -> bool:
    """Ask the API server whether a ServiceAccount has ``right``."""
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "namespace": "" if right.where == CLUSTER else right.where,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "name": right.name,
        "verb": right.verb,
    }
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    body = {"spec": {"user": user, "groups": GROUPS, "resourceAttributes": attributes}}
    answer = client.post(f"{REVIEWS}/subjectaccessreviews", json=body)
    return bool(answer.raise_for_status().json()["status"]["allowed"])


def covers(granted: set[Right], asked: Right) -> bool:
    """Return whether the documents grant what is asked: one for the cluster or without a name holds for all of them."""
    choices = product({asked.where, CLUSTER}, {asked.name, ""})
    return any(asked._replace(where=place, name=name) in granted for place, name in choices)


@pytest.mark.parametrize("granted", [()], ids=["base"], indirect=True)
def test_no_verb_on_any_resource_is_allowed_beyond_the_documented_ones(
    plane: ControlPlane, admin: httpx.Client, granted: set[Right]
) -> None:
    settles(lambda: in_force(plane), granted, within_s=WITHIN_S)
    asked = questions(admin)
    with plane.client() as client, ThreadPoolExecutor(8) as pool:
        answers = pool.map(partial(allowed, client, NAME), asked)
        found = {right for right, answer in zip(asked, answers, strict=True) if answer}
    wanted = {right for right in asked if covers(granted, right)}
    assert wanted <= found
    assert {right for right in found - wanted if not allowed(admin, UNBOUND, right)} == set()
