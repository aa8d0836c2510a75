"""A backend that dies is removed, but not for a blip, and it returns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import controlplane
from integration import backends as products
from integration.backends import Backends, Daemon
from integration.cluster import Cluster, Tool, expected_urls
from integration.service import Start, eventually, settles

pytestmark = pytest.mark.integration

FALL: Final = 3
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
    story = [line["message"] for line in service.lines()]
    removed = len(story) - 1 - story[::-1].index("config map written")
    assert story[:removed].count("probe failed") == FALL

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
