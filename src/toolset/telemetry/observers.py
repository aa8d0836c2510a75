"""Observers of the machinery: they turn its callbacks into log lines and metrics."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import anyio

from toolset.adapters.metrics import RESULTS, Metrics
from toolset.errors import ForbiddenError, TerminalError, ToolsetError
from toolset.model import Key
from toolset.reconciler import spans
from toolset.runtime.reflector import SHORT_WATCH_S

_log: Final = logging.getLogger("toolset")


class QueueMetrics:
    """Measures one work queue."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._name = name
        self._adds = metrics.queue_adds.labels(name)
        self._retries = metrics.queue_retries.labels(name)
        self._wait = metrics.queue_wait.labels(name)
        self._work = metrics.queue_work.labels(name)

    def watch(self, waiting: Callable[[], int], in_work_since: Callable[[], list[float]]) -> None:
        """Measure the queue at each scrape.

        Args:
            waiting: Returns how many keys wait for a worker.
            in_work_since: Returns when each key in work was taken, on the clock of the event loop.
        """

        def ages() -> list[float]:
            now = anyio.current_time()
            return [now - since for since in in_work_since()]

        self._metrics.queue_depth.labels(self._name).set_function(lambda: float(waiting()))
        self._metrics.queue_unfinished.labels(self._name).set_function(lambda: sum(ages()))
        self._metrics.queue_longest.labels(self._name).set_function(lambda: max(ages(), default=0.0))
        self._metrics.active_workers.labels(self._name).set_function(lambda: float(len(in_work_since())))

    def added(self) -> None:
        """Count a key."""
        self._adds.inc()

    def taken(self, waited_s: float) -> None:
        """Measure how long a key waited."""
        self._wait.observe(waited_s)

    def finished(self, worked_s: float) -> None:
        """Measure how long a worker held a key."""
        self._work.observe(worked_s)

    def retried(self) -> None:
        """Count a retry."""
        self._retries.inc()


class ControllerMetrics:
    """Counts the reconciles of one controller; logs those that failed."""

    def __init__(self, metrics: Metrics, controller: str, workers: int = 1) -> None:
        self._metrics = metrics
        self._controller = controller
        self._time = metrics.reconcile_time.labels(controller)
        self._results = {result: metrics.reconciles.labels(controller, result) for result in RESULTS}
        metrics.max_concurrent.labels(controller).set(workers)

    def passed(self, key: Key, result: str, took_s: float) -> None:
        """Count and measure a reconcile."""
        del key
        self._results[result].inc()
        spans.ended(result, took_s)
        self._time.observe(took_s, spans.exemplar())

    def failed(self, key: Key, error: Exception, failures: int) -> None:
        """Log a failed reconcile: an unexpected exception with its traceback, others in one line."""
        spans.failed(error)
        expected = isinstance(error, ToolsetError | TimeoutError)
        self._metrics.reconcile_errors.labels(self._controller).inc()
        if isinstance(error, TerminalError):
            self._metrics.terminal_errors.labels(self._controller).inc()
        elif isinstance(error, TimeoutError):
            self._metrics.reconcile_timeouts.labels(self._controller).inc()
        elif not expected:
            self._metrics.panics.labels(self._controller).inc()
        _log.error(
            "reconcile failed",
            exc_info=None if expected else error,
            extra={
                **spans.object_attributes(self._controller, key),
                "controller": self._controller,
                "error": _text(error),
                "failures": failures,
            },
        )


class ReflectorLog:
    """Counts lists and watches of one resource; logs their failures."""

    def __init__(self, metrics: Metrics, resource: str) -> None:
        self._metrics = metrics
        self.resource = resource
        self.problem = ""
        self._attempted = anyio.Event()

    async def wait_attempted(self) -> None:
        """Wait until the first list is complete or has failed."""
        await self._attempted.wait()

    def watch(self, silent_s: Callable[[], float], objects: Callable[[], int]) -> None:
        """Measure the silence of the watch and the size of the store at each scrape."""
        self._metrics.last_activity.labels(self.resource).set_function(silent_s)
        self._metrics.store_objects.labels(self.resource).set_function(lambda: float(objects()))

    def listed(self, items: int, took_s: float, reason: str) -> None:
        """Log and measure a complete list."""
        self.problem = ""
        self._attempted.set()
        self._metrics.lists.labels(self.resource).inc()
        self._metrics.relists.labels(self.resource, reason).inc()
        self._metrics.list_time.labels(self.resource).observe(took_s)
        self._metrics.list_items.labels(self.resource).observe(items)
        _log.info(
            "list stored",
            extra={"resource": self.resource, "items": items, "took_s": round(took_s, 3), "reason": reason},
        )

    def watch_ended(self, events: int, took_s: float) -> None:
        """Count and measure a watch that ended."""
        self._metrics.watches.labels(self.resource).inc()
        self._metrics.watch_time.labels(self.resource).observe(took_s)
        self._metrics.watch_items.labels(self.resource).observe(events)
        if not events and took_s < SHORT_WATCH_S:
            self._metrics.short_watches.labels(self.resource).inc()
        _log.debug("watch ended", extra={"resource": self.resource, "events": events, "took_s": round(took_s, 3)})

    def skipped(self, what: str) -> None:
        """Log a watch event of an unknown type or kind."""
        self._metrics.skipped_events.labels(self.resource).inc()
        _log.warning("watch event skipped", extra={"resource": self.resource, "what": what[:64]})

    def streaming_given_up(self, error: Exception) -> None:
        """Log the fallback from streamed to paged lists."""
        self._metrics.streaming_given_up.labels(self.resource).inc()
        _log.info("lists are paged from now on", extra={"resource": self.resource, "error": _text(error)})

    def failed(self, error: ToolsetError, retry_in_s: float) -> None:
        """Log a failed attempt."""
        self.problem = _text(error)
        self._attempted.set()
        self._metrics.reflector_failures.labels(self.resource).inc()
        _log.warning(
            "list or watch failed",
            extra={"resource": self.resource, "error": self.problem, "retry_in_s": round(retry_in_s, 1)},
        )


class ElectionLog:
    """Logs and counts the events of an election."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._leads = metrics.leader.labels(name)
        self._slow = metrics.slow_path.labels(name)

    def started_leading(self, epoch: int) -> None:
        """Log that this replica leads."""
        self._leads.set(1)
        _log.info("leadership taken", extra={"epoch": epoch})

    def stopped_leading(self, epoch: int, *, lost: bool) -> None:
        """Log that this replica no longer leads."""
        self._leads.set(0)
        (_log.warning if lost else _log.info)("leadership ended", extra={"epoch": epoch, "lost": lost})

    def new_leader(self, identity: str) -> None:
        """Log the new leader."""
        _log.info("leader seen", extra={"leader": identity or "nobody"})

    def took_slow_path(self) -> None:
        """Count a renewal that had to read the Lease first."""
        self._slow.inc()

    def restarted_epochs(self, transitions: int) -> None:
        """Log that epochs start again at 0."""
        _log.warning("leaseTransitions restarted at 0", extra={"before": transitions})

    def failed(self, error: Exception) -> None:
        """Log a request that failed."""
        expected = isinstance(error, ToolsetError | TimeoutError)
        _log.warning("election request failed", exc_info=None if expected else error, extra={"error": _text(error)})


class LeaseGuardLog:
    """Logs why a process without an election does not write, and counts it as a leader while it does.

    Two processes without an election do not see each other, but Prometheus sees both.
    """

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._name = name

    @contextmanager
    def working(self) -> Generator[None]:
        """Count this process as a leader inside the block."""
        leads = self._metrics.leader.labels(self._name)
        leads.set(1)
        try:
            yield
        finally:
            leads.set(0)

    def held(self, holder: str) -> None:
        """Log that another process holds the Lease."""
        remedy = "turn `election.enabled` on, or stop the other process"
        _log.warning("nothing is written: another process leads", extra={"leader": holder, "remedy": remedy})

    def unreadable(self, error: ForbiddenError) -> None:
        """Log that it is unknown whether another process leads."""
        _log.warning("lease not readable, another leader is not noticed", extra={"error": _text(error)})

    def failed(self, error: Exception) -> None:
        """Log a request that failed."""
        expected = isinstance(error, ToolsetError | TimeoutError)
        _log.warning("election request failed", exc_info=None if expected else error, extra={"error": _text(error)})


class ClientMetrics:
    """Counts requests to the API server."""

    def __init__(self, metrics: Metrics, on_refused: Callable[[], None] = lambda: None) -> None:
        """Create the counters.

        Args:
            metrics: The series.
            on_refused: Called whenever the API server answers 403.
        """
        self._metrics = metrics
        self._on_refused = on_refused

    def answered(self, method: str, code: int, took_s: float) -> None:
        """Count a response, and measure the seconds until its head."""
        self._metrics.requests.labels(str(code), method).inc()
        self._metrics.request_time.labels(method).observe(took_s, spans.exemplar())
        if code == 403:
            self._on_refused()


class EventMetrics:
    """Counts Kubernetes Events."""

    def __init__(self, metrics: Metrics) -> None:
        self._sent = metrics.events_sent
        self._dropped = metrics.events_dropped

    def sent(self) -> None:
        """Count an Event that the API server accepted."""
        self._sent.inc()

    def dropped(self, reason: str) -> None:
        """Count an Event that was dropped."""
        self._dropped.labels(reason).inc()


def handler_failed(error: Exception) -> None:
    """Log an exception raised by a store's handler."""
    _log.error("store handler failed", exc_info=error)


def handler_slow(took_s: float) -> None:
    """Log a store's handler that delayed the watch."""
    _log.debug("store handler slow", extra={"took_s": round(took_s, 3)})


def _text(error: Exception) -> str:
    return str(error)[:512] or type(error).__name__
