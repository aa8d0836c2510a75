"""What a write meets on its way: an API server that asks for patience, a network that holds it up, a key that moves."""

import signal
import threading
import time
from pathlib import Path
from typing import Final

import pytest

from controlplane import ControlPlane
from integration import faults
from integration.cluster import TARGET, AuditTail, Cluster, expected_urls
from integration.demands import losses, omissions, rivals
from integration.faults import FaultProxy
from integration.service import Start
from integration.test_fault_runs import LEASE
from integration.test_faults import EVERY, SETTINGS, STEADY
from support.waiting import eventually, settles

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

NAME: Final = TARGET.rpartition("/")[2]
QUICK: Final = {
    "ELECTION__ENABLED": "true",
    "ELECTION__LEASE_DURATION": "3s",
    "ELECTION__RENEW_DEADLINE": "2s",
    "ELECTION__RETRY_PERIOD": "500ms",
}

LED_WITHIN_S: Final = 30.0
"""A Lease that ends, a list, and the time that a new leader gives the first probes, on a machine that is busy."""


def patches(proxy: FaultProxy, since: float) -> int:
    """Return how many writes of the ConfigMap came by."""
    return len([seen for seen in proxy.requests if seen.kind == "write" and NAME in seen.path and seen.at > since])


def test_a_throttled_write_waits_as_long_as_it_is_asked_to(cluster: Cluster, proxy: FaultProxy, start: Start) -> None:
    cluster.create(STEADY[0])
    start(cluster, EVERY, KUBE__KUBECONFIG=proxy.kubeconfig(cluster.kubeconfig()), **SETTINGS)
    settles(cluster.urls, expected_urls("grafana", STEADY[:1]), within_s=10)
    proxy.answer(faults.status(429, "TooManyRequests", retry_after_s=2), "write")
    began = time.monotonic()
    cluster.create(STEADY[1])
    eventually(lambda: patches(proxy, began), within_s=5)
    threading.Event().wait(1.5)

    assert patches(proxy, began) == 1


def test_a_tool_whose_key_changes_is_never_missing_in_between(cluster: Cluster, start: Start) -> None:
    """An admin edited a key of ours and took that back at once, so it is theirs; now its tool becomes the first."""
    cluster.create(*STEADY)
    start(cluster, EVERY, **SETTINGS)
    settles(cluster.urls, expected_urls("grafana", STEADY), within_s=10)
    audit = AuditTail(cluster.plane, NAME)
    key = "grafana.team-a.steady-1-toolset.yaml"
    text = cluster.data()[key]
    cluster.edit(**{key: "config: {url: 'http://elsewhere'}"})
    cluster.edit(**{key: text})

    cluster.patch(STEADY[1].path, {"metadata": {"annotations": {"kubernaut.io/toolset-priority": "99"}}})
    settles(cluster.urls, expected_urls("grafana", (STEADY[1], STEADY[0])), within_s=10)

    assert losses(audit.read(), {tool.url for tool in STEADY}) == []


def test_a_creation_that_was_held_up_in_the_network_is_refused_once_another_leader_has_written(
    cluster: Cluster, control_plane: ControlPlane, start: Start, tmp_path: Path
) -> None:
    cluster.admin.delete(LEASE)
    cluster.create(STEADY[0])
    with FaultProxy(control_plane, tmp_path) as proxy:
        first = start(cluster, EVERY, KUBE__KUBECONFIG=proxy.kubeconfig(cluster.kubeconfig()), **SETTINGS, **QUICK)
        settles(cluster.urls, expected_urls("grafana", STEADY[:1]), within_s=10)
        second = start(cluster, EVERY, **SETTINGS, **QUICK)
        eventually(lambda: second.logged("leader seen"), within_s=10)
        audit = AuditTail(cluster.plane, NAME)

        proxy.freeze("write")
        began = time.monotonic()
        cluster.admin.delete(TARGET).raise_for_status()
        eventually(lambda: patches(proxy, began), within_s=2)
        eventually(lambda: first.logged("leadership ended"), within_s=10)
        cluster.create(STEADY[1])  # only the second leader publishes it
        settles(cluster.urls, expected_urls("grafana", STEADY), within_s=10)
        proxy.heal()
        threading.Event().wait(1.0)

    events = audit.read()
    assert rivals(events, elected=True) == []
    taken = [event for event in events if event["responseStatus"]["code"] < 300]
    assert omissions(taken, {tool.url for tool in STEADY}) == []


@pytest.mark.parametrize("part", ["/services?", "/configmaps?", "watch=1"])
def test_a_standby_whose_view_is_old_lists_again_before_it_writes_as_the_next_leader(
    cluster: Cluster, control_plane: ControlPlane, start: Start, tmp_path: Path, part: str
) -> None:
    cluster.admin.delete(LEASE)
    cluster.create(STEADY[0])
    with FaultProxy(control_plane, tmp_path) as proxy:
        first = start(cluster, EVERY, **SETTINGS, **QUICK)
        settles(cluster.urls, expected_urls("grafana", STEADY[:1]), within_s=10)
        second = start(cluster, EVERY, KUBE__KUBECONFIG=proxy.kubeconfig(cluster.kubeconfig()), **SETTINGS, **QUICK)
        eventually(lambda: second.logged("leader seen"), within_s=10)
        proxy.stall(part)
        cluster.create(STEADY[1])
        settles(cluster.urls, expected_urls("grafana", STEADY), within_s=10)
        audit = AuditTail(cluster.plane, NAME)

        first.end(signal.SIGKILL)
        cluster.delete(STEADY[0])
        settles(cluster.urls, expected_urls("grafana", STEADY[1:]), within_s=LED_WITHIN_S)

    assert losses(audit.read(), {STEADY[1].url}) == []
