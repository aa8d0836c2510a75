"""The controllers' queue: it holds keys, never events.

It keeps the promises of client-go's ``util/workqueue``:

- Fair: keys of one priority are processed in the order in which they were added.
- Stingy: a key added several times before it is taken is processed once, and never by two workers at the same time.
- A key added while a worker has it is processed again, once, after that worker is done.
- A delayed key has one timer; of two delays the earlier wins.
- After :meth:`WorkQueue.shut_down` adds are ignored, delayed keys are dropped, and workers drain the rest.

Five additions:

- The higher of two priorities wins, and is never lowered.
- A burst of adds can settle before the key becomes ready, see :mod:`toolset.runtime.delays`.
- Groups of keys take turns, see :mod:`toolset.runtime.turns`.
- A key remembers what caused its adds, for the traces of its worker.
- Delayed keys need no separate task, because one of the workers that wait for a key also waits for the clock.

Every change of state is a plain function without ``await``, so it needs no lock and cannot be
cancelled half way. Use it from one event loop only.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

import anyio
import msgspec
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from toolset.runtime.backoff import RetryLimiter
from toolset.runtime.delays import Debounce, Delays
from toolset.runtime.observers import NoQueueObserver, QueueObserver
from toolset.runtime.turns import Turns

K = TypeVar("K", bound=Hashable)

YIELD_EVERY: Final = 16
"""Number of keys after which a worker yields to other tasks even if keys are ready: about every millisecond for
reconciles that never wait. Yielding after each would be half of the cost of such a reconcile."""

CAUSES_LIMIT: Final = 32
"""Maximum number of causes per key; the OpenTelemetry SDK accepts at most 128 links."""


class ShutDown(Exception):  # noqa: N818 - a signal, not a fault; compare StopIteration
    """Raised to a worker when the queue is shut down and empty."""


class Taken(msgspec.Struct, frozen=True):
    """How a worker got a key.

    Attributes:
        at: When it was taken, on the clock of the event loop.
        waited_s: How long it had been ready, seconds.
        priority: Its priority.
        causes: The causes of its adds, each once, the first :data:`CAUSES_LIMIT`.
    """

    at: float
    waited_s: float
    priority: int
    causes: tuple[object, ...] = ()


class _Waiting(msgspec.Struct):
    """A key that needs work."""

    priority: int
    since: float
    serial: int = 0  # of its valid entry in the ready heap; 0 while a worker has the key


class WorkQueue(Generic[K]):
    """See the module docstring for the promises."""

    def __init__(
        self,
        *,
        limiter: RetryLimiter[K] | None = None,
        observer: QueueObserver | None = None,
        turns: Turns[K] | None = None,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        """Make it empty.

        Args:
            limiter: The delays of keys that fail.
            observer: What the queue reports to.
            turns: The turns of groups of keys; ``None`` for a queue in the order of adds.
            clock: The clock of the event loop, seconds; it is read three times for each key.
        """
        self._clock = clock
        self._turns = turns
        self._limiter: RetryLimiter[K] = limiter or RetryLimiter()
        self._observer: QueueObserver = observer or NoQueueObserver()
        self._dirty: dict[K, _Waiting] = {}
        self._ready: list[tuple[int, int, int, K]] = []  # entries of raised keys become stale in place
        self._depth = 0
        self._processing: dict[K, Taken] = {}
        self._delays: Delays[K] = Delays()
        self._causes: dict[K, list[object]] = {}
        self._serial = 0
        self._handed_out = 0
        self._shut_down = False
        self._waiters: deque[anyio.Event] = deque()  # of workers; the one that keeps time comes first
        self._timer: anyio.CancelScope | None = None  # of the waiter that keeps time
        self._idle: anyio.Event | None = None

    def __len__(self) -> int:
        """Return how many keys wait for a worker now."""
        return self._depth

    def in_work_since(self) -> list[float]:
        """Return when each key now with a worker was taken, on the clock of the event loop."""
        return [taken.at for taken in self._processing.values()]

    def taken(self, key: K) -> Taken:
        """Return how ``key`` got to its current worker."""
        return self._processing[key]

    def add(
        self,
        key: K,
        *,
        after_s: float = 0.0,
        settle: Debounce | None = None,
        priority: int = 0,
        cause: object | None = None,
    ) -> None:
        """Mark ``key`` as needing work: now, after a delay, or once its changes have settled.

        A waiting key is not added twice: a ready one ignores a delay, and a delayed one becomes ready when it is added
        without a delay.

        Args:
            key: What to work on.
            after_s: Seconds until it becomes ready; of two delays the earlier wins.
            settle: How long its changes settle; a delay that ends earlier still wins.
            priority: Higher comes first; of two priorities the higher wins.
            cause: What caused this add; handed to the worker with :meth:`taken`.
        """
        if self._shut_down:
            return
        if cause is not None:
            self._remember(key, cause)
        if key in self._dirty or (settle is None and after_s <= 0.0):
            self._make_ready(key, priority)
            return
        now = self._clock()
        if settle is None:
            is_earlier = self._delays.delay(key, now + after_s, priority)
        else:
            is_earlier = self._delays.settle(key, settle, now, priority)
        if is_earlier and self._timer is not None:
            self._timer.deadline = self._delays.next_timer()

    def add_rate_limited(self, key: K, *, at_least_s: float = 0.0) -> None:
        """Add ``key`` after its backoff delay, and count one more failure.

        Args:
            key: The failed key.
            at_least_s: Minimum delay, seconds.
        """
        self._observer.retried()
        self.add(key, after_s=max(at_least_s, self._limiter.delay_s(key)))

    def forget(self, key: K) -> None:
        """Reset the backoff of ``key``; call it after each success."""
        self._limiter.forget(key)

    def failures(self, key: K) -> int:
        """Return how often ``key`` failed since it was last forgotten."""
        return self._limiter.failures(key)

    async def get(self) -> K:
        """Wait for a key and take it; :meth:`done` must follow, see :meth:`working`.

        Cancellation loses no key and no wake-up.

        Raises:
            ShutDown: The queue is shut down and empty.
        """
        self._handed_out += 1
        if self._handed_out % YIELD_EVERY:
            await checkpoint_if_cancelled()
        else:
            await checkpoint()
        while True:
            now = self._clock()
            if self._delays.next_timer() <= now:
                self._promote(now)
            if self._depth:
                return self._take(now)
            if self._shut_down:
                raise ShutDown
            await self._wait()

    def done(self, key: K) -> float:
        """Finish ``key``; it is queued again if it was added meanwhile. Return how long the worker had it, seconds."""
        worked_s = self._clock() - self._processing.pop(key).at
        self._observer.finished(worked_s)
        waiting = self._dirty.get(key)
        if waiting is not None:
            self._push(key, waiting)
        else:
            self._wake_if_idle()
        return worked_s

    async def wait_idle(self, *, within_s: float = math.inf) -> None:
        """Return once no key waits, is with a worker, or is delayed.

        Args:
            within_s: Delays that end more than this many seconds from now are ignored.
        """
        until = self._clock() + within_s
        while self._depth or self._processing or self._delays.has_any_before(until):
            if self._idle is None:
                self._idle = anyio.Event()
            await self._idle.wait()

    def _wake_if_idle(self) -> None:
        """Wake the callers of :meth:`wait_idle` if only delayed keys are left; each checks its own limit."""
        if self._idle is not None and not (self._depth or self._processing):
            self._idle.set()
            self._idle = None

    @contextmanager
    def working(self, key: K) -> Generator[None]:
        """Call :meth:`done` when the block ends, however it ends."""
        try:
            yield
        finally:
            self.done(key)

    def shut_down(self) -> None:
        """Ignore new keys, drop delayed ones and wake every waiting worker; settling keys become ready immediately."""
        for key, priority in self._delays.clear():
            self._make_ready(key, priority)
        self._shut_down = True
        while self._waiters:
            self._wake()
        self._wake_if_idle()

    def _promote(self, now: float) -> None:
        for key, priority in self._delays.pop_due(now):
            self._make_ready(key, priority)

    def _make_ready(self, key: K, priority: int) -> None:
        priority = self._delays.drop(key, priority)
        waiting = self._dirty.get(key)
        if waiting is None:
            waiting = self._dirty[key] = _Waiting(priority, self._clock())
            if key not in self._processing:
                self._push(key, waiting)
        elif priority > waiting.priority:
            waiting.priority = priority
            if waiting.serial:
                self._rank(key, waiting)

    def _take(self, now: float) -> K:
        while True:
            _, turn, serial, key = heappop(self._ready)
            if self._turns:
                self._turns.passed(turn, key)
            waiting = self._dirty.get(key)
            if waiting is not None and waiting.serial == serial:
                break  # else the key was raised: a newer entry is elsewhere in the heap
        del self._dirty[key]
        self._depth -= 1
        causes = tuple(self._causes.pop(key, ()))
        taken = self._processing[key] = Taken(now, now - waiting.since, waiting.priority, causes)
        self._observer.taken(taken.waited_s)
        return key

    def _push(self, key: K, waiting: _Waiting) -> None:
        self._rank(key, waiting)
        self._depth += 1
        self._observer.added()
        self._wake()

    def _rank(self, key: K, waiting: _Waiting) -> None:
        waiting.serial = self._next_serial()
        turn = self._turns.next(key) if self._turns else 0
        heappush(self._ready, (-waiting.priority, turn, waiting.serial, key))

    def _remember(self, key: K, cause: object) -> None:
        causes = self._causes.setdefault(key, [])
        if len(causes) < CAUSES_LIMIT and cause not in causes:
            causes.append(cause)

    def _next_serial(self) -> int:
        self._serial += 1  # keys need not be orderable
        return self._serial

    async def _wait(self) -> None:
        """Wait to be woken or, as the one waiter that keeps time, for the next timer.

        A waiter that leaves otherwise, or kept the time, wakes another one, which takes its place or its key.
        """
        woken = anyio.Event()
        with anyio.CancelScope() as scope:
            keeps_time = self._timer is None
            if keeps_time:
                self._timer = scope
                scope.deadline = self._delays.next_timer()
                self._waiters.appendleft(woken)
            else:
                self._waiters.append(woken)
            leaves_early = True
            try:
                await woken.wait()
                leaves_early = keeps_time
            finally:
                if keeps_time:
                    self._timer = None
                if not woken.is_set():
                    self._waiters.remove(woken)
                if leaves_early:
                    self._wake()

    def _wake(self) -> None:
        """Wake one waiter, which checks the queue; the one that keeps time last."""
        if self._waiters:
            self._waiters.pop().set()
