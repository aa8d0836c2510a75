"""Limit slow probes: backends that hang get at most half of the slots, so that they never delay the others.

One namespace never gets the last eighth of that half, and deferred probes are resumed from the namespaces in turn:
hanging Services of one namespace do not delay a slow backend of another. All untrusted namespaces together get at most
half of it, divided in the same way.
"""

from collections import Counter
from collections.abc import Awaitable, Callable

import anyio

from toolset.core.health.thresholds import DEFERRED, Failure, Outcome
from toolset.core.shares import UNTRUSTED, Shares
from toolset.model import Key


class Bulkhead:
    """Two lanes over one set of workers.

    A probe that takes longer than ``patience_s`` moves to the slow lane; one whose backend did not answer last time
    starts there. The slow lane has half of the slots; if it is full, a probe is deferred without a verdict, and called
    again when there is room.
    """

    def __init__(self, slots: int, patience_s: float, call: Callable[[Key], None], shares: Shares) -> None:
        """Create the lanes.

        Args:
            slots: Concurrent probes; the caller of :meth:`run` enforces that.
            patience_s: How long a probe may take before it is slow, seconds.
            call: Called with a candidate that was deferred and may be probed now.
            shares: The shares of namespaces.
        """
        self._room = max(1, slots // 2)
        self._room_untrusted = max(1, self._room // 2)
        self._patience_s = patience_s
        self._call = call
        self._shares = shares
        self._suspects: set[Key] = set()
        self._slow: dict[Key, str] = {}  # in flight, or called and not started yet; with the account at that time
        self._slow_of: Counter[str] = Counter()  # by namespace, and by account
        self._deferred: dict[str, dict[Key, None]] = {}  # by namespace, the next to be called first

    async def run(self, key: Key, look: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Return the outcome of ``look``, or that it was deferred."""
        if key not in self._slow and key in self._suspects and not self._enter(key):
            self._defer(key)
            return DEFERRED
        self._drop_deferred(key)
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
        """Drop ``key``, which is no longer a candidate."""
        self._suspects.discard(key)
        self._drop_deferred(key)
        self._give_back(key)
        self._call_next()

    def _enter(self, key: Key) -> bool:
        account = self._shares.account(key.namespace)
        room = self._room
        if account == UNTRUSTED:
            room = self._room_untrusted
            if self._slow_of[UNTRUSTED] >= room:
                return False
        if len(self._slow) >= self._room or self._slow_of[key.namespace] >= room - room // 8:
            return False
        self._slow[key] = account
        self._slow_of.update({key.namespace, account})
        return True

    def _give_back(self, key: Key) -> None:
        account = self._slow.pop(key, None)
        if account is not None:
            self._slow_of.subtract({key.namespace, account})
            self._slow_of = +self._slow_of

    async def _lose_patience(self, key: Key, scope: anyio.CancelScope) -> None:
        await anyio.sleep(self._patience_s)
        if not self._enter(key):
            scope.cancel()

    def _leave(self, key: Key, outcome: Outcome) -> None:
        self._give_back(key)
        if outcome.deferred and not outcome.retry_after_s:
            self._suspects.add(key)
            self._defer(key)
        elif outcome.failure is Failure.TIMEOUT:
            self._suspects.add(key)
        elif not outcome.deferred:
            self._suspects.discard(key)
        self._call_next()

    def _defer(self, key: Key) -> None:
        self._deferred.setdefault(key.namespace, {})[key] = None

    def _drop_deferred(self, key: Key) -> None:
        waiting = self._deferred.get(key.namespace, {})
        waiting.pop(key, None)
        if not waiting:
            self._deferred.pop(key.namespace, None)

    def _call_next(self) -> None:
        while (key := self._next()) is not None:
            self._call(key)

    def _next(self) -> Key | None:
        """Take the first deferred probe of the next namespace with room; that namespace moves to the end."""
        for namespace, waiting in self._deferred.items():
            key = next(iter(waiting))
            if self._enter(key):
                self._drop_deferred(key)
                if namespace in self._deferred:
                    self._deferred[namespace] = self._deferred.pop(namespace)
                return key
        return None
