from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import anyio
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from support.background import running
from support.leases import ANSWER_LOST, HANGS, PROMPT, FakeLeaseClient, FakeLeases, Fault, refused
from toolset.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    LeadershipLostError,
    OutOfSyncError,
    SettingsError,
    TransientError,
    UnavailableError,
)
from toolset.model import Lease, LeaseMeta, LeaseSpec
from toolset.runtime.election import DEFAULT_OPTIONS, TRANSITIONS_LIMIT, ElectorOptions, Leadership
from toolset.runtime.elector import Elector

DOWN = refused(UnavailableError("connection refused"))
LONGEST_RETRY_S = 2.4
PROPERTY_EXAMPLES = 40


class Reported:
    """An observer that notes everything."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.errors: list[Exception] = []
        self.leaders: list[str] = []
        self.slow_paths = 0

    def started_leading(self, epoch: int) -> None:
        self.log.append(f"started {epoch}")

    def stopped_leading(self, epoch: int, *, lost: bool) -> None:
        self.log.append(f"{'lost' if lost else 'stopped'} {epoch}")

    def new_leader(self, identity: str) -> None:
        self.leaders.append(identity)

    def took_slow_path(self) -> None:
        self.slow_paths += 1

    def restarted_epochs(self, transitions: int) -> None:
        self.log.append(f"restarted after {transitions}")

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


def stall(seconds: float) -> None:
    """Let time pass while no task runs."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(seconds)


async def forever(_: Leadership) -> None:
    await anyio.sleep_forever()


class Replica:
    """An elector, what it reports, and when its work ran; times in seconds since the replica was made."""

    def __init__(
        self,
        server: FakeLeases,
        identity: str = "a",
        *faults: Fault,
        watching: bool = False,
        jitter: float = 1.0,
        options: ElectorOptions = DEFAULT_OPTIONS,
        now: Callable[[], datetime] | None = None,
        boottime: Callable[[], float] = anyio.current_time,
        work: Callable[[Leadership], Awaitable[None]] = forever,
    ) -> None:
        self.client = FakeLeaseClient(server, faults)
        self.reported = Reported()
        clock = {} if now is None else {"now": now}
        self.elector = Elector(
            self.client,
            identity,
            jitter=lambda: jitter,
            options=options,
            observer=self.reported,
            boottime=boottime,
            **clock,
        )
        self._work = work
        self._made = anyio.current_time()
        self.led: list[Leadership] = []
        self.began: list[float] = []
        self.ended: list[float] = []
        self.run_ended: float | None = None
        self.scope = anyio.CancelScope()
        if watching:
            self.elector.observe(server.current)
            server.watchers.append(self.elector.observe)

    def at(self) -> float:
        return round(anyio.current_time() - self._made, 6)

    async def run(self) -> None:
        with self.scope:
            await self.elector.run(self.lead)
        self.run_ended = self.at()

    async def lead(self, leadership: Leadership) -> None:
        self.led.append(leadership)
        self.began.append(self.at())
        try:
            await self._work(leadership)
        finally:
            self.ended.append(self.at())

    def is_leading(self) -> bool:
        return len(self.began) > len(self.ended)

    def verbs(self) -> list[str]:
        return [verb for _, verb in self.client.asked]


def holder(server: FakeLeases) -> str:
    return server.current.holder if server.current is not None else "(no lease)"


def writes(server: FakeLeases) -> list[str]:
    return [lease.holder for _, lease in server.writes]


# --- taking it --------------------------------------------------------------


async def test_an_absent_lease_is_created() -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        assert replica.verbs() == ["read", "create"]
        assert server.current is not None
        assert (server.current.holder, server.current.spec.lease_duration_seconds) == ("a", 15)
        assert (replica.began, replica.led[0].identity, replica.led[0].epoch) == ([0.0], "a", 0)
        assert replica.elector.leader == "a"


@pytest.mark.parametrize("nobody", [pytest.param("", id="an empty holder"), pytest.param(None, id="no holder")])
async def test_a_lease_that_nobody_holds_is_taken_at_once(nobody: str | None) -> None:
    server = FakeLeases()
    server.put(holder_identity=nobody, lease_duration_seconds=600, lease_transitions=7)
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
    assert (replica.began, replica.led[0].epoch) == ([0.0], 8)


async def test_a_lease_that_bears_our_name_is_taken_at_once_as_a_new_leadership() -> None:
    server = FakeLeases()
    server.put(holder_identity="a", lease_duration_seconds=600, lease_transitions=7)
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
    assert (replica.began, replica.led[0].epoch) == ([0.0], 8)


async def test_a_lease_carries_the_time_of_the_wall_clock_with_its_zone() -> None:
    server = FakeLeases()
    async with running(Replica(server).run):
        await anyio.sleep(1)
    renewed_at = server.writes[0][1].spec.renew_time
    assert abs(datetime.now(timezone.utc) - datetime.fromisoformat(renewed_at or "")) < timedelta(minutes=5)


def test_transitions_end_where_the_field_of_the_api_ends() -> None:
    assert TRANSITIONS_LIMIT == 2147483647  # int32


async def test_a_lease_whose_transitions_can_grow_no_more_is_taken_and_counted_from_0() -> None:
    server = FakeLeases()
    server.put(holder_identity="", lease_transitions=TRANSITIONS_LIMIT)
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(60)
        assert replica.is_leading()
    assert (replica.began, [led.epoch for led in replica.led]) == ([0.0], [0])
    assert replica.reported.log == [f"restarted after {TRANSITIONS_LIMIT}", "started 0", "stopped 0"]
    assert replica.reported.errors == []


@pytest.mark.parametrize("watching", [True, False])
@pytest.mark.parametrize(
    ("asked", "honoured"),
    [
        pytest.param(40, 40, id="longer than ours"),
        pytest.param(5, 5, id="shorter than ours"),
        pytest.param(None, 15, id="none said"),
    ],
)
async def test_a_lease_is_taken_when_it_was_seen_unchanged_for_as_long_as_its_holder_asked_for(
    asked: int | None, honoured: float, *, watching: bool
) -> None:
    server = FakeLeases()
    server.put(holder_identity="b", lease_duration_seconds=asked, renew_time="1999-01-01T00:00:00.000000Z")
    replica = Replica(server, watching=watching)
    async with running(replica.run):
        await anyio.sleep(100)
    assert replica.began == [honoured]


@pytest.mark.parametrize("watching", [True, False])
async def test_every_change_of_the_lease_starts_that_time_again(*, watching: bool) -> None:
    server = FakeLeases()
    server.put(holder_identity="b", lease_duration_seconds=15, renew_time="1")
    replica = Replica(server, watching=watching)
    async with running(replica.run):
        await anyio.sleep(14)
        server.put(renew_time="2")
        await anyio.sleep(100)
    assert 29.0 <= replica.began[0] <= 29.0 + LONGEST_RETRY_S


async def test_who_loses_the_race_for_a_free_lease_stands_by() -> None:
    server = FakeLeases()
    server.put(holder_identity="")
    replicas = [Replica(server, name, watching=True) for name in "abc"]
    async with running(replicas[0].run), running(replicas[1].run), running(replicas[2].run):
        await anyio.sleep(3600)
        assert sum(len(replica.led) for replica in replicas) == 1
    assert [replica.reported.errors for replica in replicas] == [[], [], []]


async def test_a_lease_that_was_deleted_is_created_again_only_when_its_holder_must_have_ended() -> None:
    server = FakeLeases()
    server.put(holder_identity="b", lease_duration_seconds=15)
    replica = Replica(server, watching=True)
    async with running(replica.run):
        await anyio.sleep(5)
        server.delete()
        assert replica.elector.leader == ""
        await anyio.sleep(100)
    assert replica.began == [20.0]


async def test_a_standby_that_missed_the_last_renewals_waits_after_the_lease_was_deleted() -> None:
    server = FakeLeases()
    server.put(holder_identity="b", lease_duration_seconds=15)
    replica = Replica(server, "a", PROMPT, *[DOWN] * 9)
    async with running(replica.run):
        await anyio.sleep(19.0)
        server.put(holder_identity="b", lease_duration_seconds=15)
        server.delete()
        await anyio.sleep(100)
    assert replica.began[0] >= 19.0 + 15.0


async def test_an_answer_that_came_after_its_time_makes_no_leader() -> None:
    server = FakeLeases()
    server.watchers.append(lambda _: stall(20) if len(server.writes) == 1 else None)
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(60)
    assert replica.began[0] >= 20.0
    assert [leadership.epoch for leadership in replica.led] == [1]


# --- a server that asks for patience ----------------------------------------


def busy(retry_after_s: float) -> Fault:
    return refused(UnavailableError("too many requests", retry_after_s=retry_after_s, throttled=True))


async def test_a_leader_that_is_asked_for_patience_renews_when_that_is_over() -> None:
    replica = Replica(FakeLeases(), "a", PROMPT, PROMPT, busy(5.0))
    async with running(replica.run):
        await anyio.sleep(60)
        assert len(replica.led) == 1
    assert replica.client.asked[:5] == [
        (0.0, "read"),
        (0.0, "create"),
        (2.0, "replace"),
        (7.0, "replace"),
        (9.0, "replace"),
    ]


async def test_a_leader_that_is_asked_for_more_patience_than_it_has_tries_once_before_its_time_is_over() -> None:
    replica = Replica(FakeLeases(), "a", PROMPT, PROMPT, busy(30.0))
    async with running(replica.run):
        await anyio.sleep(60)
        assert len(replica.led) == 1
    assert [at for at, _ in replica.client.asked[2:5]] == [2.0, 9.0, 11.0]


async def test_a_standby_that_is_asked_for_patience_waits_for_the_lease_as_long() -> None:
    server = FakeLeases()
    server.put(holder_identity="b", lease_duration_seconds=5)
    replica = Replica(server, "a", busy(30.0), busy(86_400.0))
    async with running(replica.run):
        await anyio.sleep(200)
    assert [at for at, _ in replica.client.asked[:3]] == [0.0, 30.0, 90.0]


async def test_a_standby_that_is_asked_for_patience_does_not_answer_a_release_with_a_request() -> None:
    server = FakeLeases()
    server.put(holder_identity="b", lease_duration_seconds=15)
    replica = Replica(server, "a", busy(10.0), watching=True)
    async with running(replica.run):
        await anyio.sleep(1)
        server.put(holder_identity="")
        await anyio.sleep(60)
    assert (replica.client.asked[1], replica.began) == ((10.0, "read"), [10.0])


async def test_a_release_that_is_asked_for_patience_does_not_insist() -> None:
    replica = Replica(FakeLeases(), "a", PROMPT, PROMPT, busy(30.0))
    async with running(replica.run):
        await anyio.sleep(1)
    assert replica.verbs() == ["read", "create", "read"]


# --- how a standby learns ---------------------------------------------------


async def test_a_standby_without_a_watch_asks_every_retry_with_jitter() -> None:
    server = FakeLeases()
    server.put(holder_identity="b", lease_duration_seconds=3600)
    replica = Replica(server, jitter=0.5)
    async with running(replica.run):
        await anyio.sleep(22.5)
    assert [time for time, _ in replica.client.asked] == pytest.approx([2.2 * number for number in range(11)])


async def test_a_standby_that_watches_asks_once_and_never_again_while_the_leader_renews() -> None:
    server = FakeLeases()
    leader, standby = Replica(server, "b"), Replica(server, watching=True)
    async with running(leader.run):
        await anyio.sleep(1)
        async with running(standby.run):
            await anyio.sleep(3600)
            assert standby.verbs() == ["read"]
            assert leader.verbs().count("read") == 1
            assert standby.elector.leader == "b"


async def test_a_standby_that_watches_takes_a_released_lease_within_a_moment() -> None:
    server = FakeLeases()
    leader, standby = Replica(server, "b"), Replica(server, watching=True)
    async with running(leader.run):
        await anyio.sleep(1)
        async with running(standby.run):
            await anyio.sleep(100)
            leader.scope.cancel()
            await anyio.sleep(0.001)
            assert standby.is_leading()
            assert standby.led[0].epoch == 1


async def test_a_release_that_is_reported_while_a_read_is_under_way_is_not_missed() -> None:
    server = FakeLeases()
    server.put(holder_identity="b")
    replica = Replica(server, "a", Fault(after_s=1.0), watching=True)
    async with running(replica.run):
        await anyio.sleep(0.5)
        server.put(holder_identity="")
        await anyio.sleep(10)
    assert replica.began == [1.0]


async def test_a_watch_that_fell_silent_is_noticed_when_the_lease_would_expire() -> None:
    server = FakeLeases()
    leader, standby = Replica(server, "b"), Replica(server, watching=True)
    async with running(leader.run):
        await anyio.sleep(1)
        async with running(standby.run):
            await anyio.sleep(60)
            server.watchers.clear()
            asked = len(standby.client.asked)
            await anyio.sleep(60)
            assert standby.led == []
            assert 18 <= len(standby.client.asked) - asked <= 30
            leader.scope.cancel()
            await anyio.sleep(LONGEST_RETRY_S)
            assert standby.is_leading()


async def test_a_watch_that_speaks_again_is_relied_on_again() -> None:
    server = FakeLeases()
    leader, standby = Replica(server, "b"), Replica(server)
    async with running(leader.run):
        await anyio.sleep(1)
        async with running(standby.run):
            await anyio.sleep(60)
            server.watchers.append(standby.elector.observe)
            await anyio.sleep(5)
            asked = len(standby.client.asked)
            await anyio.sleep(3600)
            assert len(standby.client.asked) == asked


async def test_an_old_event_takes_nothing() -> None:
    server = FakeLeases()
    server.put(holder_identity="")
    old = server.current
    server.put(holder_identity="b", lease_duration_seconds=15)
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        replica.elector.observe(old)
        replica.elector.observe(None)
        await anyio.sleep(10)
        assert replica.led == []
        assert writes(server) == ["", "b"]


async def test_a_leader_is_not_confused_by_a_watch_that_lags() -> None:
    server = FakeLeases()
    server.put(holder_identity="")
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        for reported in (None, Lease(LeaseMeta(resource_version="1"), LeaseSpec("b", 15))):
            replica.elector.observe(reported)
            assert replica.elector.leader == "a"
        await anyio.sleep(3600)
        assert replica.is_leading()
        assert replica.reported.leaders == ["a"]


# --- keeping it -------------------------------------------------------------


async def test_a_renewal_is_one_write_without_a_read() -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(10.5)
        assert replica.verbs() == ["read", "create", *["replace"] * 5]
        assert replica.reported.slow_paths == 0
        times = [time for time, _ in replica.client.asked[1:]]
        assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([2.0] * 5)


async def test_a_renewal_that_meets_another_version_reads_and_tries_again_at_once() -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        server.put(renew_time="edited")
        await anyio.sleep(1.5)
        assert replica.verbs()[2:] == ["replace", "read", "replace"]
        assert replica.reported.slow_paths == 1
        await anyio.sleep(3600)
        assert replica.is_leading()


async def test_a_renewal_keeps_the_time_of_acquisition_and_the_epoch() -> None:
    server = FakeLeases()
    server.put(holder_identity="", lease_transitions=3)
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(11)
    specs = [lease.spec for _, lease in server.writes[1:-1]]
    assert len(specs) == 6
    assert {(spec.acquire_time, spec.lease_transitions) for spec in specs} == {(specs[0].acquire_time, 4)}
    assert len({spec.renew_time for spec in specs}) == 6


@pytest.mark.parametrize("blip", [pytest.param(HANGS, id="silence"), pytest.param(DOWN, id="refusals")])
@pytest.mark.parametrize("begins_s", [0.5, 1.0, 1.5, 1.99, 2.01])
async def test_a_blip_of_seven_seconds_changes_no_leader(blip: Fault, begins_s: float) -> None:
    server = FakeLeases()
    leader, standby = Replica(server), Replica(server, "b")
    async with running(leader.run):
        await anyio.sleep(begins_s)
        async with running(standby.run):
            leader.client.always = standby.client.always = blip
            await anyio.sleep(7)
            leader.client.always = standby.client.always = None
            await anyio.sleep(3600)
            assert (len(leader.led), leader.is_leading(), standby.led) == (1, True, [])


async def test_a_hung_request_ends_the_leadership_before_the_lease_can_be_taken() -> None:
    server = FakeLeases()
    leader, standby = Replica(server), Replica(server, "b")
    async with running(leader.run):
        await anyio.sleep(0.1)
        async with running(standby.run):
            await anyio.sleep(2)
            leader.client.always = HANGS
            await anyio.sleep(60)
            assert leader.ended == [12.0]
            assert 17.0 <= standby.began[0] <= 17.0 + LONGEST_RETRY_S
    assert leader.reported.log == ["started 0", "lost 0"]


@pytest.mark.parametrize("lost", [HANGS, ANSWER_LOST])
async def test_a_request_takes_no_longer_than_half_the_time_to_renew(lost: Fault) -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        replica.client.faults.append(lost)
        await anyio.sleep(20)
    times = [time for time, _ in replica.client.asked]
    assert (times[2], times[3]) == pytest.approx((2.0, 9.0))  # 5 s for the request, 2 s until the next
    assert len(replica.led) == 1


@pytest.mark.parametrize("watching", [True, False])
async def test_a_leader_that_lost_the_lease_stands_by_and_may_lead_again(*, watching: bool) -> None:
    server = FakeLeases()
    first, second = Replica(server, watching=watching), Replica(server, "b", watching=watching)
    async with running(first.run):
        await anyio.sleep(1)
        async with running(second.run):
            first.client.always = HANGS
            await anyio.sleep(30)
            assert (first.is_leading(), second.is_leading()) == (False, True)
            first.client.always = None
            await anyio.sleep(30)
            assert (first.is_leading(), second.is_leading()) == (False, True)
            second.scope.cancel()
            await anyio.sleep(3)
            assert (first.is_leading(), second.is_leading()) == (True, False)
    assert [(leadership.epoch, leadership.stood_by) for leadership in first.led] == [(0, False), (2, True)]
    assert [(leadership.epoch, leadership.stood_by) for leadership in second.led] == [(1, True)]


async def test_a_leader_cut_off_for_a_while_leads_again_when_nobody_else_did() -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        replica.client.always = DOWN
        await anyio.sleep(100)
        assert not replica.is_leading()
        replica.client.always = None
        await anyio.sleep(LONGEST_RETRY_S)
        assert replica.is_leading()
    assert [leadership.epoch for leadership in replica.led] == [0, 1]


@pytest.mark.parametrize(
    ("changes", "began"),
    [
        pytest.param({"holder_identity": "thief"}, [0.0, 17.0], id="by another"),
        pytest.param({"lease_transitions": 9}, [0.0, 4.4], id="by a namesake"),
        pytest.param({"holder_identity": ""}, [0.0, 4.4], id="by an admin who emptied it"),
    ],
)
async def test_a_stolen_lease_ends_the_work_at_the_next_renewal(
    changes: dict[str, str | int], began: list[float]
) -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        server.put(**changes)
        await anyio.sleep(60)
        assert replica.ended == [2.0]
        assert replica.began == pytest.approx(began)


async def test_a_deleted_lease_ends_the_work_at_the_next_renewal() -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        server.delete()
        await anyio.sleep(60)
        assert replica.ended == [2.0]
        assert replica.began == pytest.approx([0.0, 4.4])


async def test_a_renewal_that_changed_nothing_because_the_wall_clock_stands_still_does_not_count() -> None:
    server = FakeLeases()
    still = datetime(2025, 1, 1, tzinfo=timezone.utc)
    leader, standby = Replica(server, now=lambda: still), Replica(server, "b", watching=True)
    async with running(leader.run):
        await anyio.sleep(1)
        async with running(standby.run):
            await anyio.sleep(8.9)
            assert leader.led[0].remaining_s() == pytest.approx(5.1)
            await anyio.sleep(0.2)
            assert leader.ended == [10.0]
            assert standby.led == []
    assert [type(error) for error in leader.reported.errors] == [UnavailableError] * 5


# --- errors -----------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("cut"),
        ForbiddenError("RBAC"),
        InvalidError("422"),
        OutOfSyncError("500"),
        ConflictError("409"),
        SettingsError("the kubeconfig is gone"),
        TimeoutError(),
        ConnectionResetError(),
        RuntimeError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_error_of_a_request_escapes_or_ends_the_election(error: Exception) -> None:
    server = FakeLeases()
    replica = Replica(server)
    replica.client.always = refused(error)
    async with running(replica.run):
        await anyio.sleep(60)
        assert 24 <= len(replica.client.asked) <= 31
        replica.client.always = None
        await anyio.sleep(LONGEST_RETRY_S)
        assert replica.is_leading()
        replica.client.always = refused(error)
        await anyio.sleep(60)
        assert not replica.is_leading()
        replica.client.always = None
        await anyio.sleep(LONGEST_RETRY_S)
        assert replica.is_leading()


async def test_a_failed_request_is_reported_and_a_lost_race_is_not() -> None:
    server = FakeLeases()
    down = UnavailableError("down")
    replica = Replica(server, "a", refused(down), Fault(), refused(ConflictError("quicker")))
    async with running(replica.run):
        await anyio.sleep(10)
        assert replica.is_leading()
    assert replica.reported.errors == [down]


async def test_a_take_whose_answer_was_lost_is_found_and_made_good() -> None:
    server = FakeLeases()
    replica = Replica(server, "a", Fault(), Fault(error=UnavailableError("cut")))
    async with running(replica.run):
        await anyio.sleep(10)
    assert replica.began == pytest.approx([2.4])
    assert replica.led[0].epoch == 1


# --- stopping ---------------------------------------------------------------


async def wind_down(_: Leadership) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(30)


async def test_a_cancelled_leader_ends_its_work_and_then_releases_the_lease() -> None:
    server = FakeLeases()
    leader, standby = Replica(server, work=wind_down), Replica(server, "b", jitter=0.0)
    async with running(leader.run):
        await anyio.sleep(1)
        async with running(standby.run):
            await anyio.sleep(9)
            leader.scope.cancel()
            await anyio.sleep(29)
            assert (holder(server), leader.ended, standby.led) == ("a", [], [])
            assert leader.led[0].remaining_s() > 0.0
            await anyio.sleep(3)
            assert leader.ended == [40.0]
            assert leader.run_ended == 40.0
            assert leader.led[0].lost.is_set()
            assert standby.led[0].epoch == 1
            assert standby.began[0] + 1 - leader.ended[0] <= 2.0
    assert [lease.holder for _, lease in server.writes].index("") == writes(server).index("b") - 1


async def test_what_is_written_at_a_release_is_what_client_go_writes() -> None:
    server = FakeLeases()
    server.put(lease_transitions=3)
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
    assert server.current is not None
    spec = server.current.spec
    assert (spec.holder_identity, spec.lease_duration_seconds, spec.lease_transitions) == ("", 1, 4)


async def test_work_that_ends_by_itself_ends_the_run_and_releases_the_lease() -> None:
    server = FakeLeases()

    async def drained(_: Leadership) -> None:
        await anyio.sleep(60)

    replica = Replica(server, work=drained)
    async with running(replica.run):
        await anyio.sleep(3600)
        assert (replica.run_ended, holder(server), len(replica.led)) == (60.0, "", 1)
        assert replica.reported.log == ["started 0", "stopped 0"]
        with pytest.raises(LeadershipLostError):
            replica.led[0].check()


async def test_work_that_fails_raises_after_the_lease_is_released() -> None:
    server = FakeLeases()

    async def broken(_: Leadership) -> None:
        await anyio.sleep(1)
        raise RuntimeError("a bug")

    with pytest.raises(ExceptionGroup) as caught:
        await Replica(server, work=broken).run()
    assert [str(error) for error in caught.value.exceptions] == ["a bug"]
    assert holder(server) == ""


async def test_work_that_notices_first_that_the_lease_is_lost_is_run_again() -> None:
    server = FakeLeases()

    async def stalled_once(leadership: Leadership) -> None:
        if leadership.epoch == 0:
            stall(16)
        leadership.check()
        await anyio.sleep_forever()

    replica = Replica(server, work=stalled_once)
    async with running(replica.run):
        await anyio.sleep(60)
        assert replica.is_leading()
        assert replica.began == pytest.approx([0.0, 18.4])
        assert replica.reported.log == ["started 0", "lost 0", "started 1"]


async def test_work_that_ends_because_the_lease_is_lost_is_run_again() -> None:
    server = FakeLeases()

    async def polite(leadership: Leadership) -> None:
        with anyio.move_on_after(100, shield=True):
            await leadership.lost.wait()

    replica = Replica(server, work=polite)
    async with running(replica.run):
        await anyio.sleep(1)
        server.put(holder_identity="")
        await anyio.sleep(60)
        assert replica.is_leading()
        assert replica.reported.log == ["started 0", "lost 0", "started 1"]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(before_s=1.0), id="before it was carried out"),
        pytest.param(Fault(after_s=1.0), id="after it was carried out"),
        pytest.param(Fault(late_s=1.0), id="and is carried out later"),
    ],
)
async def test_a_cancel_during_a_renewal_releases_the_lease(fault: Fault) -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        replica.client.faults.append(fault)
        await anyio.sleep(1.5)
        replica.scope.cancel()
        await anyio.sleep(10)
        assert replica.run_ended == 2.5
    assert holder(server) == ""


async def test_a_cancel_while_the_lease_is_being_taken_releases_it_and_starts_nothing() -> None:
    server = FakeLeases()
    replica = Replica(server, "a", Fault(), Fault(after_s=1.0))
    async with running(replica.run):
        await anyio.sleep(0.5)
        assert holder(server) == "a"
        replica.scope.cancel()
        await anyio.sleep(10)
        assert (replica.run_ended, replica.led, holder(server)) == (0.5, [], "")


async def test_a_cancel_in_the_step_in_which_the_lease_was_taken_starts_nothing() -> None:
    server = FakeLeases()
    replica = Replica(server)
    server.watchers.append(lambda _: replica.scope.cancel())
    await replica.run()
    assert (replica.led, holder(server)) == ([], "")


async def test_a_cancel_during_a_read_asks_nothing_more() -> None:
    server = FakeLeases()
    replica = Replica(server, "a", HANGS)
    async with running(replica.run):
        await anyio.sleep(0.5)
        replica.scope.cancel()
        await anyio.sleep(60)
        assert (replica.run_ended, replica.verbs()) == (0.5, ["read"])


@pytest.mark.parametrize("watching", [True, False])
async def test_a_cancelled_standby_never_elects(*, watching: bool) -> None:
    server = FakeLeases()
    leader, standby = Replica(server, "b"), Replica(server, watching=watching)
    async with running(leader.run):
        await anyio.sleep(1)
        async with running(standby.run):
            await anyio.sleep(10)
            standby.scope.cancel()
            leader.scope.cancel()
            await anyio.sleep(3600)
            assert (standby.led, holder(server)) == ([], "")
            assert set(standby.verbs()) == {"read"}


async def test_a_standby_that_stands_down_ends_at_once_and_never_elects() -> None:
    server = FakeLeases()
    leader, standby = Replica(server, "b"), Replica(server)
    async with running(leader.run):
        await anyio.sleep(1)
        async with running(standby.run):
            await anyio.sleep(10)
            await standby.elector.stand_down()
            ended = standby.run_ended
            leader.scope.cancel()
            await anyio.sleep(3600)
            assert (ended, standby.led, holder(server)) == (11.0, [], "")
            assert set(standby.verbs()) == {"read"}


async def test_a_leader_that_stands_down_leads_until_its_work_has_ended() -> None:
    server, drained = FakeLeases(), anyio.Event()
    replica = Replica(server, work=lambda _: drained.wait())
    async with running(replica.run):
        await anyio.sleep(1)
        async with anyio.create_task_group() as group:
            group.start_soon(replica.elector.stand_down)
            await anyio.sleep(60)
            assert replica.is_leading()
            drained.set()
        assert (replica.run_ended, holder(server), len(replica.led)) == (61.0, "", 1)


async def test_a_leader_that_loses_the_lease_while_it_stands_down_does_not_stand_by() -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        server.put(holder_identity="b")
        await replica.elector.stand_down()
        await anyio.sleep(3600)
        assert (len(replica.led), replica.is_leading(), holder(server)) == (1, False, "b")


async def test_standing_down_in_the_step_in_which_the_lease_was_taken_starts_nothing() -> None:
    server = FakeLeases()
    replica = Replica(server)
    server.watchers.append(lambda _: setattr(replica.elector, "_stands_down", True))
    await replica.run()
    assert (replica.led, holder(server)) == ([], "")


async def test_an_elector_that_stood_down_before_it_ran_never_asks() -> None:
    server = FakeLeases()
    replica = Replica(server)
    await replica.elector.stand_down()
    await replica.run()
    assert (replica.led, replica.client.asked) == ([], [])


async def test_a_release_reads_first_and_retries_a_conflict() -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        replica.client.faults += [Fault(), refused(ConflictError("409")), Fault(), Fault()]
        replica.scope.cancel()
        await anyio.sleep(1)
        assert replica.verbs()[2:] == ["read", "replace", "read", "replace"]
    assert holder(server) == ""


@pytest.mark.parametrize("fault", [HANGS, DOWN])
async def test_a_release_gives_up_after_two_seconds(fault: Fault) -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        replica.client.always = fault
        replica.scope.cancel()
        await anyio.sleep(60)
        assert replica.run_ended == 3.0


async def test_a_lease_that_is_anothers_by_now_is_not_released() -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        server.put(holder_identity="thief")
        replica.scope.cancel()
        await anyio.sleep(1)
        assert (replica.run_ended, holder(server)) == (1.0, "thief")


async def test_a_lease_that_is_gone_by_now_is_not_released() -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        server.delete()
        replica.scope.cancel()
        await anyio.sleep(1)
        assert (replica.run_ended, server.current) == (1.0, None)


# --- what the work sees -----------------------------------------------------


async def test_validity_is_counted_from_before_the_renewal_was_sent() -> None:
    server = FakeLeases()
    replica = Replica(server, "a", Fault(), Fault(before_s=1.0, after_s=2.0))
    async with running(replica.run):
        await anyio.sleep(3)
        await trio.testing.wait_all_tasks_blocked()
        assert replica.led[0].remaining_s() == pytest.approx(12.0)
        await anyio.sleep(2)
        await trio.testing.wait_all_tasks_blocked()
        assert replica.led[0].remaining_s() == pytest.approx(15.0)


async def test_after_a_stall_longer_than_the_validity_the_next_write_is_refused_before_anything_is_cancelled() -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        leadership = replica.led[0]
        leadership.check()
        stall(13.9)
        leadership.check()
        stall(0.2)
        assert not leadership.lost.is_set()
        assert replica.ended == []
        assert leadership.remaining_s() == 0.0
        with pytest.raises(LeadershipLostError, match=r"a no longer leads \(epoch 0\)"):
            leadership.check()
        await anyio.sleep(0.1)
        assert replica.ended == [15.1]


async def test_a_lost_leadership_is_no_longer_valid_although_its_time_is_not_over() -> None:
    server = FakeLeases()
    replica = Replica(server)
    async with running(replica.run):
        await anyio.sleep(1)
        server.put(holder_identity="thief")
        await replica.led[0].lost.wait()
        assert replica.led[0].remaining_s() == 0.0
        with pytest.raises(TransientError):
            replica.led[0].check()


async def test_work_that_does_not_end_when_it_lost_the_lease_is_unhealthy() -> None:
    server = FakeLeases()

    async def deaf(_: Leadership) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(50)

    replica, other = Replica(server, work=deaf), Replica(server, "b")
    assert replica.elector.healthy()
    async with running(replica.run):
        await anyio.sleep(1)
        async with running(other.run):
            replica.client.always = DOWN
            await anyio.sleep(33.9)
            assert (replica.elector.healthy(), replica.elector.healthy(grace_s=19.0)) == (True, False)
            await anyio.sleep(0.2)
            assert not replica.elector.healthy()
            assert other.elector.healthy()
            await anyio.sleep(20)
            assert replica.ended == [50.0]
            assert replica.elector.healthy()


async def test_the_leaders_name_is_reported_when_it_changes() -> None:
    server = FakeLeases()
    first, second = Replica(server), Replica(server, "b", watching=True)
    async with running(first.run):
        await anyio.sleep(1)
        async with running(second.run):
            await anyio.sleep(60)
            first.scope.cancel()
            await anyio.sleep(60)
    assert second.reported.leaders == ["a", "", "b", ""]
    assert first.reported.leaders == ["a", ""]


@pytest.mark.parametrize("offset_h", [-5, 0, 9])
async def test_times_are_written_in_utc_with_microseconds_whatever_the_time_zone(offset_h: int) -> None:
    server = FakeLeases()
    zone = timezone(timedelta(hours=offset_h))
    moment = datetime(2025, 6, 1, 12, 30, 15, 42, tzinfo=timezone.utc).astimezone(zone)
    replica = Replica(server, now=lambda: moment)
    async with running(replica.run):
        await anyio.sleep(1)
        assert server.current is not None
        spec = server.current.spec
    assert (spec.acquire_time, spec.renew_time) == ("2025-06-01T12:30:15.000042Z",) * 2


async def test_the_wall_clock_is_the_machines_unless_another_is_given() -> None:
    server = FakeLeases()
    async with running(Replica(server).run):
        await anyio.sleep(1)
        assert server.current is not None
        written = datetime.fromisoformat(server.current.spec.renew_time or "")
    assert abs(datetime.now(timezone.utc) - written) < timedelta(minutes=5)


async def test_an_elector_needs_no_observer() -> None:
    server = FakeLeases()
    client = FakeLeaseClient(server)
    elector = Elector(client, "a", jitter=lambda: 0.0)
    async with running(lambda: elector.run(forever)):
        await anyio.sleep(1)
        server.put(renew_time="edited")
        client.faults += [Fault(), DOWN]
        await anyio.sleep(10)
        assert holder(server) == "a"


async def test_a_fraction_of_a_second_is_asked_of_others_as_a_whole_one() -> None:
    server = FakeLeases()
    replica = Replica(server, options=ElectorOptions(lease_s=2.5, renew_s=1.5, retry_s=0.5))
    async with running(replica.run):
        await anyio.sleep(0.1)
        assert server.current is not None
        assert server.current.spec.lease_duration_seconds == 3
        assert replica.led[0].remaining_s() == pytest.approx(2.4)


# --- options ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"retry_s": 0.0}, "retry and release must be longer than nothing", id="no retry"),
        pytest.param({"release_s": -1.0}, "retry and release must be longer than nothing", id="no release"),
        pytest.param({"jitter": 0.9}, "the jitter at least 1", id="shrinking jitter"),
        pytest.param({"renew_s": 2.4}, r"renew \(2.4 s\) must be longer than retry", id="one attempt"),
        pytest.param({"lease_s": 12.4}, r"lease \(12.4 s\) must be longer than renew and retry", id="no margin"),
        pytest.param({"lease_s": 10.0}, r"together \(12.4 s\)", id="lease as long as renew"),
    ],
)
def test_times_that_do_not_fit_together_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ElectorOptions(**options)


def test_a_release_may_take_less_than_a_second() -> None:
    assert ElectorOptions(release_s=0.5).release_s == 0.5


def test_a_request_has_at_least_a_second() -> None:
    assert ElectorOptions().request_s == 5.0
    assert ElectorOptions(lease_s=3.0, renew_s=1.5, retry_s=0.5).request_s == 1.0


# --- never two, and soon one ------------------------------------------------


class Cluster:
    """Some replicas on one Lease, each of which checks at every write that it is alone."""

    def __init__(self, faults: Sequence[Sequence[Fault]], watches: Sequence[float | None]) -> None:
        self.server = FakeLeases()
        self.leaderships: list[Leadership] = []
        self.replicas = [
            Replica(self.server, f"replica-{number}", *list_of_faults, work=self._write)
            for number, list_of_faults in enumerate(faults)
        ]
        self._watches = watches

    @property
    def valid(self) -> list[Leadership]:
        return [leadership for leadership in self.leaderships if leadership.remaining_s()]

    async def _write(self, leadership: Leadership) -> None:
        self.leaderships.append(leadership)
        before = self.server.writes[-2][1].holder if len(self.server.writes) > 1 else ""
        if before != leadership.identity:  # nobody gave it to us: even a holder deaf to its end must be over its time
            over = [each.valid_until for each in self.leaderships if each.identity == before]
            assert max(over, default=0.0) <= anyio.current_time()
        while True:
            leadership.check()
            assert self.valid == [leadership]
            await anyio.sleep(0.5)

    async def _watch(self, replica: Replica, lag_s: float) -> None:
        send, receive = anyio.create_memory_object_stream[tuple[float, Lease | None]](1000)
        with send, receive:
            self.server.watchers.append(lambda lease: send.send_nowait((anyio.current_time(), lease)))
            async for time, lease in receive:
                await anyio.sleep_until(time + lag_s)
                replica.elector.observe(lease)

    async def run(self, replica: Replica) -> None:
        """Run a replica; one that is cancelled starts again, as its pod would."""
        while True:
            replica.scope = anyio.CancelScope()
            await replica.run()

    async def play(self, script: Sequence[tuple[float, str, int]]) -> None:
        async with anyio.create_task_group() as group:
            for replica, lag_s in zip(self.replicas, self._watches, strict=False):
                group.start_soon(self.run, replica)
                if lag_s is not None:
                    group.start_soon(self._watch, replica, lag_s)
            for pause_s, action, number in script:
                await anyio.sleep(pause_s)
                self._act(action, self.replicas[number % len(self.replicas)])
                assert len(self.valid) <= 1
            for replica in self.replicas:
                replica.client.faults.clear()
                replica.client.always = None
            await anyio.sleep(SETTLED_S)
            assert len(self.valid) == 1
            group.cancel_scope.cancel()

    def _act(self, action: str, replica: Replica) -> None:
        match action:
            case "restart":
                replica.scope.cancel()
            case "cut off":
                replica.client.always = HANGS
            case "connect":
                replica.client.always = None
            case _:
                stall(float(action))


SETTLED_S = 15.0 + 15.0 + 5.0 + 2.4 + 5.0
"""A late write may give the Lease to a replica that hangs in a request of 5 s and then retries; two leases, then."""

latencies = st.sampled_from([0.0, 0.1, 1.0, 3.0, 4.9, 6.0])
answers = st.builds(Fault, before_s=latencies, after_s=latencies)
failures = st.sampled_from(
    [
        HANGS,
        ANSWER_LOST,
        DOWN,
        refused(ConflictError("409")),
        refused(RuntimeError("a bug")),
        Fault(error=UnavailableError("cut")),
        Fault(late_s=6.0),
        Fault(late_s=12.0),
        Fault(late_s=20.0),
    ]
)
fault_lists = st.lists(st.one_of(answers, failures), max_size=12)
pauses = st.sampled_from([0.0, 0.5, 1.9, 2.1, 5.0, 9.0, 14.0, 16.0])
actions = st.sampled_from(["restart", "cut off", "connect", "1", "4", "9.5", "14.5", "16", "40"])
scripts = st.lists(st.tuples(pauses, actions, st.integers(0, 2)), max_size=12)
lags = st.sampled_from([None, 0.0, 0.2, 3.0, 30.0])


@pytest.mark.parametrize("count", [2, 3])
@given(data=st.data())
@hypothesis_settings(max_examples=PROPERTY_EXAMPLES)
async def test_there_are_never_two_leaders_and_soon_one_again_whatever_goes_wrong(
    count: int, data: st.DataObject
) -> None:
    faults = data.draw(st.lists(fault_lists, min_size=count, max_size=count), label="faults")
    watches = data.draw(st.lists(lags, min_size=count, max_size=count), label="watches")
    await Cluster(faults, watches).play(data.draw(scripts, label="script"))


class Machine:
    """A machine that can be suspended: no clock but its boot clock sees that."""

    def __init__(self) -> None:
        self.asleep_s = 0.0

    def boottime(self) -> float:
        return anyio.current_time() + self.asleep_s


async def test_a_leader_whose_machine_was_suspended_writes_nothing_before_it_has_renewed() -> None:
    machine = Machine()
    replica = Replica(FakeLeases(), boottime=machine.boottime)
    async with running(replica.run):
        await anyio.sleep(5.0)
        (leadership,) = replica.led
        leadership.check()
        machine.asleep_s = DEFAULT_OPTIONS.lease_s
        with pytest.raises(LeadershipLostError):
            leadership.check()
        await anyio.sleep(DEFAULT_OPTIONS.retry_s)
        leadership.check()
    assert replica.reported.log == ["started 0", "stopped 0"]


async def test_a_leader_whose_machine_was_suspended_ends_when_another_has_taken_the_lease() -> None:
    machine, server = Machine(), FakeLeases()
    replica = Replica(server, boottime=machine.boottime)
    async with running(replica.run):
        await anyio.sleep(5.0)
        machine.asleep_s = 60.0
        server.put(holder_identity="b", lease_transitions=1)
        with pytest.raises(LeadershipLostError):
            replica.led[0].check()
        await anyio.sleep(DEFAULT_OPTIONS.retry_s + 0.1)
        assert not replica.is_leading()
    assert replica.reported.log == ["started 0", "lost 0"]
