"""Pods of the service come and go, and what is published stays true."""

from collections.abc import Iterator

import pytest

from e2e.cluster import DEPLOYMENT, Cluster
from integration.cluster import Tool
from support.waiting import eventually, settles

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

LEASE_S = 18.0


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[Cluster]:
    """Yield the cluster with two replicas; one is left after the test."""
    cluster.scale(DEPLOYMENT, 2)
    settles(lambda: len(cluster.pods()), 2, within_s=30)
    yield cluster
    cluster.scale(DEPLOYMENT, 1)
    settles(lambda: len(cluster.pods()), 1, within_s=60)
    eventually(lambda: cluster.leader() in cluster.pods(), within_s=30)


@pytest.mark.parametrize(
    "how", [pytest.param((), id="deleted"), pytest.param(("--force", "--grace-period=0"), id="forced")]
)
def test_a_standby_takes_over_from_a_deleted_leader_and_nothing_wrong_is_written(
    how: tuple[str, ...], pair: Cluster, tool: Tool
) -> None:
    before, first = pair.data(), pair.leader()
    assert first in pair.pods()
    with pair.versions() as versions:
        pair.kubectl("delete", "pod", first, "--wait=false", *how)
        eventually(lambda: pair.leader() not in {first, ""}, LEASE_S + 10)
        pair.kubectl("rollout", "status", DEPLOYMENT, "--timeout=60s")
    assert versions == [before] * len(versions)

    pair.delete(tool)  # the present leader does the work
    settles(lambda: pair.urls(tool.namespace), [], within_s=10)


def test_a_rolling_restart_replaces_all_pods_and_writes_nothing(cluster: Cluster, tool: Tool) -> None:
    before, pods = cluster.data(), set(cluster.pods())
    with cluster.versions() as versions:
        cluster.kubectl("rollout", "restart", DEPLOYMENT)
        cluster.kubectl("rollout", "status", DEPLOYMENT, "--timeout=90s")
        eventually(lambda: cluster.pods() and not pods & set(cluster.pods()), within_s=60)
        eventually(lambda: cluster.leader() in cluster.pods(), within_s=30)
    assert versions == [before]
    assert tool.url in cluster.urls(tool.namespace)
