"""kube-prometheus-stack and an ECK cluster as they are really made: one tool for each backend, in every dialect."""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import msgspec
import orjson
import pytest

from support.detection_cases import eck_cluster, kube_prometheus_stack
from support.leader import TARGET, ClusterLeader
from support.series import counted
from support.waiting import until
from toolset.config.loader import load
from toolset.model import ConfigMap, Service
from toolset.sim import Backends, EmbeddedCluster
from toolset.sim.backends import Product

SERVICES = (
    *kube_prometheus_stack("monitoring"),
    *eck_cluster("logging", "c1", ("master", "data-hot", "data-warm"), protocol="http"),
)
SETTINGS = "{output: {dialects: [kubernaut, holmesgpt, json]}, health: {interval: 1s, fall: 1}}"
PROMETHEUS, OPERATED = "kps-kube-prometheus-stack-prometheus.monitoring", "prometheus-operated.monitoring"
GRAFANA, ELASTICSEARCH = "kps-grafana.monitoring", "c1-es-http.logging"
EACH_ONCE = PROMETHEUS, GRAFANA, ELASTICSEARCH
CANDIDATES = 8
PRODUCTS: Mapping[int, Product] = {80: "grafana", 9090: "prometheus", 9200: "elasticsearch"}
DOMAIN = "svc.cluster.local"
HOST = re.compile(r"//([a-z0-9.-]+)\.svc\.cluster\.local")


def stamped(number: int, service: Service) -> Service:
    """Return ``service`` as the API server stores it."""
    meta = msgspec.structs.replace(service.metadata, uid=f"u-{number}", resource_version=f"{number}")
    return Service(meta, service.spec)


class Replica(ClusterLeader):
    """A replica of the service: it has its own stores, and shares the cluster with others."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        super().__init__()
        self.cluster = cluster
        self.services.replace([stamped(*each) for each in enumerate(SERVICES, 1)], "99")
        self._probes_before = 0.0
        self.see()

    def see(self) -> None:
        """Let the store see the ConfigMap as it is."""
        found = msgspec.convert(self.cluster.get(*TARGET), ConfigMap)
        self.config_maps.replace([found], found.version)

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        self._probes_before = self._probes()
        async with self.leading(load(SETTINGS, {}, {}), self.cluster.url):
            yield

    def has_looked(self) -> bool:
        """Whether it has probed every candidate since it began to work, and has published since."""
        tools = sum(counted(self.metrics, "toolset_tools").values())
        return self._probes() - self._probes_before >= CANDIDATES and tools == len(EACH_ONCE)

    def _probes(self) -> float:
        return sum(counted(self.metrics, "toolset_probes_total").values())


def published(cluster: EmbeddedCluster) -> dict[str, list[str]]:
    """Return by dialect the hosts of the tools; HolmesGPT has two toolsets for an Elasticsearch, both with its host."""
    data: Mapping[str, str] = (cluster.get(*TARGET) or {}).get("data", {})
    documents = "".join(text for name, text in data.items() if name.endswith("-toolset.yaml"))
    return {
        "kubernaut": sorted(HOST.findall(documents)),
        "holmesgpt": sorted(set(HOST.findall(data.get("custom_toolset.yaml", "")))),
        "json": sorted(HOST.findall(data.get("toolset.json", ""))),
    }


def everywhere(*tools: str) -> dict[str, list[str]]:
    return dict.fromkeys(("kubernaut", "holmesgpt", "json"), sorted(tools))


@asynccontextmanager
async def installed() -> AsyncGenerator[tuple[EmbeddedCluster, Backends]]:
    """Give a cluster with an empty ConfigMap, and what answers behind the Services."""
    cluster, backends = EmbeddedCluster(), Backends()
    cluster.create("Namespace", {"metadata": {"name": TARGET[1]}})
    cluster.create(TARGET[0], {"metadata": {"namespace": TARGET[1], "name": TARGET[2]}, "data": {}})
    for service in SERVICES:
        key, port = service.key, service.ports[0].port
        if product := PRODUCTS.get(port):
            backends.put(f"{key.name}.{key.namespace}.{DOMAIN}:{port}", product)
    async with cluster, backends:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOOLSET_TEST_CONNECT_TO", orjson.dumps(backends.connect_to()).decode())
            yield cluster, backends


async def test_each_backend_is_one_tool_in_every_dialect_before_and_after_a_restart_and_another_leader() -> None:
    async with installed() as (cluster, _):
        replica = Replica(cluster)
        async with replica.working():
            await until(lambda: published(cluster) == everywhere(*EACH_ONCE))
        version = cluster.get(*TARGET)
        for successor in (replica, Replica(cluster)):
            successor.see()
            async with successor.working():
                await until(successor.has_looked)
                assert published(cluster) == everywhere(*EACH_ONCE)
        assert cluster.get(*TARGET) == version, "nobody had a reason to write"


async def test_the_death_of_the_preferred_service_leaves_one_tool_of_its_backend() -> None:
    async with installed() as (cluster, backends):
        replica = Replica(cluster)
        async with replica.working():
            await until(lambda: published(cluster) == everywhere(*EACH_ONCE))
            backends.fail(f"{PROMETHEUS}.{DOMAIN}:9090")
            backends.fail(f"{ELASTICSEARCH}.{DOMAIN}:9200")
            others = OPERATED, "c1-es-internal-http.logging", GRAFANA
            await until(lambda: published(cluster) == everywhere(*others))
            replica.see()
        survivor = Replica(cluster)
        async with survivor.working():
            await until(survivor.has_looked)
            assert published(cluster) == everywhere(*others)
            backends.heal(f"{PROMETHEUS}.{DOMAIN}:9090")
            backends.heal(f"{ELASTICSEARCH}.{DOMAIN}:9200")
            await until(lambda: published(cluster) == everywhere(*EACH_ONCE))
