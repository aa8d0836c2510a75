"""What a machine may do to a process: suspend it, move its clocks, leave it without disk, memory and the like."""

import re
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import httpx
import msgspec
import pytest

import controlplane
from controlplane import Child
from integration.backends import Backends
from integration.clocks import Clocks
from integration.cluster import LEASE, Cluster, boards, expected_urls
from integration.faults import FaultProxy
from integration.service import ALONE, Start, command, environment
from support.lacking import lack
from support.waiting import eventually, settles

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

BOARDS: Final = boards("grafana below /a and /b", 4)
QUICK: Final = {
    "ELECTION__ENABLED": "true",
    "ELECTION__LEASE_DURATION": "5s",
    "ELECTION__RENEW_DEADLINE": "3s",
    "ELECTION__RETRY_PERIOD": "500ms",
    "HEALTH__INTERVAL": "1s",
}
LEASE_S: Final = 5.0
ASLEEP_S: Final = 8.0
HOUR_S: Final = 3600
GIGABYTE: Final = 2**30
SOON_S: Final = 8.0


@pytest.fixture
def clocks(tmp_path: Path) -> Clocks:
    (directory := tmp_path / "clocks").mkdir()
    return Clocks(directory)


def epoch(cluster: Cluster) -> tuple[str, int]:
    spec = cluster.admin.get(LEASE).json()["spec"]
    return spec["holderIdentity"], spec["leaseTransitions"]


def publishes(cluster: Cluster, count: int, within_s: float = SOON_S) -> None:
    """Let the next board come, and wait until it is published."""
    cluster.create(BOARDS[count - 1])
    settles(cluster.urls, expected_urls("grafana", BOARDS[:count]), within_s)


# --- Suspended


def test_a_standby_that_slept_longer_than_a_lease_takes_nothing_and_knows_what_it_missed(
    cluster: Cluster, start: Start
) -> None:
    cluster.admin.delete(LEASE)
    leader = start(cluster, BOARDS, **QUICK)
    publishes(cluster, 1)
    before = epoch(cluster)
    standby = start(cluster, BOARDS, **QUICK)
    eventually(lambda: standby.logged("leader seen"), within_s=10)
    standby.send(signal.SIGSTOP)
    publishes(cluster, 2)
    threading.Event().wait(ASLEEP_S)
    standby.send(signal.SIGCONT)
    publishes(cluster, 3)
    threading.Event().wait(2.0)
    assert epoch(cluster) == before
    assert standby.logged("leadership taken") == []
    assert standby.status("/livez") == 200

    leader.end(signal.SIGKILL)
    publishes(cluster, 4, within_s=LEASE_S + 10.0)
    assert epoch(cluster)[1] == before[1] + 1


def test_a_leader_whose_machine_was_suspended_goes_on_once_it_has_renewed(
    cluster: Cluster, start: Start, clocks: Clocks
) -> None:
    cluster.admin.delete(LEASE)
    leader = start(cluster, BOARDS, **QUICK, **clocks.environment)
    publishes(cluster, 1)
    before = epoch(cluster)
    for count in (2, 3):
        clocks.jump(boot_s=HOUR_S)
        publishes(cluster, count)
    eventually(lambda: leader.status("/readyz") == 200, within_s=5)
    assert epoch(cluster)[0] == before[0]


# --- Clocks


def test_a_wall_clock_that_jumps_costs_nothing(cluster: Cluster, start: Start, clocks: Clocks) -> None:
    cluster.admin.delete(LEASE)
    leader = start(cluster, BOARDS, **QUICK, **clocks.environment)
    standby = start(cluster, BOARDS, **QUICK)
    publishes(cluster, 1)
    before = epoch(cluster)
    for count, wall_s in ((2, 2 * HOUR_S), (3, -4 * HOUR_S), (4, 2 * HOUR_S)):
        clocks.jump(wall_s=wall_s)
        publishes(cluster, count)
        threading.Event().wait(LEASE_S)
        assert epoch(cluster) == before
        assert (leader.status("/livez"), leader.status("/readyz"), standby.status("/readyz")) == (200, 200, 200)
    times = [datetime.fromisoformat(line["time"]).timestamp() for line in leader.lines()]
    assert max(times) - min(times) > 3 * HOUR_S, "the clock did jump"


@pytest.mark.parametrize("offset_s", [10 * 365 * 24 * HOUR_S, -60])
def test_a_time_namespace_whose_machine_started_at_another_time_changes_nothing(
    offset_s: int, cluster: Cluster, start: Start
) -> None:
    enter = ["unshare", "-T", "--monotonic", str(offset_s), "--boottime", str(offset_s)]
    if shutil.which("unshare") is None or subprocess.run([*enter, "true"], check=False, capture_output=True).returncode:
        lack("a time namespace cannot be made here: that takes root, and Linux 5.6")
    cluster.admin.delete(LEASE)
    start(cluster, BOARDS, **QUICK, RUN_BY=" ".join(enter))
    publishes(cluster, 1, within_s=20)
    publishes(cluster, 2)


# --- What a process needs


class Silent(Child):
    """The service where its log cannot be read: behind a port that is known before."""

    def __init__(self, cluster: Cluster, backends: Backends, log: Path, **settings: str) -> None:
        port = controlplane.free_ports()
        routes = {"TOOLSET_TEST_CONNECT_TO": msgspec.json.encode(backends.connect_to(BOARDS)).decode()}
        fixed = {"SERVER__HOST": "127.0.0.1", "SERVER__PORT": str(port), "SHUTDOWN__DELAY": "0s"}
        given = environment(cluster.kubeconfig(), {**ALONE, **fixed, **routes, **settings})
        super().__init__(command(settings), log, given)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)


def test_a_full_disk_behind_the_log_costs_log_lines_only(cluster: Cluster, backends: Backends) -> None:
    service = Silent(cluster, backends, Path("/dev/full"), LOG__LEVEL="debug")
    try:
        publishes(cluster, 1, within_s=20)
        publishes(cluster, 2)
        assert service.http.get("/livez").status_code == service.http.get("/readyz").status_code == 200
        lost = re.search(r"^toolset_log_lines_dropped_total\S* (\S+)", service.http.get("/metrics").text, re.MULTILINE)
        assert lost is not None
        assert float(lost[1]) > 0.0
    finally:
        service.end(signal.SIGTERM)
        service.http.close()


def open_files(pid: int) -> int:
    return len([*Path(f"/proc/{pid}/fd").iterdir()])


@contextmanager
def limited(pid: int, what: int, limit: int) -> Generator[None]:
    """Lower a limit of a running process inside the block."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


def test_a_process_without_descriptors_removes_nothing_and_recovers(
    cluster: Cluster, proxy: FaultProxy, start: Start
) -> None:
    cluster.create(BOARDS[0])
    kubeconfig = proxy.kubeconfig(cluster.kubeconfig())
    service = start(cluster, BOARDS, KUBE__KUBECONFIG=kubeconfig, HEALTH__INTERVAL="300ms")
    settles(cluster.urls, expected_urls("grafana", BOARDS[:1]), within_s=10)
    writes = len(cluster.writes())
    assert service.status("/livez") == 200  # from here on this connection is open
    with limited(service.pid, resource.RLIMIT_NOFILE, open_files(service.pid)):
        proxy.cut(reset=True)
        with limited(service.pid, resource.RLIMIT_NOFILE, 3):
            for _ in range(50):
                assert service.status("/livez") == 200
                threading.Event().wait(0.1)
    assert len(cluster.writes()) == writes
    assert service.metric("toolset_local_resource_errors_total") > 0
    publishes(cluster, 2, within_s=20)
    eventually(lambda: service.status("/readyz") == 200, within_s=60)


def test_a_process_that_can_start_no_thread_ends_with_one_sentence(cluster: Cluster) -> None:
    """The stack of a thread would be larger than all memory that the process may have."""
    if (limiter := shutil.which("prlimit")) is None:
        lack("prlimit is missing")
    limits = [limiter, f"--stack={64 * GIGABYTE}", f"--as={8 * GIGABYTE}"]
    given = environment(cluster.kubeconfig(), {**ALONE, "SERVER__PORT": "0"})
    started = [*limits, *command({})]
    ended = subprocess.run(started, env=given, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("toolset: no thread can be started: raise the limit")
    assert "Traceback" not in ended.stderr
