"""Many Services for a control plane, written into etcd as the API server stores them.

The API server creates about 90 Services a second; etcd takes thousands, in transactions. A Service that was written
equals one that the API server created from the same manifest by the same field manager, apart from these:

- the objects of one transaction have one resourceVersion;
- cluster IPs are consecutive instead of random.

Its IPAddress is written as well: otherwise, the API server would make one for each Service after its start.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import ipaddress
import json
import os
import shutil
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from controlplane import HERE, SERVICE_CIDR, ControlPlane
from storage import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

NAMESPACES = tuple(f"seed-{index:02}" for index in range(20))
ADDRESSES = ipaddress.IPv4Network(SERVICE_CIDR)[1 << 16]  # the first of those that are given to Services
TRANSACTION = 64  # Services; etcd takes 128 operations and 1.5 MB
SAMPLE = 200  # manifests from which the name of a snapshot is made


@dataclass(frozen=True)
class Seed:
    """A Service to be made.

    Attributes:
        manager: The field manager that creates it.
        manifest: What it sends. The type is ClusterIP; ports have a name, a number and a target.
    """

    manager: str
    manifest: dict[str, Any]


def plain(index: int) -> Seed:
    """Return a Service with one label, one selector pair and one port."""
    name, namespace = f"app-{index:05}", NAMESPACES[index % len(NAMESPACES)]
    labels = {"app.kubernetes.io/name": name}
    spec = {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 80}]}
    return Seed("kubectl-create", {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": spec})


def seeded(assets: Path, directory: Path, count: int, make: Callable[[int], Seed] = plain) -> ControlPlane:
    """Start a control plane that holds Services in NAMESPACES; the caller stops it.

    etcd's data is made once, under a lock, and kept below the cache folder; it is copied then.

    Args:
        assets: As for ControlPlane.
        directory: A folder that holds no control plane yet.
        count: How many Services.
        make: Returns each of them, by its number.
    """
    pins = b"".join((HERE / name).read_bytes() for name in ("go.mod", "go.sum", "build", "seeding.py", "storage.py"))
    sample = json.dumps([(seed.manager, seed.manifest) for seed in map(make, range(SAMPLE))])
    digest = hashlib.sha256(pins + f"{assets}{sample}".encode())
    cache = os.getenv("XDG_CACHE_HOME") or Path.home() / ".cache"
    store = Path(os.getenv("TOOLSET_CACHE") or Path(cache, "toolset"), "etcd")
    store.mkdir(parents=True, exist_ok=True)
    snapshot = store / f"{count}-{digest.hexdigest()[:16]}"
    with (store / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not snapshot.is_dir():
            with tempfile.TemporaryDirectory(dir=store) as scratch:
                plane = ControlPlane(assets, Path(scratch))
                _fill(plane, map(make, range(count)))
                plane.etcd_data.rename(snapshot)
    plane = ControlPlane(assets, directory)
    shutil.copytree(snapshot, plane.etcd_data)
    plane.start()
    try:
        create_namespaces(plane)
    except BaseException:
        plane.stop()
        raise
    return plane


def _fill(plane: ControlPlane, seeds: Iterable[Seed]) -> None:
    """Put Services into a control plane that was never started, and stop it."""
    try:
        plane.start_etcd()
        if os.getenv("CONTROL_PLANE_VERSION"):  # other releases may keep allocated addresses elsewhere
            plane.start_apiserver()
            create_namespaces(plane)
            create(plane, seeds)
        else:
            write(plane, seeds)
    finally:
        plane.stop()


def create_namespaces(plane: ControlPlane) -> None:
    """Create those of NAMESPACES that do not exist."""
    with plane.client() as client:
        for namespace in NAMESPACES:
            if client.get(f"/api/v1/namespaces/{namespace}").status_code == 404:
                client.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()


def create(plane: ControlPlane, seeds: Iterable[Seed], *, dry_run: bool = False) -> list[dict[str, Any]]:
    """Create Services through the API server, whose fairness queues exempt the admin; return them.

    Args:
        plane: Its API server runs and has the namespaces.
        seeds: The Services.
        dry_run: Nothing is stored.
    """

    def one(seed: Seed) -> dict[str, Any]:
        params = {"fieldManager": seed.manager} | ({"dryRun": "All"} if dry_run else {})
        path = f"/api/v1/namespaces/{seed.manifest['metadata']['namespace']}/services"
        made: dict[str, Any] = client.post(path, params=params, json=seed.manifest).raise_for_status().json()
        return made

    with plane.client() as client, ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, seeds))


def write(plane: ControlPlane, seeds: Iterable[Seed]) -> None:
    """Write Services into etcd, which runs; an API server that runs as well sees them.

    Raises:
        httpx.HTTPStatusError: etcd refuses a transaction.
    """
    objects = _objects(seeds, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    with httpx.Client(base_url=plane.etcd_url, trust_env=False, timeout=60) as client:
        while puts := [put for pair in islice(objects, TRANSACTION) for put in pair]:
            client.post("/v3/kv/txn", json={"success": puts}).raise_for_status()


def _objects(seeds: Iterable[Seed], now: str) -> Iterator[list[dict[str, Any]]]:
    """Return for each Service the operations that store it and its address."""
    for index, seed in enumerate(seeds):
        meta, headless = seed.manifest["metadata"], seed.manifest["spec"].get("clusterIP") == "None"
        address = "None" if headless else str(ADDRESSES + index)
        key = f"services/specs/{meta['namespace']}/{meta['name']}"
        puts = [_put(key, stored_service(seed, address, now))]
        if not headless:
            puts.append(_put(f"ipaddresses/{address}", stored_address(address, meta["namespace"], meta["name"], now)))
        yield puts


def _put(key: str, value: dict[str, Any]) -> dict[str, Any]:
    parts = {"key": f"/registry/{key}".encode(), "value": encoded(value)}
    return {"requestPut": {name: base64.b64encode(part).decode("ascii") for name, part in parts.items()}}


def stored_service(seed: Seed, address: str, now: str) -> dict[str, Any]:
    """Return what the API server stores for a Service.

    Args:
        seed: What was sent, and by which field manager.
        address: Its cluster IP, or "None".
        now: When, as in the API.
    """
    defaults = {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}
    spec: dict[str, Any] = {**defaults, **seed.manifest["spec"]}
    spec["ports"] = [{"protocol": "TCP", **port} for port in spec["ports"]]
    fields = _fields(seed.manifest["metadata"], spec)
    given = {"clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {**seed.manifest["metadata"], **_metadata("v1", seed.manager, fields, now)},
        "spec": spec | given,
        "status": {"loadBalancer": {}},
    }


def stored_address(address: str, namespace: str, name: str, now: str) -> dict[str, Any]:
    """Return what the API server stores for the address of a Service."""
    version = "networking.k8s.io/v1"
    labels = {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    spec = {"parentRef": {"resource": "services", "namespace": namespace, "name": name}}
    fields = {"f:metadata": {"f:labels": _set(labels)}, "f:spec": {"f:parentRef": _set(spec["parentRef"])}}
    meta = {"name": address, "labels": labels, **_metadata(version, "kube-apiserver", fields, now)}
    return {"kind": "IPAddress", "apiVersion": version, "metadata": meta, "spec": spec}


def _metadata(version: str, manager: str, fields: dict[str, Any], now: str) -> dict[str, Any]:
    entry = {"manager": manager, "operation": "Update", "apiVersion": version, "time": now}
    managed = [{**entry, "fieldsType": "FieldsV1", "fieldsV1": fields}]
    return {"uid": str(uuid.uuid4()), "creationTimestamp": now, "managedFields": managed}


def _fields(meta: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that the manager owns which sent this, after the API server has set the defaults."""
    sent = {f"f:{kind}": _set(meta[kind]) for kind in ("annotations", "labels") if meta.get(kind)}
    owned: dict[str, Any] = {f"f:{field}": {} for field in sorted(spec)}
    owned["f:ports"] = {".": {}} | {
        f'k:{{"port":{port["port"]},"protocol":"{port["protocol"]}"}}': _set(port)
        for port in sorted(spec["ports"], key=lambda port: (port["port"], port["protocol"]))
    }
    return {"f:metadata": sent, "f:spec": owned} if sent else {"f:spec": owned}


def _set(names: Iterable[str]) -> dict[str, Any]:
    owned: dict[str, Any] = {f"f:{name}": {} for name in sorted(names)}
    return {".": {}, **owned}
