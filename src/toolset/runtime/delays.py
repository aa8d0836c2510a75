"""Keys that become ready later: after a delay, or once their changes have settled.

Of two delays the earlier wins. A burst of changes settles before the key is due, but for a limited time: a trailing
debounce alone can be starved indefinitely by a stream of events, as kube-rs documents for its own.
"""

import math
from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)

_STALE_TIMERS: Final = 16  # up to this many are not worth removing


class Debounce(msgspec.Struct, frozen=True):
    """How long the changes of a key settle before it becomes ready.

    Attributes:
        quiet_s: It becomes ready this long after its last change, seconds.
        at_most_s: But no later than this after its first change, seconds.
    """

    quiet_s: float
    at_most_s: float


class _Delayed(msgspec.Struct):
    """The delays of one key; times on the caller's clock."""

    priority: int
    at: float = math.inf  # the earliest of its plain delays
    quiet_at: float = math.inf  # the end of its quiet period, while it settles
    latest: float = math.inf  # the end of its debounce, while it settles
    timer: float = math.inf  # when its valid timer fires: never later than it is due
    serial: int = 0  # of that timer

    @property
    def due(self) -> float:
        """When it becomes ready."""
        return min(self.at, self.quiet_at, self.latest)


class Delays(Generic[K]):
    """The delayed keys, each with one valid timer; a later change moves its due time without a new timer."""

    def __init__(self) -> None:
        self._delayed: dict[K, _Delayed] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._serial = 0

    def delay(self, key: K, at: float, priority: int) -> bool:
        """Make ``key`` ready at ``at``, or earlier; return whether it is due earlier than before."""
        delayed = self._delayed.setdefault(key, _Delayed(priority))
        delayed.at = min(delayed.at, at)
        return self._moved(key, delayed, priority)

    def settle(self, key: K, debounce: Debounce, now: float, priority: int) -> bool:
        """Record a change of ``key`` at ``now``; return whether it is due earlier than before."""
        delayed = self._delayed.setdefault(key, _Delayed(priority))
        delayed.quiet_at = now + debounce.quiet_s
        delayed.latest = min(delayed.latest, now + debounce.at_most_s)
        return self._moved(key, delayed, priority)

    def drop(self, key: K, priority: int) -> int:
        """Forget ``key``: it is ready; return the higher of its priority and ``priority``."""
        delayed = self._delayed.pop(key, None)
        return priority if delayed is None else max(priority, delayed.priority)

    def clear(self) -> list[tuple[K, int]]:
        """Forget every key; return those that were settling, with their priorities."""
        settling = [(key, delayed.priority) for key, delayed in self._delayed.items() if delayed.latest < math.inf]
        self._delayed.clear()
        self._timers.clear()
        return settling

    def has_any_before(self, until: float) -> bool:
        """Return whether a key is due before ``until``."""
        return any(delayed.due < until for delayed in self._delayed.values())

    def next_timer(self) -> float:
        """Return when to call :meth:`pop_due` again; infinity if no key is delayed."""
        return self._timers[0][0] if self._timers else math.inf

    def pop_due(self, now: float) -> Iterator[tuple[K, int]]:
        """Yield and forget every key that is due by ``now``, in the order in which they were due, with its priority."""
        while self._timers and self._timers[0][0] <= now:
            timer, serial, key = heappop(self._timers)
            if not self._is_valid(serial, key):
                continue
            delayed = self._delayed[key]
            if delayed.due > timer:  # more changes came since the timer was set; others may be due before it now
                self._schedule(key, delayed)
            else:
                del self._delayed[key]
                yield key, delayed.priority

    def _moved(self, key: K, delayed: _Delayed, priority: int) -> bool:
        delayed.priority = max(priority, delayed.priority)
        if delayed.due >= delayed.timer:
            return False
        self._schedule(key, delayed)
        if len(self._timers) > 2 * len(self._delayed) + _STALE_TIMERS:
            self._drop_stale_timers()
        return True

    def _schedule(self, key: K, delayed: _Delayed) -> None:
        self._serial += 1  # keys need not be orderable
        delayed.timer, delayed.serial = delayed.due, self._serial
        heappush(self._timers, (delayed.timer, delayed.serial, key))

    def _is_valid(self, serial: int, key: K) -> bool:
        """Return whether a timer is still valid: an earlier one may have replaced it, or the key is ready."""
        delayed = self._delayed.get(key)
        return delayed is not None and delayed.serial == serial

    def _drop_stale_timers(self) -> None:
        """Drop replaced timers; they may be minutes in the future."""
        self._timers = [timer for timer in self._timers if self._is_valid(timer[1], timer[2])]
        heapify(self._timers)
