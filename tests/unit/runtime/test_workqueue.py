import anyio
import msgspec
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from fakes.background import running
from toolset.runtime.backoff import Backoff, RetryLimiter
from toolset.runtime.workqueue import ShutDown, WorkQueue


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


async def test_a_getter_cancelled_at_the_moment_of_an_add_loses_neither_key_nor_wake_up() -> None:
    queue = WorkQueue[str]()
    taken: list[str] = []

    async def take() -> None:
        taken.append(await queue.get())

    async with anyio.create_task_group() as others:
        async with anyio.create_task_group() as impatient:
            impatient.start_soon(take)
            await wait_all_tasks_blocked()
            others.start_soon(take)
            await wait_all_tasks_blocked()
            queue.add("a")
            impatient.cancel_scope.cancel()
        with anyio.move_on_after(1):
            await anyio.sleep_forever()
        others.cancel_scope.cancel()
    assert taken == ["a"]


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


class Told:
    """An observer that notes everything."""

    def __init__(self) -> None:
        self.log: list[tuple[str, float]] = []

    def added(self, depth: int) -> None:
        self.log.append(("added", depth))

    def taken(self, depth: int, waited_s: float) -> None:
        self.log += [("taken", depth), ("waited", waited_s)]

    def finished(self, worked_s: float) -> None:
        self.log.append(("finished", worked_s))

    def retried(self) -> None:
        self.log.append(("retried", 0))


async def test_an_observer_hears_of_depth_waiting_and_working() -> None:
    told = Told()
    queue = WorkQueue[str](observer=told)
    queue.add("a")
    queue.add("b")
    await anyio.sleep(3)
    with queue.working(await queue.get()):
        await anyio.sleep(4)
    assert told.log == [
        ("added", 1),
        ("added", 2),
        ("taken", 1),
        ("waited", pytest.approx(3.0)),
        ("finished", pytest.approx(4.0)),
    ]


async def test_an_observer_hears_of_a_key_added_twice_or_raised_only_once() -> None:
    told = Told()
    queue = WorkQueue[str](observer=told)
    queue.add("a")
    queue.add("a")
    queue.add("a", priority=5)
    assert told.log == [("added", 1)]


async def test_an_observer_hears_of_a_retry_when_it_is_put_off() -> None:
    told = Told()
    queue = WorkQueue[str](observer=told)
    queue.add_rate_limited("a")
    assert told.log == [("retried", 0)]


class Add(msgspec.Struct, frozen=True):
    key: str
    priority: int


class AddLater(msgspec.Struct, frozen=True):
    key: str
    priority: int
    after_s: float


class Take(msgspec.Struct, frozen=True):
    """Take the next key, if one is ready."""


class GiveBack(msgspec.Struct, frozen=True):
    """Be done with one of the keys in work."""

    which: int


class Wait(msgspec.Struct, frozen=True):
    seconds: float


Action = Add | AddLater | Take | GiveBack | Wait

keys = st.sampled_from(["a", "b", "c"])
priorities = st.integers(-1, 1)
actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(Add, keys, priorities),
    st.builds(AddLater, keys, priorities, st.sampled_from([0.0, 1.0, 2.0])),
    st.builds(Take),
    st.builds(GiveBack, st.integers(0, 2)),
    st.builds(Wait, st.sampled_from([0.5, 1.0])),
)


class Model:
    """What a queue promises, with no heap and no timer."""

    def __init__(self) -> None:
        self._serial = 0
        self.ready: dict[str, tuple[int, int]] = {}  # rank: lowered priority, order
        self.again: dict[str, int] = {}  # priority
        self.later: dict[str, tuple[float, int, int]] = {}  # due, order, priority
        self.in_work: list[str] = []

    def add(self, key: str, priority: int, now: float, after_s: float = 0.0) -> None:
        if after_s and key not in self.ready and key not in self.again:
            self._delay(key, priority, now + after_s)
            return
        if key in self.later:
            priority = max(priority, self.later.pop(key)[2])
        if key in self.in_work:
            self.again[key] = max(priority, self.again.get(key, priority))
        elif key not in self.ready or -priority < self.ready[key][0]:
            self.ready[key] = (-priority, self._order())

    def take(self, now: float) -> str | None:
        for key, (due, _, priority) in sorted(self.later.items(), key=lambda item: item[1]):
            if due <= now:
                self.add(key, priority, now)
        if not self.ready:
            return None
        key = min(self.ready, key=lambda key: self.ready[key])
        del self.ready[key]
        self.in_work.append(key)
        return key

    def give_back(self, key: str) -> None:
        self.in_work.remove(key)
        if key in self.again:
            self.ready[key] = (-self.again.pop(key), self._order())

    def _delay(self, key: str, priority: int, due: float) -> None:
        if key not in self.later:
            self.later[key] = (due, self._order(), priority)
            return
        earlier, order, highest = self.later[key]
        if due < earlier:
            earlier, order = due, self._order()
        self.later[key] = (earlier, order, max(priority, highest))

    def _order(self) -> int:
        self._serial += 1
        return self._serial


async def step(queue: WorkQueue[str], model: Model, action: Action) -> None:
    now = anyio.current_time()
    match action:
        case Add(key, priority):
            queue.add(key, priority=priority)
            model.add(key, priority, now)
        case AddLater(key, priority, after_s):
            queue.add(key, priority=priority, after_s=after_s)
            model.add(key, priority, now, after_s)
        case Take():
            expected = model.take(now)
            if expected is not None:
                assert await queue.get() == expected
        case GiveBack(which):
            if which < len(model.in_work):
                key = model.in_work[which]
                model.give_back(key)
                queue.done(key)
        case Wait(seconds):
            await anyio.sleep(seconds)


@given(script=st.lists(actions, max_size=60))
async def test_any_sequence_of_calls_does_what_the_promises_say(script: list[Action]) -> None:
    queue, model = WorkQueue[str](), Model()
    for action in script:
        await step(queue, model, action)
        assert len(queue) == len(model.ready)
        assert len(queue.in_work_since()) == len(model.in_work)
    expected = [*model.ready, *model.again, *model.later]
    for key in list(model.in_work):
        queue.done(key)
    await anyio.sleep(10)
    queue.add("last", priority=-10)
    rest: list[str] = []
    while (key := await queue.get()) != "last":
        rest.append(key)
        queue.done(key)
    assert sorted(rest) == sorted(expected)


class Crew:
    """Workers that lose patience while they wait, and that check that no key is ever with two of them."""

    def __init__(self, queue: WorkQueue[str]) -> None:
        self._queue = queue
        self._busy: set[str] = set()
        self.current: dict[str, int] = {}  # the last change of each key
        self.observed: dict[str, int] = {}  # the last change that a pass began with

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
    told = Told()
    queue = WorkQueue[str](observer=told)
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
    assert min((value for _, value in told.log), default=0) >= 0


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
