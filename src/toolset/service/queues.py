"""The work queues of one pipeline, and all sources of their keys."""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from operator import attrgetter
from typing import Final

import anyio
from opentelemetry.trace import SpanContext

from toolset.adapters.metrics import Metrics
from toolset.config.options import detection_options, target_key
from toolset.config.settings import Settings
from toolset.core.shares import Shares
from toolset.model import ConfigMap, Key, Namespace, Service
from toolset.reconciler import spans
from toolset.reconciler.startup_gate import StartupGate
from toolset.runtime.backoff import Backoff, RetryLimiter
from toolset.runtime.delays import Debounce
from toolset.runtime.store import Delta
from toolset.runtime.turns import Turns
from toolset.runtime.workqueue import CAUSES_LIMIT, WorkQueue
from toolset.service.state import Stores
from toolset.telemetry.observers import QueueMetrics
from toolset.telemetry.reconcile_log import ReconcileLog

SERVICE_DEBOUNCE: Final = Debounce(quiet_s=0.05, at_most_s=0.5)
TARGET_DEBOUNCE: Final = Debounce(quiet_s=0.1, at_most_s=1.0)
WRITE_RETRY_CAP_S: Final = 300.0
"""Maximum delay between attempts to write, seconds; the first is that of a failed list (`controller.retry_base`),
because a burst of attempts every few milliseconds does not help an overloaded API server."""
_log: Final = logging.getLogger("toolset")
RESYNC_PRIORITY: Final = -100
"""Work without an event waits behind work caused by one (controller-runtime's priority)."""


class Queues:
    """Three queues, in the order of processing: service, probe, target.

    It implements :class:`~toolset.reconciler.ports.Triggers`, and follows the stores for the pipeline.
    """

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        notify: Callable[[], None],
        metrics: Metrics,
        log: ReconcileLog,
        shares: Shares,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        """Create empty queues.

        Args:
            settings: The settings.
            stores: The stores to follow.
            notify: Called whenever the ConfigMap has changed.
            metrics: The series.
            log: Measures the time from the change of a Service to its publication.
            shares: The shares of namespaces.
            clock: The clock of the event loop, seconds.
        """
        self._clock = clock
        self._stores = stores
        self._notify = notify
        self._metrics = metrics
        self._log = log
        self._target = target_key(settings)
        self._trust = detection_options(settings).trust
        self._static = frozenset(backend.key for backend in settings.static)
        self._early: list[SpanContext | None] = []  # triggers of publications before the gate opened
        self._by_namespace: dict[str, list[Key]] | None = None  # until the next change of a Service
        writes = Backoff(base_s=settings.controller.retry_base, cap_s=WRITE_RETRY_CAP_S, spread=0.0)
        self.service = self._queue("service")
        self.probes = self._queue("probe", turns=Turns(attrgetter("namespace"), shares.account))
        self.target = self._queue("target", RetryLimiter(writes))
        self.gate = StartupGate(on_open=self._publish_first)

    def _queue(
        self, name: str, limiter: RetryLimiter[Key] | None = None, turns: Turns[Key] | None = None
    ) -> WorkQueue[Key]:
        observer = QueueMetrics(self._metrics, name)
        queue: WorkQueue[Key] = WorkQueue(limiter=limiter, observer=observer, turns=turns, clock=self._clock)
        observer.watch(queue.__len__, queue.in_work_since)
        return queue

    def detect(self, key: Key) -> None:
        """Detect the Service ``key`` again: something else that matters has changed."""
        self.service.add(key, cause=spans.changed())

    def probe(self, key: Key) -> None:
        """Probe the candidate ``key`` now."""
        self.probes.add(key, cause=spans.changed())

    def publish(self, *, priority: int = 0) -> None:
        """Reconcile the ConfigMap once changes have settled, but not before the startup gate is open."""
        if self.gate.is_open:
            self.target.add(self._target, settle=TARGET_DEBOUNCE, priority=priority, cause=spans.changed())
        elif len(self._early) < CAUSES_LIMIT:
            self._early.append(spans.changed())

    def publish_last(self) -> None:
        """Reconcile the ConfigMap now, for the last time."""
        if self.gate.is_open:
            self.target.add(self._target)

    def services(self) -> frozenset[Key]:
        """Return the keys of all Services and static backends."""
        return self._static.union(self._stores.services.snapshot())

    def resync(self) -> None:
        """Reconcile every Service again, from the store."""
        for key in self.services():
            self.service.add(key, priority=RESYNC_PRIORITY)

    @contextmanager
    def following(self) -> Generator[None]:
        """Queue the content of the stores, and their changes inside the block."""
        stores = self._stores
        with ExitStack() as at_the_end:
            for registration in stores.services.subscribe(self._on_service):
                at_the_end.callback(registration.cancel)
            at_the_end.callback(stores.namespaces.subscribe(self._on_namespace).cancel)
            at_the_end.callback(stores.config_maps.subscribe(self._on_config_map).cancel)
            if stores.overrides is not None:
                at_the_end.callback(stores.overrides.subscribe(self._on_overrides).cancel)
            for key in self._static:
                self.service.add(key)
            yield

    def _publish_first(self) -> None:
        for cause in (*self._early, spans.changed()):
            self.target.add(self._target, cause=cause)
        self._early.clear()

    def _on_service(self, delta: Delta[Service]) -> None:
        changed = delta.new or delta.old
        self._by_namespace = None
        if changed is not None:
            self._service_changed(changed.key, initial=delta.initial)

    def _on_namespace(self, delta: Delta[Namespace]) -> None:
        """Reconcile the Services of a namespace whose deletion starts, that was deleted, or whose trust changes.

        Other changes of a namespace do not matter.
        """
        changed = delta.new or delta.old
        if changed is None or self._of_interest(delta.old) == self._of_interest(delta.new):
            return
        if delta.new is not None and (problem := self._trust.problem(delta.new)):
            _log.warning("trust label ignored", extra={"k8s.namespace.name": changed.key.name, "problem": problem})
        for key in self._services_in(changed.key.name):
            self._service_changed(key, initial=delta.initial)

    def _services_in(self, namespace: str) -> Sequence[Key]:
        """Return the Services of a namespace; for many labelled namespaces in one list, all are searched only once."""
        if self._by_namespace is None:
            self._by_namespace = {}
            for key in self._stores.services.snapshot():
                self._by_namespace.setdefault(key.namespace, []).append(key)
        return self._by_namespace.get(namespace, ())

    def _service_changed(self, key: Key, *, initial: bool) -> None:
        if initial:  # the first list does not settle, and is not measured as events
            self.service.add(key)
            return
        self._log.service_changed(key)
        self.service.add(key, settle=SERVICE_DEBOUNCE)

    def _of_interest(self, namespace: Namespace | None) -> tuple[bool, str | None]:
        return namespace is not None and namespace.is_ending, self._trust.label(namespace)

    def _on_overrides(self, _: Delta[ConfigMap]) -> None:
        self.publish()

    def _on_config_map(self, delta: Delta[ConfigMap]) -> None:
        self._notify()
        if not delta.own:  # a write of this process leaves nothing to reconcile
            self.publish()
