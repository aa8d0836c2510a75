"""Let a burst of changes settle before work starts, but never for longer than a bound.

A trailing debounce alone can be starved for ever by a stream of events (kube-rs documents it of its
own); the hard maximum wait removes that.
"""

import math
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from typing import Generic, TypeVar

import anyio
import msgspec

K = TypeVar("K", bound=Hashable)


class DebounceOptions(msgspec.Struct, frozen=True):
    """How long changes may settle.

    Attributes:
        quiet_s: A key is passed on this long after its last change, seconds.
        max_wait_s: And at the latest this long after its first, seconds.
    """

    quiet_s: float
    max_wait_s: float


class _Settling(msgspec.Struct):
    due: float
    latest: float


class Debouncer(Generic[K]):
    """Passes each poked key on once it has been quiet; see the module docstring.

    Use it from one event loop only.
    """

    def __init__(self, sink: Callable[[K], None], options: DebounceOptions) -> None:
        self._sink = sink
        self._options = options
        self._settling: dict[K, _Settling] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._serial = 0
        self._changed = anyio.Event()

    def poke(self, key: K) -> None:
        """Say that ``key`` changed."""
        now = anyio.current_time()
        due = now + self._options.quiet_s
        settling = self._settling.get(key)
        if settling is not None:
            settling.due = min(due, settling.latest)
            return
        latest = now + self._options.max_wait_s
        self._settling[key] = _Settling(min(due, latest), latest)
        self._schedule(key, min(due, latest))
        self._changed.set()

    def flush(self) -> None:
        """ReconcileTrace every settling key on now."""
        settling, self._settling = self._settling, {}
        self._timers.clear()
        for key in settling:
            self._sink(key)

    async def run(self) -> None:
        """Pass keys on as they settle; run until cancelled."""
        while True:
            self._changed = anyio.Event()
            with anyio.CancelScope(deadline=self._pass_on(anyio.current_time())):
                await self._changed.wait()

    def _pass_on(self, now: float) -> float:
        """Pass on what has settled by ``now``; return when to look again."""
        while self._timers and self._timers[0][0] <= now:
            _, _, key = heappop(self._timers)
            due = self._settling[key].due
            if due > now:  # it was poked again since the timer was set
                self._schedule(key, due)
            else:
                del self._settling[key]
                self._sink(key)
        return self._timers[0][0] if self._timers else math.inf

    def _schedule(self, key: K, due: float) -> None:
        self._serial += 1  # keys need not be orderable
        heappush(self._timers, (due, self._serial, key))
