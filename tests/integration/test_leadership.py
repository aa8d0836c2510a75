"""Two replicas on one cluster: one works, the other takes over, and never both."""

import json
import re
import signal
import socket
import threading
import time
from typing import Any, Final

import pytest

from integration.backends import Backends
from integration.cluster import NAMESPACE, SERVICE_ACCOUNT, Cluster, boards, expected_urls
from integration.service import Service, Start
from support.waiting import eventually, settles

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{SERVICE_ACCOUNT}"
WRITER: Final = re.compile(r"\((?P<identity>[^;]+); epoch (?P<epoch>[0-9]+)\)")
ASLEEP_S: Final = 30.0
BOARDS: Final = boards("grafana below /a and /b", 3)


class Pair:
    """A leader and a standby that has followed the cluster."""

    def __init__(self, cluster: Cluster, start: Start) -> None:
        cluster.admin.delete(LEASE)
        self._before = len(cluster.writes())
        cluster.create(BOARDS[0])
        self.cluster = cluster
        self.leader = start(cluster, BOARDS, ELECTION__ENABLED="true")
        settles(cluster.urls, expected_urls("grafana", BOARDS[:1]), within_s=10)
        self.standby = start(cluster, BOARDS, ELECTION__ENABLED="true")
        eventually(lambda: self.standby.logged("leader seen"), within_s=10)

    def publishes_the_second_within(self, seconds: float) -> float:
        """Return how long it took until the second board was published."""
        began = time.monotonic()
        self.cluster.create(BOARDS[1])
        settles(self.cluster.urls, expected_urls("grafana", BOARDS[:2]), within_s=seconds)
        return time.monotonic() - began

    def writers(self) -> list[tuple[int, str]]:
        """Return epoch and identity of each write that was taken, oldest first."""
        taken = self.cluster.writes()[self._before :]
        return [writer(event) for event in taken if event["responseStatus"]["code"] < 300]


def writer(event: dict[str, Any]) -> tuple[int, str]:
    match = WRITER.search(event["userAgent"])
    assert match, event["userAgent"]
    return int(match["epoch"]), match["identity"]


@pytest.fixture
def pair(cluster: Cluster, start: Start) -> Pair:
    return Pair(cluster, start)


def masters(*services: Service) -> list[float]:
    return [service.metric("leader_election_master_status", name=SERVICE_ACCOUNT) for service in services]


def test_only_the_leader_probes_and_writes_and_the_standby_is_ready(pair: Pair) -> None:
    pair.publishes_the_second_within(5)
    assert masters(pair.leader, pair.standby) == [1, 0]
    assert (pair.leader.status("/readyz"), pair.standby.status("/readyz")) == (200, 200)
    assert pair.standby.logged("config map written") == []
    assert pair.standby.metric("toolset_probes_total", type="grafana", outcome="alive") == 0
    assert len({identity for _, identity in pair.writers()}) == 1


def test_a_leader_that_is_killed_is_followed_within_eighteen_seconds(pair: Pair) -> None:
    pair.leader.end(signal.SIGKILL)
    pair.publishes_the_second_within(18)
    assert masters(pair.standby) == [1]
    epochs = [epoch for epoch, _ in pair.writers()]
    assert epochs == sorted(epochs)
    assert len(set(pair.writers())) == 2


def test_a_leader_that_stops_cleanly_is_followed_within_three_seconds(pair: Pair) -> None:
    pair.leader.terminate()
    pair.publishes_the_second_within(3)
    assert pair.leader.wait(within_s=10) == 0


def test_a_leader_that_slept_writes_nothing_before_it_holds_the_lease_again(pair: Pair) -> None:
    first = pair.writers()[-1]
    wakes_at = time.monotonic() + ASLEEP_S
    pair.leader.send(signal.SIGSTOP)
    pair.publishes_the_second_within(18)
    second = pair.writers()[-1]
    assert second[0] == first[0] + 1
    threading.Event().wait(wakes_at - time.monotonic())

    pair.leader.send(signal.SIGCONT)
    pair.cluster.create(BOARDS[2])
    settles(pair.cluster.urls, expected_urls("grafana", BOARDS), within_s=5)
    eventually(lambda: pair.leader.logged("leadership ended"), within_s=15)
    eventually(lambda: masters(pair.leader, pair.standby) == [0, 1], within_s=5)
    assert {one for one in pair.writers() if one[0] >= second[0]} == {second}


def test_a_following_leader_keeps_what_is_published_though_its_first_probe_fails(
    pair: Pair, backends: Backends
) -> None:
    writes = len(pair.writers())
    backends.answers.fail(BOARDS[0].authority, times=1)
    pair.leader.end(signal.SIGKILL)
    eventually(lambda: masters(pair.standby) == [1], within_s=18)
    eventually(lambda: pair.standby.metric("toolset_probes_total", type="grafana", outcome="alive") >= 1, within_s=10)
    assert pair.cluster.urls() == expected_urls("grafana", BOARDS[:1])
    assert len(pair.writers()) == writes


def test_a_standby_that_stops_does_not_take_the_lease_that_its_leader_gives_back(
    cluster: Cluster, start: Start
) -> None:
    cluster.admin.delete(LEASE)
    leader = start(cluster, (), ELECTION__ENABLED="true")
    eventually(lambda: leader.logged("leadership taken"), within_s=10)
    standby = start(cluster, (), ELECTION__ENABLED="true", SHUTDOWN__DELAY="4s")
    eventually(lambda: standby.logged("leader seen"), within_s=10)

    standby.terminate()
    eventually(lambda: standby.logged("stopping"), within_s=2)
    leader.terminate()
    assert leader.wait(within_s=10) == 0
    assert standby.exit_code is None  # it had the time to take it
    assert standby.wait(within_s=10) == 0
    assert standby.logged("leadership taken") == []


def test_a_leader_that_loses_the_lease_while_it_drains_ends_at_once(
    cluster: Cluster, start: Start, backends: Backends
) -> None:
    cluster.admin.delete(LEASE)
    cluster.create(BOARDS[0])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        routes = {**backends.connect_to(BOARDS[:1]), BOARDS[1].authority: f"127.0.0.1:{silent.getsockname()[1]}"}
        leader = start(
            cluster,
            (),
            ELECTION__ENABLED="true",
            ELECTION__RETRY_PERIOD="200ms",
            TOOLSET_TEST_CONNECT_TO=json.dumps(routes),
            HEALTH__TIMEOUT="10s",
            SHUTDOWN__TIMEOUT="25s",
        )
        settles(cluster.urls, expected_urls("grafana", BOARDS[:1]), within_s=10)
        cluster.create(BOARDS[1])
        silent.settimeout(5)
        probe, _ = silent.accept()
        leader.terminate()
        eventually(lambda: leader.logged("stopping"), within_s=2)
        stolen = {"spec": {"holderIdentity": "another", "leaseTransitions": 1_000, "leaseDurationSeconds": 60}}
        cluster.patch(LEASE, stolen)
        assert leader.wait(within_s=5) == 0
        probe.close()
    assert cluster.admin.get(LEASE).json()["spec"]["holderIdentity"] == "another"
    cluster.admin.delete(LEASE)
