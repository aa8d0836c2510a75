"""A cluster that hack/e2e/deploy has deployed to, and a backend in it. Each test leaves both as it found them."""

import itertools
import os
from collections.abc import Iterator

import pytest

from e2e.cluster import DEPLOYMENT, Cluster, prometheus
from integration.cluster import Tool
from support.waiting import settles

BACKENDS = "e2e-backends"
NAMES = (f"metrics-{number}" for number in itertools.count())
"""A Service of its own for each test: what one test changes must not count in the next, where it would be paced."""


@pytest.fixture(scope="session")
def deployed() -> Cluster:
    """Return the cluster, with one replica of the service in it."""
    kubeconfig = os.getenv("TOOLSET_E2E_KUBECONFIG")
    if not kubeconfig:  # never that of KUBECONFIG by accident: these tests delete things
        pytest.fail("TOOLSET_E2E_KUBECONFIG names no cluster: run hack/cluster/test or hack/kind/test")
    cluster = Cluster(kubeconfig)
    cluster.kubectl("rollout", "status", DEPLOYMENT, "--timeout=60s")
    return cluster


@pytest.fixture(scope="session")
def backend(deployed: Cluster) -> Iterator[str]:
    """Yield a namespace that has a ready backend called ``prometheus``, and no Service."""
    deployed.kubectl("create", "namespace", BACKENDS)
    try:
        deployed.apply(prometheus("prometheus"), namespace=BACKENDS)
        deployed.kubectl("rollout", "status", "deployment/prometheus", "--timeout=60s", namespace=BACKENDS)
        yield BACKENDS
    finally:
        deployed.kubectl("delete", "namespace", BACKENDS)


@pytest.fixture
def cluster(deployed: Cluster) -> Iterator[Cluster]:
    """Yield the cluster; the service must not have met a bug of its own, and what is published be as before."""
    before = deployed.data()
    yield deployed
    settles(deployed.data, before, within_s=30)
    assert deployed.bugs() == []


@pytest.fixture
def tool(cluster: Cluster, backend: str) -> Iterator[Tool]:
    """Yield a Service that is published."""
    found = Tool("prometheus", backend, next(NAMES), 9090, "web", labels={"app.kubernetes.io/name": "prometheus"})
    cluster.create(found)
    try:
        settles(lambda: cluster.urls(backend), [found.url], within_s=30)
        yield found
    finally:
        cluster.kubectl("delete", f"service/{found.name}", "--ignore-not-found", namespace=backend)
