"""The root span of each reconcile: what it is about, and links to the reconciles that queued it."""

import random
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from opentelemetry.trace import Link, SpanContext

from toolset.model import Key
from toolset.reconciler import spans
from toolset.reconciler.spans import Attributes, ReconcileTrace
from toolset.runtime.controller import Scope
from toolset.runtime.workqueue import WorkQueue


class ReconcileTraces:
    """Traces the reconciles of one leadership.

    Reconciles of the target, and those that change something, fail or are slow, are all traced; of the others a share.
    """

    def __init__(self, epoch: int, share: float, chance: Callable[[], float] = random.random) -> None:
        """Create it.

        Args:
            epoch: Of the leadership.
            share: The share of uneventful reconciles that are traced, 0 to 1.
            chance: Returns a number in [0, 1).
        """
        self._epoch = epoch
        self._share = share
        self._chance = chance

    def scope(
        self,
        controller: str,
        queue: WorkQueue[Key],
        describe: Callable[[Key], Attributes] = lambda _: {},
        *,
        always: bool = False,
    ) -> Scope[Key]:
        """Return the context manager around each reconcile of ``controller``, which works on ``queue``.

        Args:
            controller: Its name.
            queue: Has how the worker got the key, and what queued it.
            describe: Returns further attributes of a reconcile; called only if it is traced.
            always: Whether uneventful reconciles are all traced too, for a controller that has few.
        """
        share = 1.0 if always else self._share

        @contextmanager
        def scope(key: Key) -> Generator[None]:
            taken, attempt = queue.taken(key), queue.failures(key) + 1

            def attributes() -> Attributes:
                return {
                    **spans.reconcile_attributes(controller, key),
                    "toolset.attempt": attempt,
                    "toolset.priority": taken.priority,
                    "toolset.queue.latency_s": taken.waited_s,
                    "toolset.epoch": self._epoch,
                    **describe(key),
                }

            links = [Link(cause) for cause in taken.causes if isinstance(cause, SpanContext)]
            reconcile = ReconcileTrace(attributes, links)
            with reconcile.under_way():
                if self._chance() < share:
                    reconcile.keep()
                yield

        return scope


class NoTraces:
    """Traces nothing, at no cost."""

    _nothing: Final[AbstractContextManager[object]] = nullcontext()

    def scope(
        self,
        controller: str,
        queue: WorkQueue[Key],
        describe: Callable[[Key], Attributes] = lambda _: {},
        *,
        always: bool = False,
    ) -> Scope[Key]:
        """Return a no-op context manager for each reconcile."""
        del controller, queue, describe, always
        return lambda _: self._nothing


Traces = ReconcileTraces | NoTraces
