"""Something that runs while a test looks on, and time that passes when the test says so."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import ExitStack, asynccontextmanager
from typing import Any, TypeVar

import anyio
import trio.lowlevel
import trio.testing
from anyio.from_thread import start_blocking_portal

T = TypeVar("T")

_TICK_S = 1e-6  # less might be lost to rounding, and time would stand still for ever


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time, seconds."""
        return self.now


@asynccontextmanager
async def running(run: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Run it in the background for as long as the block lasts, and cancel it then."""
    async with anyio.create_task_group() as group:
        group.start_soon(run)
        yield
        group.cancel_scope.cancel()


class Standstill:
    """An event loop in a thread of its own, for tests that are not asynchronous themselves.

    Its time passes only in :meth:`pass_time`, and every call returns when all tasks wait again, so that nothing
    happens between two calls.
    """

    def __init__(self) -> None:
        self._clock = trio.testing.MockClock()
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal("trio", {"clock": self._clock}))
        self._tasks: list[Future[None]] = []

    def start(self, run: Callable[[], Awaitable[None]]) -> None:
        """Let ``run`` run until the end."""
        self._tasks.append(self._portal.start_task_soon(run))
        self._portal.call(trio.testing.wait_all_tasks_blocked)

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Return what ``function`` returns."""

        async def settled() -> T:
            result = await function()
            await trio.testing.wait_all_tasks_blocked()
            return result

        return self._portal.call(settled)

    def attempt(self, function: Callable[[], Awaitable[T]]) -> list[T]:
        """Return what ``function`` returns, as the only element; nothing, and cancel it, if it would have to wait."""
        results: list[T] = []

        async def run() -> None:
            results.append(await function())

        async def settled() -> None:
            async with running(run):
                await trio.testing.wait_all_tasks_blocked()

        self._portal.call(settled)
        return results

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due in it, each at its time."""
        self._portal.call(self._pass_time, seconds)

    async def _pass_time(self, seconds: float) -> None:
        end = trio.current_time() + seconds
        while True:
            await trio.testing.wait_all_tasks_blocked()
            left = end - trio.current_time()
            due = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if left <= 0 < due:
                return
            self._clock.jump(max(min(left, due), _TICK_S))

    def close(self) -> None:
        """End all that runs; raise what it raised."""
        for task in self._tasks:
            task.cancel()
        self._stack.close()
