"""Workers that take keys from a queue and act on the result of each reconcile."""

from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

import anyio
import msgspec

from toolset.errors import TerminalError, TransientError
from toolset.runtime.backoff import RETRY_AFTER_CAP_S
from toolset.runtime.workqueue import ShutDown, WorkQueue

K = TypeVar("K", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)


class Result(msgspec.Struct, frozen=True):
    """The result of a reconcile.

    Attributes:
        requeue_after_s: Reconcile the same key again after this many seconds; ``None`` waits for the
            next change. An earlier change is processed earlier.
    """

    requeue_after_s: float | None = None


DONE = Result()

Reconcile = Callable[[K], Awaitable[Result]]

Scope = Callable[[K], AbstractContextManager[object]]
"""Returns the context manager around a reconcile of a key; the observer is notified inside."""

_NOTHING: Final = nullcontext()


class ReconcileObserver(Protocol[K_contra]):
    """What a controller reports about its reconciles."""

    def passed(self, key: K_contra, result: str, took_s: float) -> None:
        """A reconcile ended: ``success``, ``requeue_after``, ``error``, ``terminal_error`` or ``bug``."""

    def failed(self, key: K_contra, error: Exception, failures: int) -> None:
        """A reconcile raised; ``failures`` consecutive reconciles of this key did before."""


class Controller(Generic[K]):
    """A pool of workers over one queue; the one place where failures become retries.

    A :class:`TransientError` and a timed-out reconcile requeue the key with backoff; a
    :class:`TerminalError` waits for the next change; anything else is a bug, which affects only its own key
    and is retried with backoff.
    """

    def __init__(
        self,
        queue: WorkQueue[K],
        reconcile: Reconcile[K],
        observer: ReconcileObserver[K],
        *,
        workers: int = 1,
        timeout_s: float | None = 60.0,
        scope: Scope[K] = lambda _: _NOTHING,
    ) -> None:
        """Create the pool.

        Args:
            queue: The source of keys.
            reconcile: Reconciles one key; it may be cancelled at any await.
            observer: Notified of every reconcile.
            workers: Concurrent reconciles, each of another key.
            timeout_s: Time limit of one reconcile, seconds; ``None`` for reconciles that never wait, which cannot be
                interrupted, and for which a limit would be 20 % of the cost.
            scope: The context manager around each reconcile.
        """
        self._queue = queue
        self._reconcile = reconcile
        self._observer = observer
        self._workers = workers
        self._bound: Callable[[], AbstractContextManager[object]] = (
            nullcontext if timeout_s is None else partial(anyio.fail_after, timeout_s)
        )
        self._scope = scope

    async def run(self) -> None:
        """Run until the queue is shut down and drained, or until cancelled."""
        async with anyio.create_task_group() as group:
            for index in range(self._workers):
                group.start_soon(self._work, name=f"worker-{index}")

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except ShutDown:
                return
            with self._scope(key):
                try:
                    outcome = await self._once(key)
                finally:
                    took_s = self._queue.done(key)
                self._observer.passed(key, outcome, took_s)

    async def _once(self, key: K) -> str:
        """Reconcile ``key`` once and queue the follow-up; return the result."""
        try:
            with self._bound():
                result = await self._reconcile(key)
        except (TransientError, TimeoutError) as error:
            return self._retry(key, error, "error")
        except TerminalError as error:
            self._observer.failed(key, error, self._queue.failures(key))
            self._queue.forget(key)
            return "terminal_error"
        except Exception as error:  # noqa: BLE001 - a bug affects only its own key, see the class docstring
            return self._retry(key, error, "bug")
        self._queue.forget(key)
        if result.requeue_after_s is None:
            return "success"
        self._queue.add(key, after_s=result.requeue_after_s)
        return "requeue_after"

    def _retry(self, key: K, error: Exception, outcome: str) -> str:
        self._observer.failed(key, error, self._queue.failures(key))
        asked_s = error.retry_after_s if isinstance(error, TransientError) else 0.0
        self._queue.add_rate_limited(key, at_least_s=min(asked_s, RETRY_AFTER_CAP_S))
        return outcome
