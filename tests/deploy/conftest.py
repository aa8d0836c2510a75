"""The tools that check manifests, and a real API server that takes them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import controlplane
from controlplane import ControlPlane
from deploy.charts import Helm
from deploy.manifests import PROJECT, kubectl
from support.lacking import lack

SCRIPT = PROJECT / "hack" / "manifests" / "build"


@pytest.fixture(scope="session", autouse=True)
def kustomize() -> None:
    """See to it that there is something that kustomizes."""
    if shutil.which(kubectl()) is None:
        lack("there is no kubectl: run `make control-plane-build` once (8 minutes)")


@pytest.fixture(scope="session")
def tools() -> Path:
    """Return the folder that has promtool and the environment with the schemas."""
    done = subprocess.run([str(SCRIPT), "--where"], stdout=subprocess.PIPE, text=True, check=True)
    folder = Path(done.stdout.strip())
    if not (folder / ".done").exists():
        lack("what checks the manifests is not there: run hack/manifests/build once (a minute)")
    return folder


@pytest.fixture(scope="session", params=["helm-3", "helm-4"])
def helm(request: pytest.FixtureRequest, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Return each Helm, without a cluster."""
    program = tools / request.param
    if not program.exists():
        lack("there is no Helm: install Go 1.26 and run hack/manifests/build once (4 minutes)")
    return Helm(program, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Yield a control plane with nothing applied."""
    if (assets := controlplane.assets()) is None:
        lack("kube-apiserver and etcd are not built: run `make control-plane-build` once (8 minutes)")
    with ControlPlane(assets, tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture(scope="session")
def kinds(plane: ControlPlane) -> None:
    """Give the control plane the operator's kinds, without their schemas: those are checked elsewhere."""
    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
        plural = f"{kind.lower()}s"
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
        spec = {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": names, "versions": [version]}
        name = f"{plural}.monitoring.coreos.com"
        definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
        made = definition | {"metadata": {"name": name}, "spec": spec}
        plane.kubectl("apply", "--server-side", "-f", "-", given=json.dumps(made))
        plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{name}")


@pytest.fixture
def admin(plane: ControlPlane) -> Iterator[httpx.Client]:
    """Yield a client that may do everything."""
    with plane.client() as client:
        yield client
