"""Queue, store and reflector against a model or a server, under any sequence of calls, changes and faults."""

from functools import partial
from typing import get_args

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from support.background import Standstill
from support.lister_watcher import FakeServer, Fault, FaultKind, Thing
from support.stores import unexpected
from toolset.errors import ToolsetError
from toolset.model import Key
from toolset.runtime.backoff import Backoff, RetryLimiter
from toolset.runtime.delays import Debounce
from toolset.runtime.reflector import Reflector
from toolset.runtime.store import Delta, Store, is_newer
from toolset.runtime.workqueue import ShutDown, WorkQueue

RETRY_S = 4.0
SHRINKS_SLOWLY = pytest.mark.timeout(240)  # each takes seconds, but finding the shortest way to a failure takes longer


class Machine(RuleBasedStateMachine):
    """A machine with an event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Standstill()

    def finish(self) -> None:
        """Check what has to hold in the end."""

    @override
    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.loop.close()


class QueueModel:
    """What a queue promises, with no heap and no timer."""

    def __init__(self) -> None:
        self._serial = 0
        self.ready: dict[str, tuple[int, int]] = {}  # rank: lowered priority, order
        self.again: dict[str, int] = {}  # priority
        self.later: dict[str, tuple[float, int, int]] = {}  # due, order, priority
        self.latest: dict[str, float] = {}  # of keys that settle
        self.in_work: list[str] = []

    def add(self, key: str, priority: int, now: float, after_s: float = 0.0) -> None:
        if after_s and key not in self.ready and key not in self.again:
            self._delay(key, priority, now + after_s)
            return
        self.latest.pop(key, None)
        if key in self.later:
            priority = max(priority, self.later.pop(key)[2])
        if key in self.in_work:
            self.again[key] = max(priority, self.again.get(key, priority))
        elif key not in self.ready or -priority < self.ready[key][0]:
            self.ready[key] = (-priority, self._order())

    def settle(self, key: str, debounce: Debounce, now: float) -> None:
        if key not in self.ready and key not in self.again:
            latest = self.latest.setdefault(key, now + debounce.at_most_s)
            self.later[key] = (min(now + debounce.quiet_s, latest), self._order(), 0)

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

    @property
    def is_idle(self) -> bool:
        return not (self.ready or self.later or self.in_work)

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


keys = st.sampled_from(["a", "b", "c"])
SETTLING = {"d": Debounce(0.3, 1.3), "e": Debounce(0.4, 1.15)}  # never due at the same time, nor with another key
priorities = st.integers(-1, 1)


class QueueMachine(Machine):
    """A queue next to its model; a failed key always waits equally long, so that the model need not count."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: WorkQueue[str] = WorkQueue(limiter=RetryLimiter(Backoff(RETRY_S, RETRY_S, spread=0.0)))
        self.model = QueueModel()
        self.failed = 0

    @rule(key=keys, priority=priorities, after_s=st.sampled_from([0.0, 0.0, 1.0, 2.0]))
    def add(self, key: str, priority: int, after_s: float) -> None:
        async def act() -> None:
            self.model.add(key, priority, anyio.current_time(), after_s)
            self.queue.add(key, priority=priority, after_s=after_s)

        self.loop.call(act)

    @rule(key=st.sampled_from(sorted(SETTLING)), settles=st.booleans())
    def change(self, key: str, *, settles: bool) -> None:
        async def act() -> None:
            if settles:
                self.model.settle(key, SETTLING[key], anyio.current_time())
                self.queue.add(key, settle=SETTLING[key])
            else:
                self.model.add(key, 0, anyio.current_time())
                self.queue.add(key)

        self.loop.call(act)

    @rule(key=keys)
    def fail(self, key: str) -> None:
        async def act() -> None:
            self.model.add(key, 0, anyio.current_time(), RETRY_S)
            self.queue.add_rate_limited(key)

        self.failed += 1
        if self.failed < 100:  # beyond that the bucket over all keys would make it wait longer
            self.loop.call(act)

    @rule()
    def take(self) -> None:
        async def now() -> float:
            return anyio.current_time()

        expected = self.model.take(self.loop.call(now))
        assert self.loop.attempt(self.queue.get) == ([] if expected is None else [expected])

    @precondition(lambda self: self.model.in_work)
    @rule(which=st.integers(0, 2))
    def give_back(self, which: int) -> None:
        key = self.model.in_work[which % len(self.model.in_work)]

        async def act() -> None:
            self.model.give_back(key)
            self.queue.done(key)

        self.loop.call(act)

    @rule(seconds=st.sampled_from([0.5, 1.0, RETRY_S]))
    def wait(self, seconds: float) -> None:
        self.loop.pass_time(seconds)

    @invariant()
    def counts_what_it_holds(self) -> None:
        assert len(self.queue) == len(self.model.ready)
        assert len(self.queue.in_work_since()) == len(self.model.in_work)

    @invariant()
    def is_idle_when_it_holds_nothing(self) -> None:
        assert bool(self.loop.attempt(self.queue.wait_idle)) == self.model.is_idle

    @override
    def finish(self) -> None:
        self.loop.pass_time(10.0)
        assert self.loop.attempt(self._drain), "nobody waits for what never comes"

    async def _drain(self) -> None:
        """Shut down: what is ready or was added again comes out once, and then nothing."""
        expected = {*self.model.ready, *self.model.again, *self.model.later}
        self.queue.add("last", priority=-10)
        for key in list(self.model.in_work):
            self.queue.done(key)
        rest: list[str] = []
        while (key := await self.queue.get()) != "last":
            rest.append(key)
            self.queue.done(key)
        self.queue.shut_down()
        self.queue.add("too late")
        self.queue.done("last")
        try:
            rest.append(await self.queue.get())
        except ShutDown:
            assert sorted(rest) == sorted(expected)
        await self.queue.wait_idle()


@SHRINKS_SLOWLY
def test_any_sequence_of_calls_does_what_the_promises_of_a_queue_say() -> None:
    run_state_machine_as_test(QueueMachine, settings=settings(max_examples=40, stateful_step_count=40))


class Fold:
    """A handler that rebuilds the store from what it receives."""

    def __init__(self) -> None:
        self.things: dict[Key, Thing] = {}

    def __call__(self, delta: Delta[Thing]) -> None:
        reported = delta.new or delta.old
        assert reported is not None
        assert self.things.get(reported.key) == delta.old
        if delta.new is None:
            del self.things[reported.key]
        else:
            self.things[reported.key] = delta.new


class ForwardFold(Fold):
    """A fold that checks that nothing goes back in time."""

    @override
    def __call__(self, delta: Delta[Thing]) -> None:
        if delta.old is not None and delta.new is not None:
            assert is_newer(delta.new.version, delta.old.version)
        super().__call__(delta)


things = st.builds(Thing, st.sampled_from(["a", "b", "c"]), st.integers(1, 30).map(str), st.sampled_from(["u1", "u2"]))


class StoreMachine(RuleBasedStateMachine):
    """A store that receives anything in any order, while handlers come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.store: Store[Thing] = Store(unexpected)
        self.folds = [Fold()]
        self.registrations = [self.store.subscribe(self.folds[0])]
        self.listed = False

    @rule(listed=st.lists(things, max_size=4))
    def replace(self, listed: list[Thing]) -> None:
        self.store.replace(listed, "15")
        self.listed = True

    @rule(thing=things)
    def apply(self, thing: Thing) -> None:
        self.store.apply(thing)
        assert self.store.version == thing.version

    @rule(thing=things)
    def delete(self, thing: Thing) -> None:
        before = self.store.get(thing.key)
        self.store.delete(thing)
        assert self.store.get(thing.key) == (None if before is None or before.uid == thing.uid else before)

    @rule(thing=things)
    def overlay(self, thing: Thing) -> None:
        version, before = self.store.version, self.store.snapshot()
        self.store.overlay(thing)
        assert self.store.version == version
        assert is_newer(thing.version, version) or self.store.snapshot() == before

    @rule()
    def join(self) -> None:
        self.folds.append(Fold())
        self.registrations.append(self.store.subscribe(self.folds[-1]))

    @precondition(lambda self: len(self.folds) > 1)
    @rule(which=st.integers(0, 3))
    def leave(self, which: int) -> None:
        index = which % len(self.folds)
        self.registrations.pop(index).cancel()
        fold = self.folds.pop(index)
        fold.things = {Key("nobody", "listens"): Thing("listens", "1")}  # a further word would fail

    @invariant()
    def folding_what_any_handler_was_told_gives_the_store(self) -> None:
        for fold in self.folds:
            assert fold.things == dict(self.store.snapshot())

    @invariant()
    def the_store_is_synced_with_the_first_list(self) -> None:
        assert self.store.is_synced == self.listed


@SHRINKS_SLOWLY
def test_folding_what_any_handler_receives_gives_the_store() -> None:
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=80, stateful_step_count=30))


class Ignored:
    """An observer that only counts."""

    def __init__(self) -> None:
        self.attempts = 0

    def listed(self, items: int, took_s: float, reason: str) -> None:
        del items, took_s
        assert reason

    def watch_ended(self, events: int, took_s: float) -> None:
        assert min(events, took_s) >= 0

    def failed(self, error: ToolsetError, retry_in_s: float) -> None:
        del error
        assert 0.8 <= retry_in_s <= 60.0


names = st.sampled_from(["a", "b", "c", "d"])
kinds: st.SearchStrategy[FaultKind] = st.sampled_from(get_args(FaultKind))
faults = st.builds(Fault, kinds, st.integers(0, 6))
changes = st.one_of(
    st.tuples(st.sampled_from(["put", "put", "remove"]), names),
    st.tuples(st.sampled_from(["compact", "bookmark", "unknown"]), st.just("")),
)

races = st.tuples(st.sampled_from(["remove", "remove", "put", "compact"]), names)  # what a list is likeliest to miss


def make(server: FakeServer, change: tuple[str, str]) -> None:
    verb, name = change
    match verb:
        case "put":
            server.put(name)
        case "remove":
            server.remove(name)
        case "compact":
            server.compact()
        case "unknown":
            server.send_stranger()
        case _:
            server.bookmark()


class ReflectorMachine(Machine):
    """A reflector, and a server to which everything happens that may."""

    @initialize(
        page_size=st.integers(1, 3),
        chunk_size=st.integers(1, 8),
        streams_lists=st.booleans(),
        first=st.sampled_from(["", "abcd", "cab", "d"]),
        meanwhile=st.lists(races, max_size=4),
    )
    def begin(
        self,
        page_size: int,
        chunk_size: int,
        first: str,
        meanwhile: list[tuple[str, str]],
        *,
        streams_lists: bool,
    ) -> None:
        self.server = FakeServer(page_size=page_size, chunk_size=chunk_size, streams_lists=streams_lists)
        for name in first:
            self.server.put(name)
        self.change_between_pages_or_chunks(meanwhile)
        self.store: Store[Thing] = Store(unexpected)
        self.fold = ForwardFold()
        self.store.subscribe(self.fold)
        self.reflector = Reflector(self.server, self.store, Ignored(), jitter=lambda: 0.0)
        self.refreshes = 0
        self.loop.start(self.reflector.run)

    @rule(what=st.lists(changes, max_size=6), interruption=st.none() | faults)
    def change(self, what: list[tuple[str, str]], interruption: Fault | None) -> None:
        async def act() -> None:
            if interruption is not None:
                self.server.interrupt(interruption)
            for change in what:
                make(self.server, change)
                await checkpoint()

        self.loop.call(act)

    @rule(what=st.lists(races, max_size=4))
    def change_between_pages_or_chunks(self, what: list[tuple[str, str]]) -> None:
        self.server.meanwhile.extend(partial(make, self.server, change) for change in what)

    @rule(fault=faults)
    def fail_the_next_request(self, fault: Fault) -> None:
        self.server.faults.append(fault)

    @rule(seconds=st.sampled_from([0.5, 3.0, 40.0, 130.0]))
    def wait(self, seconds: float) -> None:
        self.loop.pass_time(seconds)

    @rule()
    def refresh(self) -> None:
        """Ask for what the server has now; see that it has come before the end."""

        async def ask() -> None:
            before = dict(self.server.things)
            await self.reflector.refresh()
            seen = self.store.snapshot()
            assert all(int(seen[key].version) >= int(each.version) for key, each in before.items() if key in seen)
            self.refreshes -= 1

        self.refreshes += 1
        self.loop.start(ask)

    @rule()
    def settle(self) -> None:
        self.server.faults.clear()
        self.loop.pass_time(600.0)
        assert dict(self.store.snapshot()) == self.server.things
        assert self.fold.things == self.server.things
        assert self.refreshes == 0

    @invariant()
    def folding_what_was_told_gives_the_store(self) -> None:
        assert self.fold.things == dict(self.store.snapshot())

    @invariant()
    def is_never_stuck(self) -> None:
        async def silent_s() -> float:
            return anyio.current_time() - max(self.reflector.attempted_at, self.reflector.heard_at)

        assert self.loop.call(silent_s) <= FakeServer.idle_s + 90.0

    @override
    def finish(self) -> None:
        if hasattr(self, "server"):
            self.settle()


@SHRINKS_SLOWLY
def test_after_any_changes_and_failures_the_store_is_what_the_server_has() -> None:
    run_state_machine_as_test(ReflectorMachine, settings=settings(max_examples=60, stateful_step_count=20))
