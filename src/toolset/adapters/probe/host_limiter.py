"""Limit concurrent probes per host: many Services may resolve to one."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio


class HostLimiter:
    """Counts the probes of each host."""

    def __init__(self, few: int) -> None:
        self._few = few
        self._asking: dict[str, int] = {}
        self._left: dict[str, anyio.Event] = {}

    @asynccontextmanager
    async def one_of_few(self, host: str, deadline: anyio.CancelScope, patience_s: float) -> AsyncGenerator[bool]:
        """Yield whether ``host`` may be probed inside the block.

        Args:
            host: The host.
            deadline: Extended by the time spent waiting.
            patience_s: How long to wait, seconds.
        """
        came = self._enter(host) or await self._wait(host, deadline, patience_s)
        try:
            yield came
        finally:
            if came:
                self._leave(host)

    async def _wait(self, host: str, deadline: anyio.CancelScope, patience_s: float) -> bool:
        left_s = deadline.deadline - anyio.current_time()
        deadline.deadline = math.inf
        with anyio.move_on_after(patience_s):
            while not self._enter(host):
                await self._left.setdefault(host, anyio.Event()).wait()
            deadline.deadline = anyio.current_time() + left_s
            return True
        return False

    def _enter(self, host: str) -> bool:
        asking = self._asking.get(host, 0)
        if asking >= self._few:
            return False
        self._asking[host] = asking + 1
        return True

    def _leave(self, host: str) -> None:
        self._asking[host] -= 1
        if not self._asking[host]:
            del self._asking[host]
        if (left := self._left.pop(host, None)) is not None:
            left.set()
