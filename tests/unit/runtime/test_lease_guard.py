from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Final

import anyio
import pytest

from support.background import running
from support.leases import HANGS, FakeLeaseClient, FakeLeases, Fault, refused
from toolset.errors import ForbiddenError, UnavailableError
from toolset.runtime.backoff import RETRY_AFTER_CAP_S
from toolset.runtime.election import DEFAULT_OPTIONS
from toolset.runtime.lease_guard import LeaseGuard

LEASE_S, RETRY_S = DEFAULT_OPTIONS.lease_s, DEFAULT_OPTIONS.retry_s
STARTED: Final = datetime(2025, 1, 1, tzinfo=timezone.utc)


class Process:
    """A process without an election, and when its work ran; times in seconds since it was started."""

    def __init__(self, server: FakeLeases) -> None:
        self.server, self.client = server, FakeLeaseClient(server)
        self.guard = LeaseGuard(self.client, self, now=self.now)
        self.holders: list[str] = []
        self.errors: list[Exception] = []
        self.forbidden: list[Exception] = []
        self.worked: list[tuple[float, float]] = []
        self._since = 0.0
        self._working = False

    def works(self) -> bool:
        return self._working

    def now(self) -> datetime:
        return STARTED + timedelta(seconds=anyio.current_time())

    def held(self, holder: str) -> None:
        self.holders.append(holder)

    def unreadable(self, error: ForbiddenError) -> None:
        self.forbidden.append(error)

    def failed(self, error: Exception) -> None:
        self.errors.append(error)

    def clock(self) -> float:
        return anyio.current_time() - self._since

    async def run(self) -> None:
        self._since = anyio.current_time()
        await self.guard.run(self._work)

    async def _work(self) -> None:
        began, self._working = self.clock(), True
        try:
            await anyio.sleep_forever()
        finally:
            self._working = False
            self.worked.append((began, self.clock()))

    def renew(self, holder: str = "pod-1", *, behind_s: float = 0.0) -> None:
        """Let ``holder`` write the Lease, with a clock that is ``behind_s`` seconds slow."""
        stamp = (self.now() - timedelta(seconds=behind_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.server.put(holder_identity=holder, lease_duration_seconds=15, renew_time=stamp)


def release(server: FakeLeases) -> None:
    server.put(holder_identity="")


@pytest.fixture
def process() -> Process:
    return Process(FakeLeases())


async def test_a_process_without_an_election_works_at_once_where_there_is_no_lease(process: Process) -> None:
    async with running(process.run):
        await anyio.sleep(0.001)
        assert process.works()
        assert not process.guard.is_waiting
        assert not process.guard.has_waited
    assert [verb for _, verb in process.client.asked] == ["read"]


async def test_a_live_lease_keeps_work_back_and_its_holder_is_named_once(process: Process) -> None:
    async with running(process.run):
        for _ in range(100):
            process.renew()
            await anyio.sleep(RETRY_S)
        assert not process.works()
        assert process.guard.is_waiting
        assert (process.guard.holder, process.holders) == ("pod-1", ["pod-1"])
        process.renew("pod-2")
        await anyio.sleep(RETRY_S + 0.1)
        assert process.holders == ["pod-1", "pod-2"]
    assert process.worked == []


async def test_work_begins_when_a_lease_has_not_moved_for_its_duration(process: Process) -> None:
    process.renew()
    async with running(process.run):
        await anyio.sleep(LEASE_S - 0.1)
        assert not process.works()
        await anyio.sleep(RETRY_S + 0.2)
        assert process.works()
        assert process.guard.has_waited


@pytest.mark.parametrize("free", [release, FakeLeases.delete])
async def test_work_begins_when_a_lease_is_released_or_deleted(
    process: Process, free: Callable[[FakeLeases], object]
) -> None:
    process.renew()
    async with running(process.run):
        await anyio.sleep(1.0)
        free(process.server)
        await anyio.sleep(RETRY_S)
        assert process.works()
        assert process.guard.holder == ""


async def test_a_lease_that_expired_long_ago_holds_work_up_for_two_renewals_only(process: Process) -> None:
    process.renew(behind_s=3600.0)
    async with running(process.run):
        await anyio.sleep(2 * RETRY_S + 0.1)
        assert process.works()


async def test_renewals_are_compared_with_the_wall_clock(process: Process) -> None:
    process.renew()
    process.guard = LeaseGuard(process.client, process)
    async with running(process.run):
        await anyio.sleep(2 * RETRY_S + 0.1)
        assert process.works(), "by the clock of this machine that was long ago"


@pytest.mark.parametrize("renewed", [None, "yesterday"])
async def test_a_lease_that_does_not_say_when_it_was_renewed_counts_as_an_old_one(
    process: Process, renewed: str | None
) -> None:
    process.server.put(holder_identity="pod-1", renew_time=renewed)
    async with running(process.run):
        await anyio.sleep(2 * RETRY_S + 0.1)
        assert process.works()


async def test_a_time_without_a_zone_is_utc(process: Process) -> None:
    process.server.put(holder_identity="pod-1", lease_duration_seconds=15, renew_time=f"{process.now():%FT%T.%f}")
    async with running(process.run):
        await anyio.sleep(2 * RETRY_S + 0.1)
        assert not process.works()


async def test_a_holder_whose_clock_is_slow_is_seen_by_its_renewals(process: Process) -> None:
    async with running(process.run):
        for _ in range(50):
            process.renew(behind_s=3600.0)
            await anyio.sleep(RETRY_S)
    assert process.worked == []


async def test_work_ends_when_somebody_takes_the_lease(process: Process) -> None:
    async with running(process.run):
        await anyio.sleep(100.0)
        process.renew()
        await anyio.sleep(LEASE_S)
        assert not process.works()
        assert process.holders == ["pod-1"]
    assert len(process.worked) == 1
    assert process.worked[0][1] <= 100.0 + LEASE_S


async def test_work_goes_on_while_the_lease_is_nobodys_and_costs_a_read_each_duration(process: Process) -> None:
    async with running(process.run):
        await anyio.sleep(100.0 * LEASE_S + 1.0)
        assert process.works()
    assert len(process.client.asked) == 101


async def test_a_guard_ends_with_its_work(process: Process) -> None:
    async def work() -> None:
        await anyio.sleep(1.0)

    began = anyio.current_time()
    await process.guard.run(work)
    assert anyio.current_time() - began == pytest.approx(1.0)


async def test_a_lease_that_may_not_be_read_is_respected_no_more_and_asked_for_once(process: Process) -> None:
    process.renew()
    process.client.always = refused(ForbiddenError("leases is forbidden"))
    async with running(process.run):
        await anyio.sleep(1000.0)
        assert process.works()
    assert (len(process.forbidden), len(process.client.asked)) == (1, 1)


@pytest.mark.parametrize("fault", [refused(UnavailableError("down")), refused(KeyError("a bug")), HANGS])
async def test_nothing_begins_before_the_lease_is_known(process: Process, fault: Fault) -> None:
    process.client.always = fault
    async with running(process.run):
        await anyio.sleep(100.0)
        assert not process.works()
        assert process.holders == []
        assert len(process.errors) > 10
        process.client.always = None
        await anyio.sleep(DEFAULT_OPTIONS.request_s + RETRY_S + 0.1)
        assert process.works()


async def test_work_goes_on_while_the_api_server_is_down(process: Process) -> None:
    async with running(process.run):
        await anyio.sleep(1.0)
        process.client.always = refused(UnavailableError("down"))
        await anyio.sleep(1000.0)
        assert process.works()


async def test_an_api_server_that_asks_for_patience_is_not_asked_before(process: Process) -> None:
    process.client.faults.append(refused(UnavailableError("busy", retry_after_s=RETRY_AFTER_CAP_S)))
    async with running(process.run):
        await anyio.sleep(RETRY_AFTER_CAP_S - 0.1)
        assert len(process.client.asked) == 1
        await anyio.sleep(0.2)
        assert process.works()
