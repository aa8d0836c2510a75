"""Services that are written into etcd are those that the API server would have created."""

import ipaddress
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

import seeding
from controlplane import SERVICE_CIDR, ControlPlane
from service_mix import realistic

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        "CONTROL_PLANE_VERSION" in os.environ, reason="Services are written for the pinned release only"
    ),
]

COUNT: Final = 2_000
SERVICES: Final = "/api/v1/services"
ADDRESSES: Final = "/apis/networking.k8s.io/v1/ipaddresses"


Objects = list[dict[str, Any]]


@pytest.fixture(scope="module")
def seeded(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ControlPlane, Objects]]:
    """Yield a control plane with written Services, and what its API server would have created before."""
    with ControlPlane(assets, tmp_path_factory.mktemp("seeded")) as plane:
        seeding.create_namespaces(plane)
        created = seeding.create(plane, map(realistic, range(COUNT)), dry_run=True)
        plane.kill_apiserver()
        seeding.write(plane, map(realistic, range(COUNT)))
        plane.start_apiserver()
        yield plane, created


@pytest.fixture
def admin(seeded: tuple[ControlPlane, Objects]) -> Iterator[httpx.Client]:
    with seeded[0].client() as client:
        yield client


def items(admin: httpx.Client, path: str) -> Objects:
    found: Objects = admin.get(path).raise_for_status().json()["items"]
    return found


def by_name(objects: Objects) -> dict[tuple[str, str], str]:
    """Return the JSON text of Services, without what differs between any two that are created."""
    found: dict[tuple[str, str], str] = {}
    for each in objects:
        meta, spec = each["metadata"], each["spec"]
        kept = {key: value for key, value in each.items() if key not in {"apiVersion", "kind"}}
        if spec["clusterIP"] != "None":
            kept["spec"] = spec | {"clusterIP": "any", "clusterIPs": ["any"]}
        found[meta["namespace"], meta["name"]] = json.dumps(kept | {"metadata": lasting(meta)})
    return found


def lasting(meta: dict[str, Any]) -> dict[str, Any]:
    """Return metadata without identity and times."""
    own = {"uid", "resourceVersion", "creationTimestamp"}
    managed = [{**entry, "time": "any"} for entry in meta["managedFields"]]
    return {key: value for key, value in (meta | {"managedFields": managed}).items() if key not in own}


def test_written_services_are_listed_as_created_ones_are(
    seeded: tuple[ControlPlane, Objects], admin: httpx.Client
) -> None:
    listed = [each for each in items(admin, SERVICES) if each["metadata"]["namespace"] in seeding.NAMESPACES]

    assert len(listed) == COUNT
    assert by_name(listed) == by_name(seeded[1])


def test_each_written_service_owns_its_address(admin: httpx.Client) -> None:
    owners = {
        each["metadata"]["name"]: (each["spec"]["parentRef"]["namespace"], each["spec"]["parentRef"]["name"])
        for each in items(admin, ADDRESSES)
    }
    found = {
        each["spec"]["clusterIP"]: (each["metadata"]["namespace"], each["metadata"]["name"])
        for each in items(admin, SERVICES)
        if each["spec"]["clusterIP"] != "None"
    }

    assert len(found) > COUNT / 2
    assert found == owners
    assert all(ipaddress.ip_address(address) in ipaddress.ip_network(SERVICE_CIDR) for address in found)


def test_a_written_address_is_as_an_allocated_one(admin: httpx.Client) -> None:
    addresses = [{**each, "metadata": lasting(each["metadata"])} for each in items(admin, ADDRESSES)]
    for each in addresses:
        each["metadata"]["name"] = each["spec"]["parentRef"] = "any"

    assert len(addresses) > COUNT / 2
    assert {json.dumps(each) for each in addresses} == {json.dumps(addresses[0])}  # the API server's own is the first


def test_written_services_are_changed_and_deleted_like_others(admin: httpx.Client) -> None:
    manifest = realistic(0).manifest["metadata"]
    path = f"/api/v1/namespaces/{manifest['namespace']}/services/{manifest['name']}"
    merge = {"Content-Type": "application/merge-patch+json"}
    change = json.dumps({"metadata": {"labels": {"changed": "yes"}}})

    changed = admin.patch(path, content=change, headers=merge).raise_for_status().json()
    admin.delete(path).raise_for_status()

    assert changed["metadata"]["labels"] == {**manifest["labels"], "changed": "yes"}
    assert admin.get(path).status_code == 404
    assert admin.get(f"{ADDRESSES}/{changed['spec']['clusterIP']}").status_code == 404
