"""A real API server takes a release of the Helm chart, and no step of it touches the published ConfigMap."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from controlplane import ControlPlane
from deploy.charts import CHART, PRODUCTION, Helm
from deploy.manifests import KUSTOMIZE, NAME, NAMESPACE, PROJECT, TARGET, Manifest, overlay, rendered
from deploy.test_apply import CONFIG_MAP, KINDS, OURS, PUBLISHED, create_pod, versions
from deploy.test_helm_values import FULL

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120), pytest.mark.usefixtures("kinds")]

RELEASE: Final = "toolset"
DEPLOYMENT: Final = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}"
SETTINGS: Final = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}-settings"
OWNER: Final = "meta.helm.sh/release-name"
"""The annotation that Helm sets on each object of a release."""


@pytest.fixture
def cluster(helm: Helm, plane: ControlPlane, admin: httpx.Client) -> Iterator[Helm]:
    """Yield Helm on a cluster with the namespace and no object of this service in it; remove what is left."""

    def clean() -> None:
        kinds = KINDS.removeprefix("namespaces,")  # without a controller manager one would never be gone
        plane.kubectl("delete", kinds, "-A", "-l", OURS, "--ignore-not-found")
        plane.kubectl("-n", NAMESPACE, "delete", "secrets", "-l", "owner=helm", "--ignore-not-found")
        admin.delete(CONFIG_MAP)

    plane.kubectl("apply", "--server-side", "-f", str(KUSTOMIZE / "base" / "namespace.yaml"))
    clean()
    yield helm.on(plane.kubeconfig)
    clean()


@pytest.fixture
def published(cluster: Helm, admin: httpx.Client) -> Manifest:
    """Install the chart; return the ConfigMap as the service then publishes it, with an admin's key in it."""
    release(cluster, "install")
    labels = {"app.kubernetes.io/name": TARGET, "app.kubernetes.io/managed-by": NAME}
    body = {"metadata": {"name": TARGET, "labels": labels}, "data": PUBLISHED}
    made: Manifest = admin.post(CONFIG_MAP.removesuffix(f"/{TARGET}"), json=body).raise_for_status().json()
    return made


def release(helm: Helm, command: str, *options: str, values: dict[str, Any] | None = None) -> None:
    """Install or upgrade the release."""
    helm.output(command, RELEASE, str(CHART), f"--namespace={NAMESPACE}", *options, values=values)


def got(admin: httpx.Client, path: str) -> Manifest:
    """Return an object of the cluster."""
    found: Manifest = admin.get(path).raise_for_status().json()
    return found


def test_no_step_of_a_release_changes_the_published_config_map(
    cluster: Helm, published: Manifest, plane: ControlPlane, admin: httpx.Client
) -> None:
    def replicas_and_settings() -> tuple[int, bool]:
        return got(admin, DEPLOYMENT)["spec"]["replicas"], "10s" in got(admin, SETTINGS)["data"]["settings.yaml"]

    assert replicas_and_settings() == (1, False)
    release(cluster, "upgrade", f"--values={PRODUCTION}", values={"settings": {"health": {"interval": "10s"}}})
    assert replicas_and_settings() == (2, True)
    assert got(admin, CONFIG_MAP) == published
    cluster.output("rollback", RELEASE, "1", f"--namespace={NAMESPACE}")
    assert replicas_and_settings() == (1, False)
    assert got(admin, CONFIG_MAP) == published
    cluster.output("uninstall", RELEASE, f"--namespace={NAMESPACE}")
    assert not versions(plane).keys() - {f"Namespace/{NAMESPACE}"}
    assert got(admin, CONFIG_MAP) == published


def test_an_install_after_an_uninstall_leaves_the_published_config_map_alone(
    cluster: Helm, published: Manifest, admin: httpx.Client
) -> None:
    cluster.output("uninstall", RELEASE, f"--namespace={NAMESPACE}")
    release(cluster, "install")
    assert got(admin, CONFIG_MAP) == published


def test_an_upgrade_with_the_same_values_changes_no_object(cluster: Helm, plane: ControlPlane) -> None:
    release(cluster, "install", f"--values={PRODUCTION}")
    before = versions(plane)
    assert len(before) > 10
    release(cluster, "upgrade", f"--values={PRODUCTION}")
    assert versions(plane) == before


def test_a_release_with_every_value_is_taken(cluster: Helm, admin: httpx.Client) -> None:
    release(cluster, "install", values=FULL)
    assert got(admin, DEPLOYMENT)["spec"]["template"]["spec"]["nodeSelector"] == FULL["nodeSelector"]


def test_the_namespace_that_enforces_the_restricted_profile_takes_the_pods(cluster: Helm, admin: httpx.Client) -> None:
    release(cluster, "install", f"--values={PRODUCTION}")
    answer = create_pod(admin, got(admin, DEPLOYMENT)["spec"]["template"]["spec"])
    assert answer.status_code == 201, answer.text
    assert "warning" not in answer.headers


def test_a_second_release_is_refused(cluster: Helm, plane: ControlPlane, admin: httpx.Client) -> None:
    """Names are the same in every release, and a ClusterRole has no namespace."""
    release(cluster, "install")
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other-release"}}
    plane.kubectl("apply", "--server-side", "-f", "-", given=json.dumps(other))
    done = cluster.run("install", "other", str(CHART), "--namespace=other-release")
    assert done.returncode == 1
    assert f'ClusterRole "{NAME}"' in done.stderr
    assert got(admin, DEPLOYMENT)["metadata"]["annotations"][OWNER] == RELEASE


def test_an_installation_of_kustomize_is_not_taken_over(cluster: Helm, plane: ControlPlane) -> None:
    plane.kubectl("apply", "--server-side", "-f", "-", given=rendered(overlay("base")))
    before = versions(plane)
    done = cluster.run("install", RELEASE, str(CHART), f"--namespace={NAMESPACE}")
    assert done.returncode == 1
    assert "invalid ownership metadata" in done.stderr
    assert versions(plane) == before


def test_documented_commands_work_and_leave_the_published_config_map(
    cluster: Helm, plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    holmes = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "holmes"}}
    plane.kubectl("apply", "--server-side", "-f", "-", given=json.dumps(holmes))
    section = (PROJECT / "docs" / "install.md").read_text("utf-8").split("## With Helm")[1]
    commands, values = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)[0] for kind in ("sh", "yaml"))
    (tmp_path / "my-values.yaml").write_text(values, encoding="utf-8")
    programs: dict[str, Callable[..., str]] = {"kubectl": plane.kubectl, "helm": cluster.output}
    ran: list[str] = []
    for line in commands.splitlines():
        program, *arguments = shlex.split(
            line.replace("my-values.yaml", str(tmp_path / "my-values.yaml")), comments=True
        )
        programs[program](*arguments)
        ran.append(arguments[0])
        if arguments[0] == "upgrade":
            plane.kubectl("-n", "holmes", "create", "configmap", TARGET)
    assert ran == ["apply", "install", "upgrade", "uninstall", "-n"]
    assert not versions(plane).keys() - {f"Namespace/{NAMESPACE}"}
    plane.kubectl("-n", "holmes", "delete", "configmap", TARGET)
