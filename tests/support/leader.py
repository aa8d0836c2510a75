"""The service's own work as a leader does it, over stores that the test fills instead of informers."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext

from support.api_server import FixedCredentials
from support.background import running
from support.events import FakeEvents
from support.stores import unexpected
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.adapters.traces import Tracing
from toolset.config.settings import Settings
from toolset.model import ConfigMap, Namespace, Service
from toolset.reconciler.ports import Prober
from toolset.runtime.current import Current
from toolset.runtime.multi_namespace_store import MultiNamespaceStore
from toolset.runtime.store import Store
from toolset.service.machine import Machine
from toolset.service.state import Stores
from toolset.service.supervisor import Supervisor
from toolset.sim import EmbeddedCluster

TARGET = ("ConfigMap", "kubernaut-system", "kubernaut-toolset-config")


class Leader:
    """A supervisor, and the stores that it reads.

    Attributes:
        services: The Services; not synced until the test replaces them, like the other stores.
        namespaces: The Namespaces.
        config_maps: The target ConfigMap.
        events: The Events that were recorded.
        metrics: The series.
        current: The settings in force; those of the last supervisor that was started.
    """

    def __init__(self, prober: Prober | None = None) -> None:
        """Make it; it probes with ``prober``, or with the real one."""
        self._machine = Machine(identity="me")
        if prober is not None:
            self._machine = Machine(identity="me", prober=lambda _settings: nullcontext(prober))
        self.current = Current(Settings())
        self.services: Store[Service] = Store(unexpected)
        self.namespaces: Store[Namespace] = Store(unexpected)
        self.config_maps: Store[ConfigMap] = Store(unexpected)
        self.events = FakeEvents()
        self.metrics = Metrics("1")

    @asynccontextmanager
    async def leading(self, settings: Settings, url: str) -> AsyncGenerator[Supervisor]:
        """Lead inside the block, as a process that knows of no other, with the API server at ``url``."""
        stores = Stores(MultiNamespaceStore({"": self.services}), self.config_maps, self.namespaces)
        async with KubeTransport(FixedCredentials(url), "test") as kube:
            self.current = Current(settings)
            supervisor = Supervisor(self.current, kube, stores, self._machine, self.metrics, self.events, Tracing())
            async with running(lambda: supervisor.serve(None)):
                yield supervisor


class ClusterLeader(Leader):
    """A leader that writes to an embedded cluster."""

    def __init__(self, prober: Prober | None = None) -> None:
        super().__init__(prober)
        self.cluster = EmbeddedCluster()

    def documents(self) -> str:
        """Return all that is published, as one text."""
        found = self.cluster.get(*TARGET)
        return "".join(text for name, text in (found or {}).get("data", {}).items() if name != "overrides.yaml")
