"""The cluster as an admin sees and changes it, and the Services that tests put into it."""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import httpx
import msgspec
import yaml

from controlplane import ControlPlane

NAMESPACE: Final = "kubernaut-system"
CONFIG_MAPS: Final = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
TARGET: Final = f"{CONFIG_MAPS}/kubernaut-toolset-config"
SERVICE_ACCOUNT: Final = "kubernaut-dynamic-toolset"
LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{SERVICE_ACCOUNT}"
USER: Final = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
MERGE_PATCH: Final = {"Content-Type": "application/merge-patch+json"}
READS: Final = frozenset({"get", "list", "watch"})
KUBERNETES_KEY: Final = "kubernetes-toolset.yaml"
IS_OLDER: Final = bool(os.getenv("CONTROL_PLANE_VERSION"))
"""Whether the API server is of an older release of Kubernetes than the pinned one."""


class Tool(msgspec.Struct, frozen=True):
    """A Service that should be recognised.

    Attributes:
        backend: What is behind it: a product of ``backends``, ``nothing``, or an address.
        namespace: Its namespace, made when it is absent.
        name: Its name.
        port: The Service's port.
        port_name: The name of that port.
        labels: Its labels.
        annotations: Its annotations, without their prefix.
    """

    backend: str
    namespace: str
    name: str
    port: int
    port_name: str = "http"
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}

    @property
    def authority(self) -> str:
        """The host and port that are published."""
        return f"{self.name}.{self.namespace}.svc.cluster.local:{self.port}"

    @property
    def url(self) -> str:
        """What is published."""
        return f"http://{self.authority}"

    @property
    def path(self) -> str:
        """Where the API server has it."""
        return f"/api/v1/namespaces/{self.namespace}/services/{self.name}"

    def manifest(self) -> dict[str, object]:
        annotations = {f"kubernaut.io/{name}": value for name, value in self.annotations.items()}
        ports = [{"name": self.port_name, "port": self.port, "protocol": "TCP"}]
        return {
            "metadata": {"name": self.name, "labels": dict(self.labels), "annotations": annotations},
            "spec": {"selector": {"pods": self.name}, "ports": ports},
        }


class Cluster:
    """One control plane, used by one test at a time; :meth:`clean` removes what the test made."""

    def __init__(self, plane: ControlPlane, admin: httpx.Client) -> None:
        self.plane = plane
        self.admin = admin
        self._made: set[str] = set()
        self._namespaces: set[str] = set()

    def kubeconfig(self) -> str:
        """Return access as the shipped ServiceAccount, with the shipped RBAC."""
        return str(self.plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT))

    @property
    def streams_lists(self) -> bool:
        """Whether the API server has WatchList; without it, it refuses the first request of every reflector."""
        asked = {"watch": "1", "sendInitialEvents": "true", "allowWatchBookmarks": "true", "timeoutSeconds": "1"}
        asked["resourceVersionMatch"] = "NotOlderThan"
        return self.admin.get("/api/v1/namespaces", params=asked).status_code == 200

    def create(self, *tools: Tool) -> None:
        for namespace in sorted({tool.namespace for tool in tools} - self._namespaces):
            answer = self.admin.post("/api/v1/namespaces", json={"metadata": {"name": namespace}})
            assert answer.status_code in {201, 409}, answer.text
            self._namespaces.add(namespace)
        for tool in tools:
            collection = tool.path.removesuffix(f"/{tool.name}")
            self.admin.post(collection, json=tool.manifest()).raise_for_status()
            self._made.add(tool.path)

    def delete(self, *tools: Tool) -> None:
        for tool in tools:
            self.admin.delete(tool.path).raise_for_status()
            self._made.discard(tool.path)

    def patch(self, path: str, change: Mapping[str, object]) -> None:
        self.admin.patch(path, json=change, headers=MERGE_PATCH).raise_for_status()

    def clean(self) -> None:
        for path in [*sorted(self._made), TARGET]:
            answer = self.admin.delete(path)
            assert answer.status_code in {200, 404}, answer.text
        self._made.clear()

    def data(self) -> dict[str, str]:
        """Return the data of the ConfigMap; nothing when there is none. Bytes that are no UTF-8 become U+FFFD."""
        answer = self.admin.get(TARGET)
        if answer.status_code == 404:
            return {}
        data: dict[str, str] = json.loads(answer.raise_for_status().text).get("data", {})
        return data

    def documents(self) -> dict[str, Any]:
        """Return the toolsets in the ConfigMap by key."""
        return {key: yaml.safe_load(text) for key, text in self.data().items() if key.endswith("-toolset.yaml")}

    def urls(self) -> dict[str, str]:
        """Return the URLs in the ConfigMap by key."""
        return urls_in(self.data())

    def edit(self, **data: str | None) -> None:
        """Change the data of the ConfigMap; ``None`` removes a key."""
        self.patch(TARGET, {"data": data})

    def requests(self) -> list[dict[str, Any]]:
        """Return what the ServiceAccount asked about objects, watches too, in the order in which it was answered."""
        events = [*self.plane.audit("ResponseStarted"), *self.plane.audit()]
        asked = [event for event in events if "objectRef" in event]  # a request for the version has none
        return [event for event in asked if event["user"].get("username") == USER]  # who is refused has none

    def writes(self) -> list[dict[str, Any]]:
        """Return the requests of the ServiceAccount that wanted to change a ConfigMap, oldest first."""
        return [
            event
            for event in self.requests()
            if event["verb"] not in READS and event["objectRef"]["resource"] == "configmaps"
        ]


class AuditTail:
    """The audit events of one ConfigMap's writes, read as they come: a long run does not read its log repeatedly.

    Args:
        plane: Whose log.
        name: The ConfigMap's, in the namespace of the service.
    """

    def __init__(self, plane: ControlPlane, name: str) -> None:
        self._plane = plane
        self._name = name
        self._read_to = 0
        self.read()

    def read(self) -> list[dict[str, Any]]:
        """Return the writes of everybody since the last call, in the order in which they were answered."""
        with self._plane.audit_log.open("rb") as log:
            log.seek(self._read_to)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to += len(whole)
        kept = (line.decode("utf-8", "replace") for line in whole.splitlines() if b'"resource":"configmaps"' in line)
        lines = (json.loads(line) for line in kept)
        return [event for event in lines if event["stage"] == "ResponseComplete" and self._wanted(event)]

    def _wanted(self, event: Mapping[str, Any]) -> bool:
        about = event["objectRef"]
        same = (about.get("namespace"), about.get("name", self._name)) == (NAMESPACE, self._name)
        return same and event["verb"] not in READS


def boards(backend: str, count: int) -> tuple[Tool, ...]:
    """Return Services of Grafana in one namespace, in the order of their priority."""
    return tuple(
        Tool(
            backend,
            "team-a",
            f"board-{number}",
            3000,
            "service",
            labels={"app": "grafana"},
            annotations={"toolset-priority": str(999 - number)},
        )
        for number in range(count)
    )


def urls_in(data: Mapping[str, str | None]) -> dict[str, str]:
    """Return the URLs in the data of a ConfigMap by key."""
    toolsets = ((key, text) for key, text in data.items() if key.endswith("-toolset.yaml") and key != KUBERNETES_KEY)
    return {key: yaml.safe_load(text)["config"]["url"] for key, text in toolsets if text}


def expected_urls(kind: str, tools: Iterable[Tool]) -> dict[str, str]:
    """Return what should be published of ``tools``, all of one type and in the order of their priority."""
    urls: dict[str, str] = {}
    for index, tool in enumerate(tools):
        urls[f"{kind}.{tool.namespace}.{tool.name}-toolset.yaml" if index else f"{kind}-toolset.yaml"] = tool.url
    return urls
