import gc
import weakref
from functools import partial
from operator import itemgetter

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from support.background import running
from toolset.runtime.backoff import Backoff, RetryLimiter
from toolset.runtime.delays import Debounce
from toolset.runtime.turns import Turns
from toolset.runtime.workqueue import CAUSES_LIMIT, ShutDown, WorkQueue


async def take_all(queue: WorkQueue[str]) -> list[str]:
    """Take and give back what is ready, one after the other."""
    taken: list[str] = []
    while len(queue):
        taken.append(await queue.get())
    for key in taken:
        queue.done(key)
    return taken


class Served:
    """A worker that is done with each key at once, and notes when it got it."""

    def __init__(self, queue: WorkQueue[str]) -> None:
        self._queue = queue
        self._started = anyio.current_time()
        self.log: list[tuple[float, str]] = []

    async def work(self) -> None:
        while True:
            with self._queue.working(key := await self._queue.get()):
                self.log.append((round(anyio.current_time() - self._started, 6), key))


async def test_keys_come_out_in_the_order_they_went_in() -> None:
    queue = WorkQueue[str]()
    for key in "cab":
        queue.add(key)
    assert await take_all(queue) == ["c", "a", "b"]


async def test_a_key_added_many_times_comes_out_once() -> None:
    queue = WorkQueue[str]()
    for _ in range(10):
        queue.add("a")
    assert await take_all(queue) == ["a"]


async def test_a_key_added_while_in_work_comes_out_again_once_and_after() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    with queue.working(await queue.get()):
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0, "never with two workers"
    assert await take_all(queue) == ["a"]


async def test_a_key_comes_back_when_the_work_on_it_raises() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    key = await queue.get()
    with pytest.raises(RuntimeError), queue.working(key):
        raise RuntimeError
    queue.add("a")
    assert await take_all(queue) == ["a"]


async def test_a_worker_waits_until_there_is_work() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    async with running(served.work):
        await anyio.sleep(3600)
        queue.add("a")
        await anyio.sleep(1)
    assert served.log == [(3600.0, "a")]


async def test_a_delayed_key_comes_out_when_it_is_due() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    queue.add("late", after_s=10.0)
    queue.add("early", after_s=5.0)
    queue.add("now")
    async with running(served.work):
        await anyio.sleep(3600)
    assert served.log == [(0.0, "now"), (5.0, "early"), (10.0, "late")]


@pytest.mark.parametrize(
    ("first", "second"),
    [pytest.param(5.0, 60.0, id="the earlier first"), pytest.param(60.0, 5.0, id="the later first")],
)
async def test_of_two_delays_the_earlier_wins_and_the_key_comes_out_once(first: float, second: float) -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    async with running(served.work):
        queue.add("a", after_s=first)
        await wait_all_tasks_blocked()
        queue.add("a", after_s=second)
        await anyio.sleep(3600)
    assert served.log == [(5.0, "a")]


async def test_a_delayed_key_that_is_added_at_once_comes_out_once() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    queue.add("a", after_s=60.0)
    queue.add("a")
    async with running(served.work):
        await anyio.sleep(3600)
    assert served.log == [(0.0, "a")]


async def test_a_key_that_is_ready_ignores_a_delay() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    queue.add("a")
    queue.add("a", after_s=60.0)
    async with running(served.work):
        await anyio.sleep(3600)
    assert served.log == [(0.0, "a")]


async def test_a_key_delayed_again_after_it_came_out_has_a_new_timer() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    async with running(served.work):
        queue.add("a", after_s=60.0)
        queue.add("a")
        await anyio.sleep(10)
        queue.add("a", after_s=100.0)
        await anyio.sleep(3600)
    assert served.log == [(0.0, "a"), (110.0, "a")]


async def test_a_timer_that_was_overtaken_gives_a_new_one_for_the_same_moment_no_precedence() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    queue.add("b", after_s=60.0)
    queue.add("b")
    queue.done(await queue.get())
    queue.add("a", after_s=60.0)
    queue.add("b", after_s=60.0)
    async with running(served.work):
        await anyio.sleep(3600)
    assert served.log == [(60.0, "a"), (60.0, "b")]


async def test_a_delay_that_ends_while_the_key_is_in_work_waits_for_the_worker() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    queue.add("a")
    key = await queue.get()
    queue.add("a", after_s=5.0)
    async with running(served.work):
        await anyio.sleep(10)
        assert served.log == []
        queue.done(key)
        await anyio.sleep(10)
    assert served.log == [(10.0, "a")]


async def test_the_higher_priority_comes_first_and_equals_in_order() -> None:
    queue = WorkQueue[str]()
    for key, priority in [("a", -100), ("b", 0), ("c", 5), ("d", 0), ("e", -100)]:
        queue.add(key, priority=priority)
    assert await take_all(queue) == ["c", "b", "d", "a", "e"]


async def test_a_priority_is_raised_by_a_later_add() -> None:
    queue = WorkQueue[str]()
    queue.add("a", priority=-100)
    queue.add("b")
    queue.add("a", priority=1)
    assert len(queue) == 2
    assert await take_all(queue) == ["a", "b"]


async def test_a_priority_is_never_lowered() -> None:
    queue = WorkQueue[str]()
    queue.add("a", priority=5)
    queue.add("b", priority=1)
    queue.add("a", priority=-100)
    assert await take_all(queue) == ["a", "b"]


async def test_a_raised_key_goes_to_the_end_of_its_new_level() -> None:
    queue = WorkQueue[str]()
    queue.add("a", priority=-100)
    queue.add("b")
    queue.add("a")
    assert await take_all(queue) == ["b", "a"]


async def test_a_raised_key_does_not_jump_the_queue_when_it_comes_back() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    queue.add("a", priority=5)
    assert await take_all(queue) == ["a"]
    queue.add("a", priority=-100)
    queue.add("b", priority=-1)
    assert await take_all(queue) == ["b", "a"]


async def test_a_raise_that_came_while_in_work_counts_afterwards() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    with queue.working(await queue.get()):
        queue.add("b")
        queue.add("a")
        queue.add("a", priority=1)
    assert await take_all(queue) == ["a", "b"]


async def test_a_delay_keeps_the_highest_priority_it_was_given() -> None:
    queue = WorkQueue[str]()
    queue.add("a", after_s=5.0, priority=7)
    queue.add("a", after_s=1.0, priority=-3)
    queue.add("b", priority=6)
    await anyio.sleep(1)
    assert await queue.get() == "a"


async def test_an_add_at_once_inherits_the_priority_of_the_delay_it_ends() -> None:
    queue = WorkQueue[str]()
    queue.add("a", after_s=5.0, priority=7)
    queue.add("b", priority=6)
    queue.add("a")
    assert await take_all(queue) == ["a", "b"]


async def test_a_delay_for_a_key_that_is_ready_still_raises_its_priority() -> None:
    queue = WorkQueue[str]()
    queue.add("a", priority=-100)
    queue.add("b")
    queue.add("a", after_s=5.0, priority=1)
    assert await take_all(queue) == ["a", "b"]


async def test_a_key_that_fails_comes_back_later_each_time_until_it_is_forgotten() -> None:
    queue = WorkQueue[str](limiter=RetryLimiter(Backoff(base_s=1.0, spread=0.0)))
    served = Served(queue)
    async with running(served.work):
        for expected in (1, 2):
            queue.add_rate_limited("a")
            assert queue.failures("a") == expected
            await anyio.sleep(10)
        queue.forget("a")
        assert queue.failures("a") == 0
        queue.add_rate_limited("a")
        await anyio.sleep(10)
    assert served.log == [(1.0, "a"), (12.0, "a"), (21.0, "a")]


async def test_the_first_retry_comes_after_five_milliseconds() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    queue.add_rate_limited("a")
    async with running(served.work):
        await anyio.sleep(1)
    assert served.log == [(0.005, "a")]


async def test_shut_down_hands_out_what_is_ready_and_then_stops() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    queue.shut_down()
    assert await queue.get() == "a"
    with pytest.raises(ShutDown):
        await queue.get()


async def test_shut_down_ignores_adds_and_drops_delayed_keys() -> None:
    queue = WorkQueue[str]()
    queue.add("a", after_s=5.0)
    queue.shut_down()
    queue.add("b")
    queue.add("c", after_s=5.0)
    queue.add_rate_limited("d")
    await anyio.sleep(60)
    with pytest.raises(ShutDown):
        await queue.get()


async def test_shut_down_still_hands_out_a_key_that_was_added_while_in_work() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    queue.shut_down()
    queue.done(key)
    assert await queue.get() == "a"


async def test_shut_down_wakes_every_worker_and_may_be_repeated() -> None:
    queue = WorkQueue[str]()
    stopped: list[int] = []

    async def work(index: int) -> None:
        with pytest.raises(ShutDown):
            await queue.get()
        stopped.append(index)

    async with anyio.create_task_group() as group:
        for index in range(3):
            group.start_soon(work, index)
        await wait_all_tasks_blocked()
        queue.shut_down()
        queue.shut_down()
    assert sorted(stopped) == [0, 1, 2]


@pytest.mark.parametrize("after_s", [0.0, 0.01])
@pytest.mark.parametrize("cancelled", [0, 1])
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])  # which differ in what a cancelled task is given
async def test_a_getter_cancelled_at_the_moment_of_an_add_loses_neither_key_nor_wake_up(
    cancelled: int, after_s: float
) -> None:
    queue = WorkQueue[str]()
    taken: list[int] = []
    scopes = [anyio.CancelScope(), anyio.CancelScope()]

    async def take(number: int) -> None:
        with scopes[number]:
            await queue.get()
            taken.append(number)

    async with anyio.create_task_group() as group:
        for number in range(2):
            group.start_soon(take, number)
            await wait_all_tasks_blocked()
        queue.add("a", after_s=after_s)
        scopes[cancelled].cancel()
        await anyio.sleep(0.1)
        group.cancel_scope.cancel()
    assert len(taken) == 1


async def test_a_key_wakes_no_more_workers_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, looks = WorkQueue[str](), 0
    served = Served(queue)

    def look() -> float:
        nonlocal looks
        looks += 1
        return 0.0

    async with anyio.create_task_group() as workers:
        for _ in range(32):
            workers.start_soon(served.work)
        await wait_all_tasks_blocked()
        with monkeypatch.context() as patch:
            patch.setattr(anyio, "current_time", look)
            queue.add("a")
            await wait_all_tasks_blocked()
        workers.cancel_scope.cancel()
    assert len(served.log) == 1
    assert looks < 8


async def test_a_getter_that_is_cancelled_before_it_starts_takes_nothing() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await queue.get()
    assert len(queue) == 1


async def test_a_queue_knows_since_when_each_key_is_in_work() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    queue.add("b")
    await queue.get()
    await anyio.sleep(10)
    await queue.get()
    now = anyio.current_time()
    assert sorted(now - since for since in queue.in_work_since()) == pytest.approx([0.0, 10.0])
    queue.done("a")
    queue.done("b")
    assert queue.in_work_since() == []


async def test_a_worker_can_ask_how_its_key_came_to_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", priority=-100)
    await anyio.sleep(2)
    queue.add("a", priority=3)
    await queue.get()
    taken = queue.taken("a")
    assert taken.waited_s == pytest.approx(2.0)
    assert (taken.priority, taken.at) == (3, anyio.current_time())


class Reported:
    """An observer that notes everything."""

    def __init__(self) -> None:
        self.log: list[tuple[str, float]] = []

    def added(self) -> None:
        self.log.append(("added", 0))

    def taken(self, waited_s: float) -> None:
        self.log.append(("waited", waited_s))

    def finished(self, worked_s: float) -> None:
        self.log.append(("finished", worked_s))

    def retried(self) -> None:
        self.log.append(("retried", 0))


async def test_an_observer_hears_of_adding_waiting_and_working() -> None:
    reported = Reported()
    queue = WorkQueue[str](observer=reported)
    queue.add("a")
    queue.add("b")
    await anyio.sleep(3)
    with queue.working(await queue.get()):
        await anyio.sleep(4)
    assert reported.log == [
        ("added", 0),
        ("added", 0),
        ("waited", pytest.approx(3.0)),
        ("finished", pytest.approx(4.0)),
    ]


async def test_who_gives_a_key_back_learns_how_long_it_was_out() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    key = await queue.get()
    await anyio.sleep(4)
    assert queue.done(key) == pytest.approx(4.0)


async def test_an_observer_hears_of_a_key_added_twice_or_raised_only_once() -> None:
    reported = Reported()
    queue = WorkQueue[str](observer=reported)
    queue.add("a")
    queue.add("a")
    queue.add("a", priority=5)
    assert reported.log == [("added", 0)]


async def test_an_observer_hears_of_a_retry_when_it_is_deferred() -> None:
    reported = Reported()
    queue = WorkQueue[str](observer=reported)
    queue.add_rate_limited("a")
    assert reported.log == [("retried", 0)]


keys = st.sampled_from(["a", "b", "c"])
priorities = st.integers(-1, 1)


class Crew:
    """Workers that lose patience while they wait, and that check that no key is ever with two of them."""

    def __init__(self, queue: WorkQueue[str]) -> None:
        self._queue = queue
        self._busy: set[str] = set()
        self.current: dict[str, int] = {}  # the last change of each key
        self.observed: dict[str, int] = {}  # the last change that a reconcile began with

    async def work(self, patience_s: float, pass_s: float) -> None:
        while True:
            key: str | None = None
            with anyio.move_on_after(patience_s):
                try:
                    key = await self._queue.get()
                except ShutDown:
                    return
            if key is not None:
                with self._queue.working(key):
                    assert key not in self._busy
                    self._busy.add(key)
                    self.observed[key] = self.current[key]
                    await anyio.sleep(pass_s)
                    self._busy.remove(key)


@given(
    changes=st.lists(st.tuples(keys, priorities, st.sampled_from([0.0, 1.0, 3.0]), st.sampled_from([0.0, 0.5, 2.0]))),
    workers=st.lists(
        st.tuples(st.sampled_from([0.5, 1.0, 7.0]), st.sampled_from([0.0, 0.5, 4.0])), min_size=1, max_size=4
    ),
)
async def test_the_last_change_is_always_observed_and_no_key_is_with_two_workers(
    changes: list[tuple[str, int, float, float]], workers: list[tuple[float, float]]
) -> None:
    reported = Reported()
    queue = WorkQueue[str](observer=reported)
    crew = Crew(queue)
    async with anyio.create_task_group() as group:
        for patience_s, pass_s in workers:
            group.start_soon(crew.work, patience_s, pass_s)
        for number, (key, priority, after_s, pause_s) in enumerate(changes):
            crew.current[key] = number
            queue.add(key, priority=priority, after_s=after_s)
            await (anyio.sleep(pause_s) if pause_s else checkpoint())
        await anyio.sleep(60)
        queue.shut_down()
    assert crew.observed == crew.current
    assert len(queue) == 0
    assert queue.in_work_since() == []
    assert min((value for _, value in reported.log), default=0) >= 0


async def test_the_queue_is_idle_once_no_key_waits_is_delayed_or_is_in_work() -> None:
    queue: WorkQueue[str] = WorkQueue()
    await queue.wait_idle()
    queue.add("later", after_s=5.0)
    queue.add("twice")
    idle_at: list[float] = []

    async def wait() -> None:
        await queue.wait_idle()
        idle_at.append(anyio.current_time())

    started = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        key = await queue.get()
        queue.add(key)
        queue.done(key)
        for _ in range(2):
            key = await queue.get()
            await anyio.sleep(1)
            assert idle_at == []
            queue.done(key)
    assert idle_at == pytest.approx([started + 6.0])


async def test_who_waits_for_what_is_soon_does_not_wait_for_what_is_late() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("late", after_s=3600.0)
    queue.add("soon", after_s=1.0)
    started = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(queue.wait_idle, within_s=5.0))
        key = await queue.get()
        queue.add(key, after_s=2.0)  # it fails, and comes again soon
        queue.done(key)
        key = await queue.get()
        queue.add(key, after_s=4.0)  # it fails again, and comes too late
        queue.done(key)
    assert anyio.current_time() == pytest.approx(started + 3.0)


async def test_everyone_who_waits_for_an_idle_queue_is_woken() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    idle: list[int] = []

    async def wait(index: int) -> None:
        await queue.wait_idle()
        idle.append(index)

    async with anyio.create_task_group() as group:
        for index in range(3):
            group.start_soon(wait, index)
        await wait_all_tasks_blocked()
        queue.done(await queue.get())
    assert sorted(idle) == [0, 1, 2]


async def test_a_queue_whose_delayed_keys_are_dropped_is_idle() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", after_s=3600.0)
    started = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(queue.wait_idle)
        await wait_all_tasks_blocked()
        queue.shut_down()
    assert anyio.current_time() == started


async def test_a_queue_that_got_new_work_while_it_was_found_idle_is_not_idle() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    waiting = True

    async def wait() -> None:
        nonlocal waiting
        await queue.wait_idle()
        waiting = False

    async with running(wait):
        await wait_all_tasks_blocked()
        queue.done(await queue.get())
        queue.add("b")
        await wait_all_tasks_blocked()
        assert waiting


class Tracked:
    """A key of which a test can see whether anybody holds it."""


@pytest.mark.parametrize("way", ["worked on", "failed and forgotten", "raised", "overtaken", "shut down"])
async def test_nothing_is_kept_of_a_key_that_needs_no_more_work(way: str) -> None:
    queue: WorkQueue[Tracked] = WorkQueue()
    key = Tracked()
    trace = weakref.ref(key)
    match way:
        case "failed and forgotten":
            queue.add_rate_limited(key)
            queue.forget(key)
        case "raised":
            queue.add(key)
            queue.add(key, priority=1)
            queue.add(Tracked(), priority=-1)
        case "overtaken":
            queue.add(key, after_s=300.0)
            queue.add(key)
        case _:
            queue.add(key, after_s=300.0 if way == "shut down" else 0.0)
    if way == "shut down":
        queue.shut_down()
    else:
        queue.done(await queue.get())
    if way == "raised":
        queue.done(await queue.get())
    for _ in range(20 if way == "overtaken" else 0):  # each overtakes a timer of its own
        other = Tracked()
        queue.add(other, after_s=300.0)
        queue.add(other)
        queue.done(await queue.get())
        del other
    del key
    gc.collect()
    assert trace() is None


async def test_timers_that_were_overtaken_do_not_pile_up_and_the_others_still_ring() -> None:
    queue: WorkQueue[str] = WorkQueue()
    served = Served(queue)
    queue.add("patient", after_s=100.0)
    async with running(served.work):
        for _ in range(1000):
            queue.add("busy", after_s=300.0)
            queue.add("busy")
            await anyio.sleep(0.01)
        assert len(queue._delays._timers) < 30
        await anyio.sleep(3600)
    assert served.log[-1] == (100.0, "patient")


async def test_a_thousand_keys_that_fail_at_once_all_come_back() -> None:
    queue = WorkQueue[int]()
    for key in range(1000):
        queue.add_rate_limited(key)
    served: list[int] = []

    async def work() -> None:
        while True:
            with queue.working(key := await queue.get()):
                served.append(key)

    async with running(work):
        await anyio.sleep(600)
    assert sorted(served) == list(range(1000))


SETTLE = Debounce(quiet_s=1.0, at_most_s=5.0)


async def test_a_burst_settles_and_comes_out_once() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    async with running(served.work):
        for _ in range(3):
            queue.add("a", settle=SETTLE)
            await anyio.sleep(0.5)
        await anyio.sleep(60)
    assert served.log == [(2.0, "a")]


async def test_a_stream_of_changes_cannot_starve_a_key() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    async with running(served.work):
        for _ in range(20):
            queue.add("a", settle=SETTLE)
            await anyio.sleep(0.7)
        await anyio.sleep(60)
    assert served.log == [(5.0, "a"), (10.6, "a"), (14.3, "a")]


async def test_keys_settle_each_on_its_own() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    async with running(served.work):
        queue.add("a", settle=SETTLE)
        await anyio.sleep(0.7)
        queue.add("b", settle=SETTLE)
        await anyio.sleep(60)
    assert served.log == [(1.0, "a"), (1.7, "b")]


async def test_a_key_settles_before_any_worker_waits() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    queue.add("a", settle=SETTLE)
    async with running(served.work):
        await anyio.sleep(60)
    assert served.log == [(1.0, "a")]


async def test_a_key_whose_quiet_period_was_extended_does_not_overtake_one_due_before() -> None:
    queue = WorkQueue[str]()
    queue.add("settles", settle=Debounce(quiet_s=1.0, at_most_s=4.0))  # its timer goes off first
    queue.add("delayed", after_s=2.0)
    await anyio.sleep(10)
    queue.add("settles", settle=Debounce(quiet_s=1.0, at_most_s=4.0))  # but now it is due after the other
    assert [await queue.get() for _ in range(2)] == ["delayed", "settles"]


async def test_a_quiet_period_beyond_the_bound_is_cut_short() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    async with running(served.work):
        queue.add("a", settle=Debounce(quiet_s=10.0, at_most_s=2.0))
        await anyio.sleep(60)
    assert served.log == [(2.0, "a")]


async def test_a_key_that_settles_is_ready_at_once_when_it_is_added_without_delay() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    async with running(served.work):
        queue.add("a", settle=SETTLE)
        await anyio.sleep(0.5)
        queue.add("a")
        await anyio.sleep(60)
    assert served.log == [(0.5, "a")]


async def test_a_settling_key_ends_its_backoff_no_later_than_it_would_have() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    async with running(served.work):
        queue.add("a", after_s=1.2)
        for _ in range(4):
            queue.add("a", settle=SETTLE)
            await anyio.sleep(0.5)
        await anyio.sleep(60)
    assert served.log == [(1.2, "a"), (2.5, "a")]


async def test_a_change_is_not_delayed_by_a_longer_backoff() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    async with running(served.work):
        queue.add("a", after_s=30.0)
        queue.add("a", settle=SETTLE)
        await anyio.sleep(60)
    assert served.log == [(1.0, "a")]


async def test_a_key_in_work_that_settles_comes_out_again_after_both() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    served = Served(queue)
    with queue.working(await queue.get()):
        queue.add("a", settle=SETTLE)
        await anyio.sleep(3.0)
    async with running(served.work):
        await anyio.sleep(60)
    assert served.log == [(3.0, "a")]


async def test_a_settling_key_keeps_the_highest_priority() -> None:
    queue = WorkQueue[str]()
    queue.add("a", settle=SETTLE, priority=3)
    queue.add("a", settle=SETTLE)
    await anyio.sleep(1.0)
    with queue.working(key := await queue.get()):
        assert queue.taken(key).priority == 3


async def test_a_shut_down_makes_settling_keys_ready_and_drops_delayed_ones() -> None:
    queue = WorkQueue[str]()
    served = Served(queue)
    queue.add("settles", settle=SETTLE)
    queue.add("delayed", after_s=1.0)
    queue.add("both", after_s=0.5)
    queue.add("both", settle=SETTLE)
    queue.shut_down()
    with pytest.raises(ShutDown):
        await served.work()
    assert served.log == [(0.0, "settles"), (0.0, "both")]


async def test_a_settling_key_is_waited_for_within_the_bound_of_the_wait() -> None:
    queue = WorkQueue[str]()
    queue.add("a", settle=Debounce(quiet_s=3.0, at_most_s=9.0))
    await queue.wait_idle(within_s=2.0)
    with anyio.move_on_after(2.0) as patience:
        await queue.wait_idle(within_s=4.0)
    assert patience.cancelled_caught


async def test_a_worker_is_given_what_caused_the_adds_of_its_key_each_once() -> None:
    queue = WorkQueue[str]()
    for cause in ("x", "y", "x", None):
        queue.add("a", settle=SETTLE, cause=cause)
    queue.add("b", cause="z")
    queue.add("a")
    taken = {key: queue.taken(key).causes for key in [await queue.get(), await queue.get()]}
    assert taken == {"a": ("x", "y"), "b": ("z",)}
    queue.add("a", cause="later")
    queue.done("a")
    assert queue.taken(await queue.get()).causes == ("later",)


async def test_the_causes_of_a_key_are_bounded() -> None:
    queue = WorkQueue[str]()
    for number in range(2 * CAUSES_LIMIT):
        queue.add("a", cause=number)
    assert queue.taken(await queue.get()).causes == tuple(range(CAUSES_LIMIT))


@given(changes=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.25, 0.9, 1.5])), max_size=40))
async def test_every_change_comes_out_within_the_bound_and_never_before_the_quiet_period(
    changes: list[tuple[str, float]],
) -> None:
    waiting: dict[str, tuple[float, float]] = {}  # first and last change that has not come out yet
    queue = WorkQueue[str]()

    async def work() -> None:
        while True:
            with queue.working(key := await queue.get()):
                first, last = waiting.pop(key)
                now = anyio.current_time()
                assert now <= first + SETTLE.at_most_s + 1e-6
                assert now >= min(last + SETTLE.quiet_s, first + SETTLE.at_most_s) - 1e-6

    async with running(work):
        for key, pause in changes:
            now = anyio.current_time()
            waiting[key] = (waiting.get(key, (now, now))[0], now)
            queue.add(key, settle=SETTLE)
            await anyio.sleep(pause)
        await anyio.sleep(60)
    assert waiting == {}


async def test_groups_of_keys_take_turns() -> None:
    queue: WorkQueue[str] = WorkQueue(turns=Turns(itemgetter(0)))
    for key in ("a1", "a2", "a3", "a4", "b1", "b2"):
        queue.add(key)
    taken = [await queue.get() for _ in range(3)]
    queue.add("c1")
    queue.add("a0", priority=1)
    taken += [await queue.get() for _ in range(5)]
    assert taken == ["a1", "b1", "a2", "a0", "b2", "a3", "c1", "a4"]


async def test_a_group_that_was_empty_for_a_while_has_no_turns_left_over() -> None:
    queue: WorkQueue[str] = WorkQueue(turns=Turns(itemgetter(0)))
    for number in range(50):
        queue.add(f"a{number}")
        await queue.get()
    queue.add("b1")
    queue.add("b2")
    queue.add("a50")
    queue.add("a51")
    assert [await queue.get() for _ in range(4)] == ["b1", "a50", "b2", "a51"]


async def test_a_queue_forgets_groups_without_keys() -> None:
    queue: WorkQueue[str] = WorkQueue(turns=Turns(itemgetter(0)))
    for number in range(200):
        queue.add(f"{chr(number + 200)}", priority=number % 3)
        queue.add(f"{chr(number + 200)}", priority=5)
    for _ in range(200):
        queue.done(await queue.get())
    queue.add("a1")
    await queue.get()
    assert vars(queue)["_turns"].groups == 0
