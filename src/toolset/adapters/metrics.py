"""Every metric series: names, labels and buckets, all set to zero at the start so that rates exist before failures."""

from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from toolset.core.verdict import Reason

TOOL_TYPES: Final = ("prometheus", "grafana", "jaeger", "elasticsearch", "custom")
CONTROLLERS: Final = ("service", "probe", "target")
RESULTS: Final = ("success", "requeue_after", "error", "terminal_error", "bug")
RESOURCES: Final = ("services", "configmaps", "leases")
DROPS: Final = ("malformed", "limited", "full", "forbidden", "invalid", "unavailable", "stopped", "bug")
_QUEUE_BUCKETS: Final = tuple(1e-8 * 10**power for power in range(12))  # client-go's, util/workqueue/metrics.go
_PASS_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The series of one process, in a registry of their own."""

    def __init__(self, version: str) -> None:
        self._registry = CollectorRegistry()
        self._queue_series()
        self._reconcile_series()
        self._reflector_series()
        self._election_series()
        self._toolset_series()
        self._gauge("toolset_build_info", "Constant 1, labelled by version.", "version").labels(version).set(1)
        self._zero()

    def _queue_series(self) -> None:
        self.queue_depth = self._gauge("workqueue_depth", "Keys that wait for a worker.", "name")
        self.queue_adds = self._counter("workqueue_adds_total", "Keys added.", "name")
        self.queue_retries = self._counter("workqueue_retries_total", "Keys put off because they failed.", "name")
        self.queue_wait = self._histogram(
            "workqueue_queue_duration_seconds", "How long a key waited.", _QUEUE_BUCKETS, "name"
        )
        self.queue_work = self._histogram(
            "workqueue_work_duration_seconds", "How long a pass took.", _QUEUE_BUCKETS, "name"
        )

    def _reconcile_series(self) -> None:
        self.reconciles = self._counter(
            "controller_runtime_reconcile_total", "Passes by result.", "controller", "result"
        )
        self.reconcile_errors = self._counter(
            "controller_runtime_reconcile_errors_total", "Failed passes.", "controller"
        )
        self.reconcile_time = self._histogram(
            "controller_runtime_reconcile_time_seconds", "Length of a pass.", _PASS_BUCKETS, "controller"
        )

    def _reflector_series(self) -> None:
        self.lists = self._counter("reflector_lists_total", "Complete lists.", "resource")
        self.watches = self._counter("reflector_watches_total", "Watches that ended.", "resource")
        self.reflector_failures = self._counter("reflector_failures_total", "Attempts that failed.", "resource")

        self.skipped_events = self._counter(
            "reflector_skipped_events_total", "Watch events of an unknown type or kind.", "resource"
        )
        self.streaming_given_up = self._counter(
            "watchlist_fallback_total", "Times that lists were paged because streaming them failed.", "resource"
        )
        self._of_reflectors = (
            self.lists,
            self.watches,
            self.reflector_failures,
            self.skipped_events,
            self.streaming_given_up,
        )

    def _election_series(self) -> None:
        self.leader = self._gauge("leader_election_master_status", "Whether this replica leads.", "name")
        self.slow_path = self._counter(
            "leader_election_slowpath_total", "Renewals that had to read the Lease first.", "name"
        )

    def _toolset_series(self) -> None:
        self.services = self._gauge(
            "toolset_services", "Services by verdict: Published, or the reason why not.", "verdict"
        )
        self.tools = self._gauge("toolset_tools", "Tools in the published ConfigMap.")
        self.probes = self._counter("toolset_probes_total", "Health requests by type and outcome.", "type", "outcome")
        self.probe_time = self._histogram(
            "toolset_probe_duration_seconds",
            "Length of a health request, with waiting for a slot.",
            _PASS_BUCKETS,
            "type",
        )
        self.writes = self._counter("toolset_configmap_writes_total", "Writes of the ConfigMap.")
        self.conflicts = self._counter("toolset_configmap_conflicts_total", "Writes that met a newer version.")
        self.events_sent = self._counter("toolset_events_sent_total", "Kubernetes Events and counts sent.")
        self.events_dropped = self._counter(
            "toolset_events_dropped_total", "What was not told by Kubernetes Events, by cause.", "reason"
        )
        self.drift = self._counter("toolset_drift_repaired_total", "Owned keys put back after somebody changed them.")

    def _zero(self) -> None:
        for controller in CONTROLLERS:
            self.queue_depth.labels(controller)
            for series in (self.queue_adds, self.queue_retries, self.reconcile_errors):
                series.labels(controller)
        for controller, result in product(CONTROLLERS, RESULTS):
            self.reconciles.labels(controller, result)
        for resource, series in product(RESOURCES, self._of_reflectors):
            series.labels(resource)
        for reason in DROPS:
            self.events_dropped.labels(reason)
        for verdict in ("Published", *(reason.word for reason in Reason)):
            self.services.labels(verdict)
        for kind, outcome in product(TOOL_TYPES, ("alive", "failed")):
            self.probes.labels(kind, outcome)

    def expose(self) -> tuple[bytes, str]:
        """Return the exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)


def type_label(tool_type: str) -> str:
    """Return ``tool_type`` as a label value; custom types share one, so that a tenant cannot make series."""
    return tool_type if tool_type in TOOL_TYPES else "custom"
