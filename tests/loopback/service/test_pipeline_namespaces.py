"""A term follows the Namespaces: what ends takes its Services with it, and nothing else of them is news."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest

from support.api_server import FixedCredentials
from support.background import running
from support.events import FakeEvents
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.adapters.traces import Tracing
from toolset.config.loader import load
from toolset.model import ConfigMap, Namespace, NamespaceMeta, Service
from toolset.runtime.current import Current
from toolset.runtime.multi_namespace_store import MultiNamespaceStore
from toolset.runtime.store import Store
from toolset.service.state import Stores
from toolset.service.supervisor import Supervisor
from toolset.sim import EmbeddedCluster

TARGET = ("ConfigMap", "kubernaut-system", "kubernaut-toolset-config")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def unexpected(error: Exception) -> None:
    raise error


def grafana(namespace: str) -> Service:
    metadata = {"name": "grafana", "namespace": namespace, "uid": f"u-{namespace}", "resourceVersion": "1"}
    spec = {"selector": {"app": "grafana"}, "ports": [{"name": "http", "port": 3000}]}
    return msgspec.convert({"metadata": metadata, "spec": spec}, Service)


def namespace(name: str, version: str, uid: str = "u", *, ending: bool = False) -> Namespace:
    deleted = "2026-01-01T00:00:00Z" if ending else None
    return Namespace(NamespaceMeta(name=name, uid=uid, resource_version=version, deletion_timestamp=deleted))


class World:
    """A term over stores that the test fills, which writes to an embedded cluster; every backend is well."""

    def __init__(self) -> None:
        self.services: Store[Service] = Store(unexpected)
        self.namespaces: Store[Namespace] = Store(unexpected)
        self.config_maps: Store[ConfigMap] = Store(unexpected)
        self.services.replace([grafana("a"), grafana("b")], "1")
        self.config_maps.replace([], "1")
        self.metrics = Metrics("1")
        self.cluster = EmbeddedCluster()

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        stores = Stores(MultiNamespaceStore({"": self.services}), self.config_maps, self.namespaces)
        settings = load("health: {enabled: false}", {}, {})
        async with self.cluster, KubeTransport(FixedCredentials(self.cluster.url), "test") as kube:
            self.cluster.create("Namespace", {"metadata": {"name": "kubernaut-system"}})
            supervisor = Supervisor(Current(settings), kube, stores, "me", self.metrics, FakeEvents(), Tracing())
            async with running(lambda: supervisor.serve(None)):
                yield

    def published(self) -> set[str]:
        """Return the namespaces whose Services are in the ConfigMap."""
        found = self.cluster.get(*TARGET)
        documents = " ".join((found or {}).get("data", {}).values())
        return set(re.findall(r"http://grafana\.(\w)\.svc", documents))

    def looked(self) -> float:
        """Return how many Services were queued."""
        text = self.metrics.expose()[0].decode()
        return next(float(line.split()[-1]) for line in text.splitlines() if 'adds_total{name="service"}' in line)

    async def settles(self, *expected: str) -> None:
        with anyio.fail_after(5):
            while self.published() != {*expected}:  # noqa: ASYNC110 - a store tells nobody that it was written to
                await anyio.sleep(0.005)


async def test_a_namespace_that_ends_takes_its_services_and_no_other_along() -> None:
    world = World()
    world.namespaces.replace([namespace("a", "1"), namespace("b", "2")], "2")
    async with world.working():
        await world.settles("a", "b")
        looked = world.looked()
        world.namespaces.apply(namespace("a", "3", ending=True))
        await world.settles("b")
        assert world.looked() == looked + 1


async def test_one_that_is_made_anew_under_the_same_name_begins_anew() -> None:
    world = World()
    world.namespaces.replace([namespace("a", "1", ending=True), namespace("b", "2")], "2")
    async with world.working():
        await world.settles("b")
        world.namespaces.apply(namespace("a", "3", "another"))  # a gap in which it went and came
        await world.settles("a", "b")
        world.namespaces.apply(namespace("a", "4", "another", ending=True))
        await world.settles("b")
        world.namespaces.delete(
            namespace("a", "5", "another", ending=True)
        )  # a Service may be here before its namespace
        await world.settles("a", "b")


async def test_namespaces_that_are_listed_late_correct_what_was_published_without_them() -> None:
    world = World()
    async with world.working():
        await world.settles("a", "b")
        world.namespaces.replace([namespace("a", "1", ending=True), namespace("b", "2")], "2")
        await world.settles("b")


async def test_any_other_change_of_a_namespace_is_no_news() -> None:
    world = World()
    world.namespaces.replace([namespace("a", "1", ending=True), namespace("b", "2")], "2")
    async with world.working():
        await world.settles("b")
        looked = world.looked()
        world.namespaces.apply(namespace("a", "3", ending=True))  # labelled
        world.namespaces.apply(namespace("b", "4"))
        world.namespaces.apply(namespace("c", "5"))
        world.namespaces.delete(namespace("b", "6"))
        world.services.delete(grafana("b"))  # which is news
        await world.settles()
        assert world.looked() == looked + 1
