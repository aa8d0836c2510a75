"""The control plane that the integration tests stand on is itself what they take it for."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

import controlplane
from controlplane import ControlPlane

pytestmark = pytest.mark.integration

SERVICES = "/api/v1/namespaces/default/services"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def admin(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    with control_plane.client() as client:
        yield client
        for path in (f"{SERVICES}/before-the-kill", f"{CONFIG_MAPS}/before-the-kill", f"{CONFIG_MAPS}/audited"):
            assert client.delete(path).status_code in {200, 404}


@pytest.fixture
def controller(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    path = control_plane.service_account_kubeconfig("kubernaut-system", "kubernaut-dynamic-toolset")
    token = yaml.safe_load(path.read_text("utf-8"))["users"][0]["user"]["token"]
    with control_plane.client(token) as client:
        yield client


def service(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}}


def test_it_is_ready_once_it_is_started(assets: Path, tmp_path: Path) -> None:
    with ControlPlane(assets, tmp_path) as plane, plane.client() as client:
        assert client.get("/readyz").text == "ok"


def test_objects_outlive_a_killed_api_server(control_plane: ControlPlane, admin: httpx.Client) -> None:
    admin.post(SERVICES, json=service("before-the-kill")).raise_for_status()

    control_plane.kill_apiserver()
    try:
        with pytest.raises(httpx.TransportError):
            admin.get("/readyz")
    finally:
        control_plane.start_apiserver()

    assert admin.get(f"{SERVICES}/before-the-kill").status_code == 200


def test_objects_outlive_a_killed_etcd(control_plane: ControlPlane, admin: httpx.Client) -> None:
    admin.post(CONFIG_MAPS, json={"metadata": {"name": "before-the-kill"}}).raise_for_status()

    control_plane.kill_etcd()
    control_plane.start_etcd()

    assert admin.get(f"{CONFIG_MAPS}/before-the-kill").status_code == 200


def test_the_controller_reads_services_and_nothing_else(controller: httpx.Client) -> None:
    assert controller.get("/api/v1/services").status_code == 200
    assert controller.get("/api/v1/secrets").status_code == 403
    assert controller.post(SERVICES, json=service("forbidden")).status_code == 403


def test_the_controller_lists_config_maps_by_one_name_only(controller: httpx.Client) -> None:
    path = "/api/v1/namespaces/kubernaut-system/configmaps"
    one = {"fieldSelector": "metadata.name=kubernaut-toolset-config"}

    assert controller.get(path, params=one).status_code == 200
    assert controller.get(path).status_code == 403


def test_the_audit_log_has_a_request_when_its_answer_is_here(control_plane: ControlPlane, admin: httpx.Client) -> None:
    body = {"metadata": {"name": "audited"}, "data": {"key": "value"}}
    admin.post(CONFIG_MAPS, json=body).raise_for_status()

    event = control_plane.audit()[-1]

    assert (event["verb"], event["objectRef"]["name"]) == ("create", "audited")
    assert event["user"]["username"] == "admin"
    assert event["requestObject"]["data"] == {"key": "value"}


def test_kubectl_works_with_the_kubeconfig(control_plane: ControlPlane) -> None:
    assert "kubernaut-system" in control_plane.kubectl("get", "namespaces", "--output=name")


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    etcd = tmp_path / "etcd"
    etcd.write_text("#!/bin/sh\necho the disk is full\nexit 1\n")
    etcd.chmod(0o700)

    with pytest.raises(RuntimeError, match="the disk is full"):
        ControlPlane(tmp_path, tmp_path / "plane").start()


def test_no_child_outlives_a_killed_parent(assets: Path, tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys, controlplane\n"
        "plane = controlplane.ControlPlane(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        "plane.start_etcd()\n"
        "print(plane.etcd_url, flush=True)\n"
        "signal.pause()\n"
    )
    command = [sys.executable, "-c", program, str(assets), str(tmp_path)]
    folder = Path(controlplane.__file__).parent
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert httpx.get(f"{url}/health", trust_env=False).is_success
        parent.send_signal(signal.SIGKILL)

    ends_by = time.monotonic() + 5
    while is_up(url) and time.monotonic() < ends_by:
        threading.Event().wait(0.02)
    assert not is_up(url)


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_a_snapshot_brings_ten_thousand_services(large_control_plane: ControlPlane) -> None:
    with large_control_plane.client() as client:
        page = client.get("/api/v1/services", params={"limit": 1}).json()

    others = 1  # default/kubernetes
    assert page["metadata"]["remainingItemCount"] + 1 == 10_000 + others
