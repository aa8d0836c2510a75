"""The root span of each pass: what it is about, and links to the passes that queued it."""

import random
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from opentelemetry.trace import Link

from toolset.model import Key
from toolset.reconciler import spans
from toolset.reconciler.spans import Attributes, ReconcileTrace
from toolset.runtime.controller import Scope
from toolset.runtime.workqueue import WorkQueue

LINKS: Final = 32
"""So many passes that queued a key are linked; the SDK itself takes no more than 128 links."""

Ask = Callable[[Key], None]


class ReconcileTraces:
    """Traces the passes of one term.

    Passes that change something, fail or are slow are traced all; of the others a share.
    """

    def __init__(self, epoch: int, share: float, chance: Callable[[], float] = random.random) -> None:
        """Make it.

        Args:
            epoch: Of the leadership under which the term works.
            share: The share of uneventful passes that are traced, 0 to 1.
            chance: Returns a number in [0, 1).
        """
        self._epoch = epoch
        self._share = share
        self._chance = chance
        self._causes: dict[tuple[str, Key], dict[int, Link]] = {}

    def scope(
        self, controller: str, queue: WorkQueue[Key], about: Callable[[Key], Attributes] = lambda _: {}
    ) -> Scope[Key]:
        """Return what is entered around each pass of ``controller``, which works on ``queue``.

        Args:
            controller: Its name.
            queue: Knows how the key came to the worker.
            about: Returns further attributes of a pass; asked only if it is traced.
        """

        @contextmanager
        def scope(key: Key) -> Generator[None]:
            taken, attempt = queue.taken(key), queue.failures(key) + 1

            def describe() -> Attributes:
                return {
                    **spans.reconcile_attributes(controller, key),
                    "toolset.attempt": attempt,
                    "toolset.priority": taken.priority,
                    "toolset.queue.latency_s": taken.waited_s,
                    "toolset.epoch": self._epoch,
                    **about(key),
                }

            under_way = ReconcileTrace(describe, (*self._causes.pop((controller, key), {}).values(),))
            with under_way.under_way():
                if self._chance() < self._share:
                    under_way.keep()
                yield

        return scope

    def asking(self, controller: str, ask: Ask) -> Ask:
        """Return ``ask``, which queues a key for ``controller``, such that the next pass is linked to who asked."""

        def asked(key: Key) -> None:
            cause = spans.changed()
            if cause is not None:
                links = self._causes.setdefault((controller, key), {})
                if len(links) < LINKS:
                    links[cause.span_id] = Link(cause)  # it may ask twice
            ask(key)

        return asked


class NoTraces:
    """Traces nothing, at no cost."""

    _nothing: Final[AbstractContextManager[object]] = nullcontext()

    def scope(
        self, controller: str, queue: WorkQueue[Key], about: Callable[[Key], Attributes] = lambda _: {}
    ) -> Scope[Key]:
        """Return what does nothing around each pass."""
        del controller, queue, about
        return lambda _: self._nothing

    def asking(self, controller: str, ask: Ask) -> Ask:
        """Return ``ask`` as it is."""
        del controller
        return ask


Traces = ReconcileTraces | NoTraces
