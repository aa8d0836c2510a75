"""What happens in untrusted namespaces, through the whole pipeline: it waits, is approved, and is taken back."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from support.leader import TARGET, ClusterLeader
from support.series import exposed
from support.waiting import until
from toolset.config.loader import load
from toolset.model import ConfigMap, Namespace, NamespaceMeta, Service

SETTINGS = "health: {enabled: false}\ndiscovery: {trusted_namespaces: [ops], untrusted: pending}"


def grafana(namespace: str) -> Service:
    metadata = {
        "name": "grafana",
        "namespace": namespace,
        "uid": f"u-{namespace}",
        "resourceVersion": "1",
        "annotations": {"kubernaut.io/toolset": "enabled", "kubernaut.io/toolset-priority": "999"},
    }
    spec = {"selector": {"app": "grafana"}, "ports": [{"name": "http", "port": 3000}]}
    return msgspec.convert({"metadata": metadata, "spec": spec}, Service)


class TrustingLeader(ClusterLeader):
    """A leader that knows of a Service in a trusted namespace, and of one that opts in elsewhere."""

    def __init__(self, overrides: str = "") -> None:
        super().__init__()
        self.services.replace([grafana("ops"), grafana("team")], "1")
        self.label("1")
        self.cluster.create("Namespace", {"metadata": {"name": TARGET[1]}})
        data = {"overrides.yaml": overrides}
        self.cluster.create(TARGET[0], {"metadata": {"namespace": TARGET[1], "name": TARGET[2]}, "data": data})
        self.see()

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        async with self.cluster, self.leading(load(SETTINGS, {}, {}), self.cluster.url):
            yield

    def see(self) -> None:
        """Let the store see the ConfigMap as it is."""
        found = msgspec.convert(self.cluster.get(*TARGET), ConfigMap)
        self.config_maps.replace([found], found.version)

    def override(self, text: str) -> None:
        self.cluster.patch(*TARGET, {"data": {"overrides.yaml": text}})
        self.see()

    def label(self, version: str, value: str = "") -> None:
        """Label the namespace of the team."""
        labels = {"kubernaut.io/toolset-trust": value} if value else None
        self.namespaces.replace([Namespace(NamespaceMeta("team", "", "u", version, labels))], version)

    async def settles(self, *expected: str) -> None:
        """Return once the Services of these namespaces are published, in this order."""
        await until(
            lambda: [*dict.fromkeys(re.findall(r"http://grafana\.(\w+)\.svc", self.documents()))] == [*expected]
        )

    def pending(self) -> float:
        return exposed(self.metrics).get('toolset_candidates{type="grafana",verdict="Pending"}', 0.0)


async def test_an_opted_in_service_waits_until_an_override_approves_it() -> None:
    leader = TrustingLeader()
    async with leader.working():
        await leader.settles("ops")
        await until(lambda: leader.pending() == 1)
        assert [reason for reason, about in leader.events.reasons() if about == grafana("team").key] == ["Pending"]
        leader.override("approve: [team/grafana]")
        await leader.settles("ops", "team")
        await until(lambda: leader.pending() == 0)
        leader.override("suppress: []")
        await leader.settles("ops")


async def test_a_label_of_the_namespace_approves_all_that_is_in_it() -> None:
    leader = TrustingLeader()
    async with leader.working():
        await leader.settles("ops")
        leader.label("2", "trusted")
        await leader.settles("ops", "team")
        leader.label("3", "untrusted")
        await leader.settles("ops")


async def test_what_was_approved_before_a_start_is_published_at_once() -> None:
    """It must not go and come again with each restart."""
    leader = TrustingLeader("approve: [team/grafana]")
    async with leader.working():
        await leader.settles("ops", "team")
        assert "Pending" not in [reason for reason, _ in leader.events.reasons()]
