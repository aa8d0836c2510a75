"""A real API server takes the manifests, twice without a change, and never lets go of what is published."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from controlplane import ControlPlane
from deploy.manifests import (
    COMPONENTS,
    NAME,
    NAMESPACE,
    OVERLAYS,
    PROJECT,
    TARGET,
    Manifest,
    built,
    overlay,
    pod,
    rendered,
    with_components,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120), pytest.mark.usefixtures("kinds")]

NAMES: Final = ("base", *OVERLAYS)
CONFIG_MAP: Final = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{TARGET}"
PUBLISHED: Final = {"prometheus-toolset.yaml": "toolset: prometheus\n", "overrides.yaml": "suppress: []\n"}
PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
OURS: Final = f"app.kubernetes.io/name={NAME}"
KINDS: Final = (
    "namespaces,deployments,services,serviceaccounts,configmaps,roles,rolebindings,clusterroles,clusterrolebindings,"
    "networkpolicies,poddisruptionbudgets,priorityclasses,servicemonitors,podmonitors,prometheusrules"
)


def apply(plane: ControlPlane, name: str) -> None:
    """Apply the base or an overlay as people do; a warning of the API server is an error."""
    plane.kubectl("apply", "--server-side", "--warnings-as-errors", "-f", "-", given=rendered(overlay(name)))


def versions(plane: ControlPlane) -> dict[str, str]:
    """Return the resourceVersion of everything of ours that is in the cluster."""
    columns = "custom-columns=K:.kind,N:.metadata.name,V:.metadata.resourceVersion"
    lines = plane.kubectl("get", KINDS, "-A", "-l", OURS, "--no-headers", "-o", columns).splitlines()
    return {f"{kind}/{name}": version for kind, name, version in (line.split() for line in lines)}


@pytest.fixture
def published(plane: ControlPlane, admin: httpx.Client) -> Iterator[Manifest]:
    """Yield the ConfigMap as the service publishes it, with an admin's key in it."""
    apply(plane, "base")
    labels = {"app.kubernetes.io/name": TARGET, "app.kubernetes.io/managed-by": NAME}
    body = {"metadata": {"name": TARGET, "labels": labels}, "data": PUBLISHED}
    made: Manifest = admin.post(CONFIG_MAP.removesuffix(f"/{TARGET}"), json=body).raise_for_status().json()
    yield made
    admin.delete(CONFIG_MAP).raise_for_status()


@pytest.mark.parametrize("name", NAMES)
def test_a_second_apply_changes_nothing(name: str, plane: ControlPlane) -> None:
    apply(plane, name)
    once = versions(plane)
    assert {f"{thing['kind']}/{thing['metadata']['name']}" for thing in built(overlay(name))} <= once.keys()
    apply(plane, name)
    assert versions(plane) == once


@pytest.mark.parametrize("name", NAMES)
def test_an_apply_leaves_the_published_config_map_alone(
    name: str, plane: ControlPlane, admin: httpx.Client, published: Manifest
) -> None:
    apply(plane, name)
    assert admin.get(CONFIG_MAP).raise_for_status().json() == published


def create_pod(admin: httpx.Client, spec: Manifest) -> httpx.Response:
    """Ask the API server whether it would take a pod."""
    body = {"metadata": {"generateName": "tried-"}, "spec": spec}
    return admin.post(PODS, params={"dryRun": "All", "fieldValidation": "Strict"}, json=body)


@pytest.mark.parametrize("name", NAMES)
def test_the_namespace_that_enforces_the_restricted_profile_takes_the_pods(
    name: str, plane: ControlPlane, admin: httpx.Client
) -> None:
    apply(plane, name)
    answer = create_pod(admin, pod(built(overlay(name))))
    assert answer.status_code == 201, answer.text
    assert "warning" not in answer.headers


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        pytest.param("container", {"allowPrivilegeEscalation": True}, id="privilege escalation"),
        pytest.param("container", {"capabilities": {}}, id="capabilities"),
        pytest.param("pod", {"runAsNonRoot": False}, id="root"),
        pytest.param("pod", {"seccompProfile": {"type": "Unconfined"}}, id="seccomp"),
    ],
)
def test_the_namespace_refuses_a_pod_that_may_do_more(
    part: str, wrong: dict[str, Any], plane: ControlPlane, admin: httpx.Client
) -> None:
    apply(plane, "base")
    spec = deepcopy(pod(built(overlay("base"))))
    holder = spec if part == "pod" else spec["containers"][0]
    holder["securityContext"] |= wrong
    answer = create_pod(admin, spec)
    assert answer.status_code == 403
    assert "PodSecurity" in answer.json()["message"]


def test_taking_it_away_as_documented_leaves_the_published_config_map(
    plane: ControlPlane, admin: httpx.Client, published: Manifest, tmp_path: Path
) -> None:
    for namespace in ("monitoring", "holmes"):
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        plane.kubectl("apply", "--server-side", "-f", "-", given=json.dumps(made))
    everything = rendered(with_components(tmp_path, [each for each in COMPONENTS if each != "pod-monitor"]))
    plane.kubectl("apply", "--server-side", "-f", "-", given=everything)
    apply(plane, "production")
    text = (PROJECT / "docs" / "upgrade.md").read_text("utf-8").split("\n## Uninstall\n")[1]
    commands, _ = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for command in commands.replace("\\\n", "").splitlines():
        program, *arguments = command.split()
        assert program == "kubectl"
        plane.kubectl(*arguments)
    assert versions(plane).keys() == {f"Namespace/{NAMESPACE}"}
    assert admin.get(CONFIG_MAP).raise_for_status().json() == published
