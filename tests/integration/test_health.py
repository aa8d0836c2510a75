"""A backend that dies is removed, but not for a blip, and it returns."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

import controlplane
from integration import backends as products
from integration.backends import Backends, Daemon
from integration.cluster import NAMESPACE, Cluster, Tool, expected_urls
from integration.service import Start
from support.waiting import eventually, settles

pytestmark = pytest.mark.integration

FALL: Final = 3
FLEET: Final = tuple(Tool("grafana", "fleet", f"grafana-{number}", 3000, "service") for number in range(10))
HELD: Final = {"HEALTH__INTERVAL": "1s", "HEALTH__HOLD": "8s"}
GRAFANA: Final = Tool("grafana", "team-a", "grafana", 3000, "service")


@pytest.fixture
def mortal(tmp_path: Path, backends: Backends) -> Iterator[Daemon]:
    del backends  # without them this one is not to be had either
    daemon = products.prometheus(tmp_path / "prometheus", controlplane.free_ports())
    daemon.start()
    yield daemon
    daemon.kill()


def test_a_backend_that_dies_is_removed_after_three_failures_and_returns(
    cluster: Cluster, start: Start, mortal: Daemon
) -> None:
    prometheus = Tool(mortal.address, "monitoring", "prometheus-server", 80)
    cluster.create(prometheus, GRAFANA)
    service = start(cluster, (prometheus, GRAFANA), HEALTH__INTERVAL="300ms")
    both = expected_urls("prometheus", [prometheus]) | expected_urls("grafana", [GRAFANA])
    settles(cluster.urls, both, within_s=10)

    mortal.kill()
    settles(cluster.urls, expected_urls("grafana", [GRAFANA]), within_s=10)
    eventually(lambda: service.logged("tool no longer published"), within_s=5)  # the log follows the write
    story = [line["message"] for line in service.lines()]
    assert story[: story.index("tool no longer published")].count("probe failed") == FALL

    mortal.start()
    settles(cluster.urls, both, within_s=10)


def test_a_blip_removes_nothing(cluster: Cluster, start: Start, backends: Backends) -> None:
    cluster.create(GRAFANA)
    service = start(cluster, (GRAFANA,), HEALTH__INTERVAL="200ms")
    settles(cluster.urls, expected_urls("grafana", [GRAFANA]), within_s=10)
    written = len(cluster.writes())

    backends.answers.fail(GRAFANA.authority, times=FALL - 1)
    eventually(lambda: len(service.logged("probe failed")) == FALL - 1, within_s=10)
    asked = backends.answers.requests[GRAFANA.authority]
    eventually(lambda: backends.answers.requests[GRAFANA.authority] >= asked + FALL, within_s=10)

    assert len(service.logged("probe failed")) == FALL - 1
    assert len(cluster.writes()) == written


def test_a_restart_drops_no_tool_on_its_first_failed_probe(cluster: Cluster, start: Start, backends: Backends) -> None:
    cluster.create(GRAFANA)
    first = start(cluster, (GRAFANA,))
    settles(cluster.urls, expected_urls("grafana", [GRAFANA]), within_s=10)
    first.terminate()
    assert first.wait(within_s=10) == 0
    written = len(cluster.writes())

    backends.answers.fail(GRAFANA.authority, times=1)
    asked = backends.answers.requests[GRAFANA.authority]
    second = start(cluster, (GRAFANA,), HEALTH__INTERVAL="200ms")
    eventually(lambda: backends.answers.requests[GRAFANA.authority] >= asked + FALL, within_s=10)

    assert len(second.logged("probe failed")) == 1
    assert len(cluster.writes()) == written


def published(cluster: Cluster) -> set[str]:
    return set(cluster.urls().values())


def test_slow_backends_are_probed_side_by_side(cluster: Cluster, start: Start, backends: Backends) -> None:
    """Defect of the original: it probed one after another."""
    cluster.create(*FLEET)
    backends.answers.takes_s = 0.5
    backends.answers.arrivals.clear()
    start(cluster, FLEET)
    settles(lambda: published(cluster), {tool.url for tool in FLEET}, within_s=10)
    first, *_, last = backends.answers.arrivals
    assert len(backends.answers.arrivals) == len(FLEET)
    assert last - first + 0.5 <= 0.7


def test_when_all_backends_fail_at_once_nothing_is_removed_for_a_while_and_then_the_failures_are_published(
    cluster: Cluster, start: Start, backends: Backends
) -> None:
    """Defect of the original: it published an empty list when its own network failed."""
    cluster.create(*FLEET)
    service = start(cluster, FLEET, **HELD)
    everything = {tool.url for tool in FLEET}
    settles(lambda: published(cluster), everything, within_s=10)
    written = len(cluster.writes())

    for tool in FLEET:
        backends.answers.fail(tool.authority)
    eventually(lambda: service.logged("removals held: most tools stopped answering at once"), within_s=10)
    eventually(lambda: service.metric("toolset_removals_held") == len(FLEET), within_s=6)
    assert len(cluster.writes()) == written
    assert published(cluster) == everything
    assert service.metric("toolset_removal_holds_total") == 1
    events = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
    eventually(lambda: "RemovalsHeld" in {each["reason"] for each in cluster.admin.get(events).json()["items"]}, 6)

    settles(lambda: published(cluster), set[str](), within_s=15)
    assert service.logged("removals no longer held")


def test_a_stack_that_is_uninstalled_while_removals_are_held_is_removed_at_once(
    cluster: Cluster, start: Start, backends: Backends
) -> None:
    cluster.create(*FLEET)
    service = start(cluster, FLEET, HEALTH__INTERVAL="1s", HEALTH__HOLD="1m")
    settles(lambda: published(cluster), {tool.url for tool in FLEET}, within_s=10)
    for tool in FLEET:
        backends.answers.fail(tool.authority)
    eventually(lambda: service.metric("toolset_removals_held") == len(FLEET), within_s=10)

    cluster.delete(*FLEET[3:])
    settles(lambda: published(cluster), {tool.url for tool in FLEET[:3]}, within_s=3)
    added = Tool("grafana", "team-a", "new", 3000, "service")
    cluster.create(added)
    eventually(lambda: service.logged("service added")[-1]["k8s.service.name"] == "new", within_s=3)
    assert {tool.url for tool in FLEET[:3]} <= published(cluster)


def test_a_backend_that_fails_every_other_probe_causes_no_write(
    cluster: Cluster, start: Start, backends: Backends
) -> None:
    cluster.create(GRAFANA)
    service = start(cluster, (GRAFANA,), HEALTH__INTERVAL="200ms")
    settles(cluster.urls, expected_urls("grafana", [GRAFANA]), within_s=10)
    written = len(cluster.writes())

    def failed(times: int) -> bool:
        return len(service.logged("probe failed")) == times

    def asked_more_than(times: int) -> bool:
        return backends.answers.requests[GRAFANA.authority] > times

    for round_ in range(1, 6):
        backends.answers.fail(GRAFANA.authority, times=1)
        eventually(partial(failed, round_), within_s=5)
        eventually(partial(asked_more_than, backends.answers.requests[GRAFANA.authority]), within_s=5)
    assert len(cluster.writes()) == written
