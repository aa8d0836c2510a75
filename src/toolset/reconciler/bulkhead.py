"""Who may probe now: backends that hang get at most half of the slots, so that they never delay the others."""

from collections.abc import Awaitable, Callable

import anyio

from toolset.core.health.thresholds import DEFERRED, Failure, Outcome
from toolset.model import Key


class Bulkhead:
    """Two lanes over one set of workers.

    A probe that takes longer than patience lasts moves to the slow lane, and so does from the start one whose backend
    gave no answer last time. The slow lane has half of the slots; who finds it full is put off, without a verdict, and
    is called again, in order, when it has room.
    """

    def __init__(self, slots: int, patience_s: float, call: Callable[[Key], None]) -> None:
        """Make them.

        Args:
            slots: Probes in flight at once; whoever calls :meth:`run` keeps to that.
            patience_s: How long a probe may take before it is slow, seconds.
            call: Called with a candidate that was put off and may come now.
        """
        self._room = max(1, slots // 2)
        self._patience_s = patience_s
        self._call = call
        self._suspects: set[Key] = set()
        self._slow: set[Key] = set()  # in flight, or called and not here yet
        self._deferred: dict[Key, None] = {}

    async def run(self, key: Key, look: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Return what ``look`` found, or that it was put off."""
        if key not in self._slow and key in self._suspects and not self._enter(key):
            self._deferred[key] = None
            return DEFERRED
        self._deferred.pop(key, None)
        outcome = DEFERRED
        try:
            async with anyio.create_task_group() as group:
                if key not in self._slow:
                    group.start_soon(self._lose_patience, key, group.cancel_scope)
                outcome = await look()
                group.cancel_scope.cancel()
        finally:
            self._leave(key, outcome)
        return outcome

    def forget(self, key: Key) -> None:
        """Let go of ``key``: it is no candidate any more."""
        self._suspects.discard(key)
        self._deferred.pop(key, None)
        self._slow.discard(key)
        self._call_next()

    def _enter(self, key: Key) -> bool:
        if len(self._slow) >= self._room:
            return False
        self._slow.add(key)
        return True

    async def _lose_patience(self, key: Key, scope: anyio.CancelScope) -> None:
        await anyio.sleep(self._patience_s)
        if not self._enter(key):
            scope.cancel()

    def _leave(self, key: Key, outcome: Outcome) -> None:
        self._slow.discard(key)
        if outcome.deferred and not outcome.retry_after_s:
            self._suspects.add(key)
            self._deferred[key] = None
        elif outcome.failure is Failure.TIMEOUT:
            self._suspects.add(key)
        elif not outcome.deferred:
            self._suspects.discard(key)
        self._call_next()

    def _call_next(self) -> None:
        while self._deferred and len(self._slow) < self._room:
            key = next(iter(self._deferred))
            del self._deferred[key]
            self._slow.add(key)
            self._call(key)
