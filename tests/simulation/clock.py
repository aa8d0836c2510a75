"""Virtual time: one scheduler, and one asyncio loop for each simulated process.

A loop of its own makes a process what it is: it can be paused, suspended or killed between any two steps, its clock can
drift, and a kill runs no ``finally``. Time jumps to the next timer of a loop, or to the next call of the world, when
nothing is ready. All runs in one thread, so one seed gives one order.
"""

import asyncio  # noqa: TID251 - this is an event loop
import heapq
import math
import signal
from asyncio import events  # noqa: TID251 - as above
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Final, Protocol

from typing_extensions import TypeVarTuple, override

Ts = TypeVarTuple("Ts")

STEPS_LIMIT: Final = 200_000
"""More callbacks of one loop at one instant are a busy loop. A start with thousands of Services takes fewer."""


ENDLESS_CPU_S: Final = 30.0
"""A callback that takes so much processor time does not end: the longest takes well under a second."""


class Violation(AssertionError):  # noqa: N818 - it is a finding
    """Something that must hold does not."""


class _EndlessError(KeyboardInterrupt):
    """Raised in a callback that does not end; asyncio and the product let it pass."""


class _Ready(Protocol):
    def popleft(self) -> asyncio.Handle: ...
    def append(self, handle: asyncio.Handle, /) -> None: ...
    def clear(self) -> None: ...
    def __len__(self) -> int: ...


class Scheduler:
    """The time of the world, and what happens when.

    Attributes:
        now: True time, seconds.
        loops: Of the processes that run.
        steps: How many callbacks of loops have run.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.loops: list[ProcessLoop] = []
        self.steps = 0
        self._calls: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._serial = 0

    def at(self, when: float, call: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call ``call`` at ``when``, outside of every process."""
        self._serial += 1
        heapq.heappush(self._calls, (max(when, self.now), self._serial, call, args))

    def after(self, delay_s: float, call: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call ``call`` after ``delay_s`` seconds."""
        self.at(self.now + delay_s, call, *args)

    def run_until(self, end: float) -> None:
        """Let everything happen until ``end``."""
        while True:
            upcoming = math.inf
            for loop in self.loops:
                due = loop.due()
                if due <= self.now:
                    self.steps += loop.turn()
                    due = loop.due()
                upcoming = min(upcoming, due)
            if self._calls and self._calls[0][0] <= upcoming:
                upcoming = self._calls[0][0]
            if upcoming > end:
                self.now = end
                return
            self.now = max(self.now, upcoming)
            while self._calls and self._calls[0][0] <= self.now:
                _, _, call, args = heapq.heappop(self._calls)
                call(*args)


@contextmanager
def ending_endless_callbacks(scheduler: Scheduler) -> Generator[None]:
    """Raise a violation for a callback that never returns, which no count of callbacks notices."""
    before = -1

    def look(*_: object) -> None:
        nonlocal before
        if scheduler.steps == before:
            loop = events._get_running_loop()
            raise _EndlessError(loop.name if isinstance(loop, ProcessLoop) else "the world")
        before = scheduler.steps

    usual = signal.signal(signal.SIGVTALRM, look)
    signal.setitimer(signal.ITIMER_VIRTUAL, ENDLESS_CPU_S, ENDLESS_CPU_S)
    try:
        yield
    except _EndlessError as endless:
        raise Violation(f"I7 {endless}: a callback does not end") from endless
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, usual)


class ProcessLoop(asyncio.BaseEventLoop):
    """The loop of one process.

    Attributes:
        is_paused: Nothing runs, and the clocks go on (SIGSTOP).
        on_error: Called with what nothing else caught.
    """

    def __init__(self, scheduler: Scheduler, name: str, *, rate: float = 1.0) -> None:
        """Make it; its clock shows ``rate`` seconds for each true second."""
        super().__init__()
        self.name = name
        self.is_paused = False
        self.on_error: Callable[[str], None] = lambda _: None
        self._scheduler = scheduler
        self._rate = rate
        self._from, self._shown = scheduler.now, 1000.0  # a machine that has run for a while
        self._suspended = False
        self.ready: _Ready = self._ready  # type: ignore[attr-defined]  # of asyncio's base class
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []  # tuples compare faster than handles
        self._serial = 0
        self.set_exception_handler(self._failed)

    @override
    def time(self) -> float:
        if self._suspended:
            return self._shown
        return self._shown + (self._scheduler.now - self._from) * self._rate

    @override
    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._serial += 1
        heapq.heappush(self._timers, (when, self._serial, timer))
        return timer

    def suspend(self, *, on: bool) -> None:
        """Stop the monotonic clock too, as a suspended machine does, or let it go on."""
        self._shown, self._from, self._suspended = self.time(), self._scheduler.now, on
        self.is_paused = on

    def resume(self) -> None:
        """Go on after a pause or a suspension."""
        if self._suspended:
            self.suspend(on=False)
        self.is_paused = False

    def due(self) -> float:
        """Return when the next timer is due, in true time; now when something is ready."""
        if self.is_paused:
            return math.inf
        if self.ready:
            return self._scheduler.now
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        return self._true(timers[0][0]) if timers else math.inf

    def turn(self) -> int:
        """Run everything that is ready, and what that makes ready, at this instant; return how much it was."""
        steps, ready, timers = 0, self.ready, self._timers
        events._set_running_loop(self)
        try:
            while True:
                now = self.time()
                while timers and timers[0][0] <= now:
                    ready.append(heapq.heappop(timers)[2])
                if not ready:
                    return steps
                for _ in range(len(ready)):
                    handle = ready.popleft()
                    if not handle.cancelled():
                        handle._run()
                        steps += 1
                if steps > STEPS_LIMIT:
                    raise Violation(f"I7 {self.name}: busy loop, {steps} callbacks at one instant")
        finally:
            events._set_running_loop(None)

    def _true(self, shown: float) -> float:
        """Return the first true time at which the clock shows ``shown``."""
        if self._rate == 1.0 and self._from == self._shown:
            return shown
        when = max(self._scheduler.now, self._from + (shown - self._shown) / self._rate)
        while self._shown + (when - self._from) * self._rate < shown:
            when = math.nextafter(when, math.inf)
        return when

    def kill(self) -> None:
        """End the process between two steps: nothing of it runs any more, not even ``finally``."""
        self.is_paused = True
        self.ready.clear()
        self._timers.clear()
        if self in self._scheduler.loops:
            self._scheduler.loops.remove(self)

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.on_error(f"{context.get('message')}: {context.get('exception')!r}")

    def _write_to_self(self) -> None:
        """Nothing sleeps in a selector."""
