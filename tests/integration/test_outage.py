"""The API server dies in the middle of changes: the service stays, publishes nothing wrong, and catches up."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx
import pytest

import seeding
from controlplane import ControlPlane
from integration.backends import Backends
from integration.cluster import Cluster, Tool, expected_urls, urls_in
from integration.service import Start
from support.waiting import eventually, settles

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CATCH_UP_S: Final = 10.0
COUNT: Final = 10_000


def grafana(name: str, priority: int) -> Tool:
    annotations = {"toolset-priority": str(priority)}
    return Tool("grafana", "team-a", name, 3000, "service", labels={"app": "grafana"}, annotations=annotations)


STEADY: Final = tuple(grafana(f"steady-{number}", 99 - number) for number in range(5))
COMING_AND_GOING: Final = tuple(grafana(f"changing-{number}", 49 - number) for number in range(6))
MORTAL: Final = grafana("mortal", 1)
EVERY: Final = (*STEADY, *COMING_AND_GOING, MORTAL)


@pytest.fixture
def own_plane(assets: Path, tmp_path: Path) -> Iterator[ControlPlane]:
    plane = seeding.seeded(assets, tmp_path / "plane", COUNT)
    try:
        plane.apply_base()
        yield plane
    finally:
        plane.stop()


class Changes:
    """Somebody who creates and deletes Services all the time, whether or not the API server is there."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._chance = random.Random(8)  # noqa: S311 - reproducible, not secret
        self._stopping = threading.Event()
        self.made = 0
        self.failed = 0

    def run(self) -> None:
        while not self._stopping.wait(0.01):
            tool = self._chance.choice(COMING_AND_GOING)
            try:
                if self._cluster.admin.get(tool.path).status_code == 200:
                    self._cluster.delete(tool)
                else:
                    self._cluster.create(tool)
                self.made += 1
            except httpx.TransportError:
                self.failed += 1
            except httpx.HTTPStatusError as error:  # for a moment after its start it cannot allocate addresses
                if error.response.status_code < 500:
                    raise
                self.failed += 1

    def stop(self) -> None:
        self._stopping.set()


@pytest.mark.alone
def test_an_api_server_that_is_killed_in_the_middle_of_changes_costs_nothing(
    own_plane: ControlPlane, start: Start, backends: Backends
) -> None:
    with own_plane.client() as admin, ThreadPoolExecutor(1) as pool:
        cluster = Cluster(own_plane, admin)
        cluster.create(*STEADY, MORTAL)
        service = start(cluster, EVERY, HEALTH__INTERVAL="500ms")
        settles(cluster.urls, expected_urls("grafana", (*STEADY, MORTAL)), within_s=20)
        changes = Changes(cluster)
        changing = pool.submit(changes.run)
        try:
            eventually(lambda: changes.made > 20, within_s=10)

            own_plane.kill_apiserver()
            eventually(lambda: changes.failed > 20, within_s=10)
            backends.answers.fail(MORTAL.authority)
            assert service.status("/livez") == 200
            own_plane.start_apiserver()
            returned = time.monotonic()
            made = changes.made
            eventually(lambda: changing.done() or changes.made > made + 20, within_s=10)
        finally:
            changes.stop()
        changing.result(10)

        present = [tool for tool in EVERY[:-1] if admin.get(tool.path).status_code == 200]
        settles(cluster.urls, expected_urls("grafana", present), CATCH_UP_S - (time.monotonic() - returned))
        assert service.exit_code is None
        assert wrong_writes(cluster) == []
        cluster.clean()


def wrong_writes(cluster: Cluster) -> list[dict[str, str]]:
    """Return the URLs of each write that lacks a healthy tool, or has one that never was."""
    steady, every = {tool.url for tool in STEADY}, {tool.url for tool in EVERY}
    wrong: list[dict[str, str]] = []
    for event in cluster.writes():
        if "requestObject" not in event:  # refused before it was read, while the API server was starting
            assert event["responseStatus"]["code"] >= 300, event
        elif "kind" in event["requestObject"]:  # an apply; removals by merge patch name only keys that go
            urls = urls_in(event["requestObject"]["data"])
            wrong += [] if steady <= set(urls.values()) <= every else [urls]
    return wrong


def test_a_write_that_was_due_while_the_api_server_was_away_is_made_when_it_returns(
    cluster: Cluster, start: Start, backends: Backends
) -> None:
    cluster.create(STEADY[0], MORTAL)
    service = start(cluster, EVERY, HEALTH__INTERVAL="300ms")
    settles(cluster.urls, expected_urls("grafana", (STEADY[0], MORTAL)), within_s=10)

    cluster.plane.kill_apiserver()
    try:
        backends.answers.fail(MORTAL.authority)
        eventually(lambda: service.logged("reconcile failed"), within_s=10)
    finally:
        cluster.plane.start_apiserver()

    settles(cluster.urls, expected_urls("grafana", STEADY[:1]), CATCH_UP_S)
