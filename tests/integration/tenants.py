"""A cluster that a victim and an attacker share, and the service itself as a process that works on it."""

import signal
import socket
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec
import yaml
from anyio.from_thread import BlockingPortal, start_blocking_portal

from integration.backends import LOOPBACK, Answers
from integration.cluster import Tool
from integration.service import Service
from support.waiting import eventually
from toolset.sim import EmbeddedCluster

VICTIM: Final = "ops"
TARGET: Final = ("ConfigMap", "kubernaut-system", "kubernaut-toolset-config")
DIVIDED: Final = {
    "DISCOVERY__TRUSTED_NAMESPACES": f"[{VICTIM}, kubernaut-system]",
    "DISCOVERY__UNTRUSTED": "admit",
    "DISCOVERY__UNTRUSTED_TYPES": "[note, prometheus-x, x]",
}
"""The victim is trusted, and everybody else publishes what opts in."""
NEW_TOOL_S: Final = 2.0
"""Within this time a new tool of the victim is published, whatever the attacker does."""
OPTS_IN: Final = {"toolset": "enabled"}
DOCUMENT: Final = "custom_toolset.yaml"


def prometheus(namespace: str, name: str = "prometheus", **annotations: str) -> Tool:
    return Tool("prometheus", namespace, name, 9090, "web", {"app": "prometheus"}, annotations)


def grafana(namespace: str, name: str = "grafana", **annotations: str) -> Tool:
    return Tool("grafana", namespace, name, 3000, "http", {"app": "grafana"}, annotations)


def custom(namespace: str, name: str, kind: str, **annotations: str) -> Tool:
    notes = {**OPTS_IN, "toolset-type": kind, "toolset-health-path": "/ready", **annotations}
    return Tool("custom", namespace, name, 8080, "http", {}, notes)


VICTIMS: Final = (prometheus(VICTIM), grafana(VICTIM), custom(VICTIM, "audit", "audit-log"))


class Shared:
    """The cluster, its backends and at most one process; use it as a context manager.

    Attributes:
        cluster: The embedded cluster; change it inside :meth:`do`.
        answers: The backends.
        domain: The cluster's DNS domain; with a short one more routes fit into an environment variable.
    """

    def __init__(self, portal: BlockingPortal, cluster: EmbeddedCluster, folder: Path) -> None:
        self.domain = "cluster.local"
        self._portal = portal
        self.cluster = cluster
        self._folder = folder
        self._namespaces: set[str] = set()
        self._routes: dict[str, str] = {}
        self._stack = ExitStack()
        self.answers = Answers()
        self._hanging = socket.create_server((LOOPBACK, 0), backlog=1)  # accepts nothing, so nothing is answered
        self._service: Service | None = None

    def __enter__(self) -> Self:
        self._stack.callback(self.answers.close)
        self._stack.enter_context(self._hanging)
        self.namespace("kubernaut-system")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.close()
        if error is None and self._service is not None:
            assert self._service.bugs() == []

    @property
    def service(self) -> Service:
        assert self._service is not None
        return self._service

    def do(self, work: Callable[[], object]) -> None:
        """Do something to the cluster, in its own thread."""
        self._portal.call(work)

    def namespace(self, name: str, **labels: str) -> None:
        metadata = {"name": name, "labels": {f"kubernaut.io/{key}": value for key, value in labels.items()}}
        self.do(lambda: self.cluster.create("Namespace", {"metadata": metadata}))
        self._namespaces.add(name)

    def expect(self, tools: Iterable[Tool], *, hanging: bool = False) -> None:
        """Put a backend behind each of ``tools``; before the process is started."""
        for tool in tools:
            authority = self.authority(tool)
            if hanging:
                self._routes[authority] = f"{LOOPBACK}:{self._hanging.getsockname()[1]}"
            else:
                self._routes[authority] = self.answers.address
                self.answers.put(authority, tool.backend)

    def expect_at(self, authorities: Iterable[str]) -> None:
        """Put a backend that is a Prometheus and a Grafana at hosts that are no Services."""
        for authority in authorities:
            self._routes[authority] = self.answers.address
            self.answers.put(authority, "prometheus" if authority.endswith(":9090") else "grafana")

    def authority(self, tool: Tool) -> str:
        return tool.authority.replace("svc.cluster.local:", f"svc.{self.domain}:")

    def create(self, *tools: Tool) -> None:
        self.create_manifests([with_namespace(tool.manifest(), tool.namespace) for tool in tools])

    def create_manifests(self, manifests: Iterable[dict[str, Any]]) -> None:
        """Create Services; their namespaces too, if need be."""
        manifests = list(manifests)
        for name in sorted({each["metadata"]["namespace"] for each in manifests} - self._namespaces):
            self.namespace(name)

        def create() -> None:
            for each in manifests:
                self.cluster.create("Service", each)

        self.do(create)

    def delete(self, *tools: Tool) -> None:
        for tool in tools:
            self._portal.call(self.cluster.delete, "Service", tool.namespace, tool.name)

    def override(self, text: str, **more: str) -> None:
        """Write ``overrides.yaml``, and other keys of an admin, into the ConfigMap."""
        data = {"overrides.yaml": text, **more}
        kind, namespace, name = TARGET

        def write() -> None:
            if self.cluster.get(*TARGET) is None:
                self.cluster.create(kind, {"metadata": {"namespace": namespace, "name": name}, "data": data})
            else:
                self.cluster.patch(*TARGET, {"data": data})

        self.do(write)

    def start(self, **settings: str) -> Service:
        """Start the service."""
        kubeconfig = self._folder / "kubeconfig"
        kubeconfig.write_text(self.cluster.kubeconfig(), "utf-8")
        routes = msgspec.json.encode(self._routes).decode()
        given = {
            **DIVIDED,
            "TOOLSET_TEST_CONNECT_TO": routes,
            "OUTPUT__DIALECTS": "[kubernaut, holmesgpt, json]",
            "DISCOVERY__CLUSTER_DOMAIN": self.domain,
        }
        self._service = Service(str(kubeconfig), self._folder / "service.log", {**given, **settings})
        self._stack.callback(self._end)
        return self._service

    def _end(self) -> None:
        self.service.end(signal.SIGTERM)
        self.service.close()
        assert self.service.exit_code == 0

    def data(self) -> dict[str, str]:
        """Return what is published."""
        stored = self.cluster.get(*TARGET)
        found: dict[str, str] = stored.get("data", {}) if stored else {}
        return {key: text for key, text in found.items() if key != "overrides.yaml"}

    def publishes(self, *tools: Tool) -> bool:
        text = "".join(self.data().values())
        return all(f"//{self.authority(tool)}" in text for tool in tools)

    def everything(self) -> list[object]:
        """Return all ConfigMaps, Events and Leases."""
        paths = ("api/v1/configmaps", "apis/events.k8s.io/v1/events", "apis/coordination.k8s.io/v1/leases")
        return [httpx.get(f"{self.cluster.url}/{path}", trust_env=False).raise_for_status().json() for path in paths]

    def events(self) -> list[tuple[str, str]]:
        """Return reason and Service of the Kubernetes Events."""
        url = f"{self.cluster.url}/apis/events.k8s.io/v1/namespaces/{TARGET[1]}/events"
        found: list[dict[str, Any]] = httpx.get(url, trust_env=False).json()["items"]
        services = [each.get("related", {}) for each in found]
        return [
            (each["reason"], f"{about.get('namespace')}/{about.get('name')}")
            for each, about in zip(found, services, strict=True)
        ]

    def memory_kib(self, field: str) -> int:
        """Return a figure of the process, for example ``VmRSS``."""
        status = Path(f"/proc/{self.service.pid}/status").read_text("ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:"))

    def published_within_s(self, tool: Tool) -> float:
        """Create a Service of the victim; return how long it takes until its tool is published, seconds."""
        began_s = time.monotonic()
        self.create(tool)
        created_s = time.monotonic() - began_s
        return created_s + eventually(lambda: self.publishes(tool), within_s=30)


def with_namespace(manifest: dict[str, Any], namespace: str) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


@contextmanager
def shared(folder: Path) -> Generator[Shared]:
    """Give a cluster that holds nothing yet."""
    with start_blocking_portal("asyncio") as portal:
        running = portal.wrap_async_context_manager(EmbeddedCluster())
        with running as cluster, Shared(portal, cluster, folder) as made:
            yield made


def instances_of(block: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the config of each instance of a toolset of HolmesGPT."""
    config: dict[str, Any] = block.get("config") or {}
    found: list[dict[str, Any]] = config.get("instances", [config])
    return found


def of_victim(data: Mapping[str, str]) -> dict[str, object]:
    """Return what is published of the victim: whole documents, and of lists its entries, in their order.

    Whether HolmesGPT's document has a list, and so a name, depends on how many instances there are.
    """
    mine = f".{VICTIM}.svc."
    found: dict[str, object] = {}
    for key, text in data.items():
        if key == DOCUMENT:
            for name, block in yaml.safe_load(text)["toolsets"].items():
                entries = [each for each in instances_of(block) if mine in str(each)]
                if entries:
                    plain = [{field: value for field, value in each.items() if field != "name"} for each in entries]
                    found[f"{key} {name}"] = {**block, "config": plain}
        elif key == "toolset.json":
            found[key] = [each for each in msgspec.json.decode(text)["tools"] if mine in each["endpoint"]]
        elif mine in text:
            found[key] = text
    return found
