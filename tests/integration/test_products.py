"""Real products: discovered, probed, published and asked where they are published; killed once, and back."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import anyio.to_thread
import httpx
import msgspec
import orjson
import pytest

import controlplane
from integration import backends
from integration.backends import Daemon, find
from support.lacking import lack, want_full_run
from support.leader import TARGET, ClusterLeader
from support.series import exposed
from support.waiting import until
from toolset.config.loader import load
from toolset.model import ConfigMap, Service

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SETTINGS: Final = "health: {interval: 1s}\ndiscovery: {enabled_detectors: [alertmanager]}"


class Product(msgspec.Struct, frozen=True):
    """A product, the Service before it, and a question to it.

    Attributes:
        program: What the machine needs.
        make: Returns it, not started yet.
        labels: Of its Service.
        port: The name and the number of the Service's port.
        others: Further ports, behind which nothing is here.
        path: The base path at which it is published.
        question: What an agent may ask, below that.
        answer: What stands in the answer.
    """

    program: str
    make: Callable[[Path, int], Daemon]
    labels: Mapping[str, str]
    port: tuple[str, int]
    question: str
    answer: str
    path: str = ""
    others: tuple[tuple[str, int], ...] = ()


PRODUCTS: Final = {
    "prometheus": Product(
        "prometheus",
        backends.prometheus,
        {"app.kubernetes.io/name": "prometheus"},
        ("http-web", 9090),
        "/api/v1/query?query=vector(42)",
        '"42"',
    ),
    "prometheus-3": Product(
        "prometheus-3",
        backends.prometheus_3,
        {"app.kubernetes.io/name": "prometheus"},
        ("http-web", 9090),
        "/api/v1/query?query=vector(42)",
        '"42"',
    ),
    "victoria-metrics": Product(
        "victoria-metrics",
        backends.victoria_metrics,
        {"app.kubernetes.io/name": "vmsingle"},
        ("http", 8428),
        "/api/v1/query?query=vector(42)",
        '"42"',
    ),
    "alertmanager": Product(
        "alertmanager",
        backends.alertmanager,
        {"app.kubernetes.io/name": "alertmanager"},
        ("http-web", 9093),
        "/api/v2/alerts",
        "[]",
    ),
    "victoria-logs": Product(
        "victoria-logs",
        backends.victoria_logs,
        {"app.kubernetes.io/name": "victoria-logs-single"},
        ("http", 9428),
        "/select/logsql/query?query=*&limit=1",
        "",
    ),
    "jaeger": Product(
        "jaeger",
        backends.jaeger,
        {"app.kubernetes.io/name": "jaeger", "app.kubernetes.io/component": "query"},
        ("http-query", 16686),
        "/api/services",
        '"data"',
    ),
    "opensearch": Product(
        "opensearch",
        backends.opensearch,
        {"app": "opensearch"},
        ("http", 9200),
        "/_cluster/health",
        '"cluster_name":"logs"',
    ),
    "opensearch-without-tls": Product(  # whose chart turns TLS on, so that it is asked for TLS first
        "opensearch",
        backends.opensearch,
        {"app.kubernetes.io/name": "opensearch"},
        ("http", 9200),
        "/_cluster/health",
        '"cluster_name":"logs"',
        others=(("metrics", 9600),),
    ),
}


class ProductLeader(ClusterLeader):
    """A leader of a cluster with one Service, behind which a real product is."""

    def __init__(self, name: str, product: Product) -> None:
        super().__init__()
        self._host = f"{name}.products.svc.cluster.local:{product.port[1]}"
        self.url = f"http://{self._host}{product.path}"
        metadata = {"name": name, "namespace": "products", "uid": "u", "resourceVersion": "1", "labels": product.labels}
        spec = {
            "clusterIP": "10.96.0.1",
            "selector": product.labels,
            "ports": [{"name": port, "port": number} for port, number in (product.port, *product.others)],
        }
        self.services.replace([msgspec.convert({"metadata": metadata, "spec": spec}, Service)], "1")
        self.cluster.create("Namespace", {"metadata": {"name": TARGET[1]}})
        self.cluster.create(TARGET[0], {"metadata": {"namespace": TARGET[1], "name": TARGET[2]}, "data": {}})
        self.see()

    @asynccontextmanager
    async def working(self, daemon: Daemon) -> AsyncGenerator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOOLSET_TEST_CONNECT_TO", orjson.dumps({self._host: daemon.address}).decode())
            async with self.cluster, self.leading(load(SETTINGS, {}, {}), self.cluster.url):
                yield

    def see(self) -> None:
        found = msgspec.convert(self.cluster.get(*TARGET), ConfigMap)
        self.config_maps.replace([found], found.version)

    async def publishes(self, *, there: bool) -> None:
        await until(lambda: (self._host in self.documents()) is there, within_s=30)
        self.see()


@pytest.mark.parametrize("name", PRODUCTS)
async def test_a_real_product_is_published_removed_when_killed_and_published_again(name: str, tmp_path: Path) -> None:
    product = PRODUCTS[name]
    daemon, leader = _made(name, product.make, tmp_path), ProductLeader(name, product)
    try:
        await anyio.to_thread.run_sync(daemon.start)
        async with leader.working(daemon):
            await leader.publishes(there=True)
            assert leader.url in leader.documents() or product.path in leader.documents()
            await asked(daemon, product)
            daemon.kill()
            await leader.publishes(there=False)
            await anyio.to_thread.run_sync(daemon.start)
            await leader.publishes(there=True)
    finally:
        daemon.kill()


@pytest.mark.parametrize("name", ["prometheus", "prometheus-3"])
async def test_a_real_prometheus_agent_is_never_published(name: str, tmp_path: Path) -> None:
    product = PRODUCTS[name]
    agent = partial(backends.prometheus_agent, program=product.program)
    daemon, leader = _made(name, agent, tmp_path), ProductLeader(name, product)
    failed = 'toolset_probes_total{outcome="status",type="prometheus"}'
    try:
        await anyio.to_thread.run_sync(daemon.start)
        async with leader.working(daemon):
            await until(lambda: exposed(leader.metrics)[failed] >= 3.0, within_s=30)
            refused = 'toolset_candidates{type="prometheus",verdict="Unhealthy"}'
            await until(lambda: exposed(leader.metrics)[refused] == 1.0, within_s=30)
            assert leader.url not in leader.documents()
    finally:
        daemon.kill()


def _made(name: str, make: Callable[[Path, int], Daemon], folder: Path) -> Daemon:
    program = PRODUCTS[name].program
    want_full_run(program)
    if find(program) is None:
        lack(f"there is no {program} here; `make backends` fetches or builds it")
    return make(folder / name, controlplane.free_ports())


async def asked(daemon: Daemon, product: Product) -> None:
    """Ask what an agent may ask, at the product itself."""
    async with httpx.AsyncClient(base_url=f"http://{daemon.address}{product.path}", trust_env=False) as client:
        answer = await client.get(product.question)
    assert answer.is_success
    assert product.answer in answer.text
