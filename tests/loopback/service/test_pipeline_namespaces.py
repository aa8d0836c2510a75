"""A pipeline follows the Namespaces: only that one is deleted matters, which takes its Services with it."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from support.leader import ClusterLeader
from support.series import exposed
from support.waiting import until
from toolset.config.loader import load
from toolset.model import Namespace, NamespaceMeta, Service


def grafana(namespace: str) -> Service:
    metadata = {"name": "grafana", "namespace": namespace, "uid": f"u-{namespace}", "resourceVersion": "1"}
    spec = {"selector": {"app": "grafana"}, "ports": [{"name": "http", "port": 3000}]}
    return msgspec.convert({"metadata": metadata, "spec": spec}, Service)


def namespace(name: str, version: str, uid: str = "u", *, ending: bool = False) -> Namespace:
    deleted = "2026-01-01T00:00:00Z" if ending else None
    return Namespace(NamespaceMeta(name=name, uid=uid, resource_version=version, deletion_timestamp=deleted))


class UnprobedLeader(ClusterLeader):
    """A leader that knows of two Services; every backend is well."""

    def __init__(self) -> None:
        super().__init__()
        self.services.replace([grafana("a"), grafana("b")], "1")
        self.config_maps.replace([], "1")

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        async with self.cluster:
            self.cluster.create("Namespace", {"metadata": {"name": "kubernaut-system"}})
            async with self.leading(load("health: {enabled: false}", {}, {}), self.cluster.url):
                yield

    def published(self) -> set[str]:
        """Return the namespaces whose Services are in the ConfigMap."""
        return set(re.findall(r"http://grafana\.(\w)\.svc", self.documents()))

    def looked(self) -> float:
        """Return how many Services were queued."""
        return exposed(self.metrics)['workqueue_adds_total{name="service"}']

    async def settles(self, *expected: str) -> None:
        await until(lambda: self.published() == {*expected})


async def test_a_namespace_that_ends_takes_its_services_and_no_other_along() -> None:
    leader = UnprobedLeader()
    leader.namespaces.replace([namespace("a", "1"), namespace("b", "2")], "2")
    async with leader.working():
        await leader.settles("a", "b")
        looked = leader.looked()
        leader.namespaces.apply(namespace("a", "3", ending=True))
        await leader.settles("b")
        assert leader.looked() == looked + 1


async def test_one_that_is_created_again_under_the_same_name_starts_afresh() -> None:
    leader = UnprobedLeader()
    leader.namespaces.replace([namespace("a", "1", ending=True), namespace("b", "2")], "2")
    async with leader.working():
        await leader.settles("b")
        leader.namespaces.apply(namespace("a", "3", "another"))  # a gap in which it went and came
        await leader.settles("a", "b")
        leader.namespaces.apply(namespace("a", "4", "another", ending=True))
        await leader.settles("b")
        leader.namespaces.delete(
            namespace("a", "5", "another", ending=True)
        )  # a Service may be here before its namespace
        await leader.settles("a", "b")


async def test_namespaces_that_are_listed_late_correct_what_was_published_without_them() -> None:
    leader = UnprobedLeader()
    async with leader.working():
        await leader.settles("a", "b")
        leader.namespaces.replace([namespace("a", "1", ending=True), namespace("b", "2")], "2")
        await leader.settles("b")


async def test_any_other_change_of_a_namespace_is_not_reported() -> None:
    leader = UnprobedLeader()
    leader.namespaces.replace([namespace("a", "1", ending=True), namespace("b", "2")], "2")
    async with leader.working():
        await leader.settles("b")
        looked = leader.looked()
        leader.namespaces.apply(namespace("a", "3", ending=True))  # labelled
        leader.namespaces.apply(namespace("b", "4"))
        leader.namespaces.apply(namespace("c", "5"))
        leader.namespaces.delete(namespace("b", "6"))
        leader.services.delete(grafana("b"))  # which is news
        await leader.settles()
        assert leader.looked() == looked + 1
