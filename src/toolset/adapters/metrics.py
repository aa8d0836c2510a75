"""Every metric series: names, labels and buckets, initialised to zero so that rates exist before failures.

Names and buckets of queues, clients and reconciles are those of client-go and controller-runtime, so that their
dashboards work.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice, product
from typing import Final, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from toolset.core.backends.catalog import TYPES
from toolset.core.candidate import Reason
from toolset.core.health.thresholds import Failure
from toolset.model import Key
from toolset.runtime.line_writer import LineWriter

TOOL_TYPES: Final = (*TYPES, "custom")
CONTROLLERS: Final = ("service", "probe", "target", "notify")
RESULTS: Final = ("success", "requeue_after", "error", "terminal_error", "bug")
RELOADS: Final = ("success", "invalid")
RESOURCES: Final = ("services", "configmaps", "namespaces", "leases")
LIST_REASONS: Final = ("start", "expired", "out of sync", "cannot resume", "silence", "refresh")
DROPS: Final = ("malformed", "limited", "full", "forbidden", "invalid", "unavailable", "stopped", "bug")
OUTCOMES: Final = ("alive", "unauthorized", *(failure.value for failure in Failure if failure is not Failure.DEFERRED))
VERDICTS: Final = ("Published", *(reason.word for reason in Reason))
CANDIDATE_VERDICTS: Final = ("Published", *(reason.word for reason in Reason if reason.of_candidates))
TOOLS_LIMIT: Final = 1000
"""Maximum number of tools with their own series; the publishing limits allow fewer."""
_QUEUE_BUCKETS: Final = tuple(1e-8 * 10**power for power in range(12))  # client-go's, util/workqueue/metrics.go
_RECONCILE_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_REQUEST_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)  # client-go's adapter
_WRITE_BUCKETS: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 5.0, 10.0, 30.0, 60.0)
_ITEMS_BUCKETS: Final = (1.0, 10.0, 100.0, 1000.0, 10_000.0, 50_000.0)
_WATCH_BUCKETS: Final = (1.0, 10.0, 60.0, 120.0, 300.0, 450.0, 600.0)


S = TypeVar("S", Counter, Gauge, Histogram)


class Description(msgspec.Struct, frozen=True, order=True):
    """What one series means.

    Attributes:
        name: Its name.
        kind: ``counter``, ``gauge`` or ``histogram``.
        text: What it measures.
        labels: Its labels, with the values that are known before anything happens.
    """

    name: str
    kind: str
    text: str
    labels: Mapping[str, tuple[str, ...]]


class ToolSeries(msgspec.Struct, frozen=True):
    """The labels of one published tool, and whether its last probe found it healthy."""

    namespace: str
    name: str
    type: str
    product: str
    healthy: bool


class Metrics:
    """The series of one process, in a registry of their own."""

    def __init__(self, version: str) -> None:
        # 20 % of all lines, and the creation time of a counter is of no use.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the one function there without types
        self._registry = CollectorRegistry()
        self._described: list[Description] = []
        self._queue_series()
        self._reconcile_series()
        self._reflector_series()
        self._client_series()
        self._toolset_series()
        self._publication_series()
        self._settings_series()
        tool = ("tool_namespace", "tool_name")
        self._info = self._note_series(
            "toolset_tool_info", "Constant 1 for each published tool.", *tool, "type", "product"
        )
        self._healthy = self._note_series(
            "toolset_tool_healthy", "Whether the last probe of a published tool found it healthy.", *tool
        )
        self._required = self._note_series(
            "toolset_required_tool_published", "Whether a tool that publish.required names is published.", *tool
        )
        ProcessCollector(registry=self._registry)
        self._gauge("toolset_build_info", "Constant 1, labelled by version.", version=()).labels(version).set(1)

    def _queue_series(self) -> None:
        name = {"name": CONTROLLERS}
        self.queue_depth = self._gauge("workqueue_depth", "Keys that wait for a worker.", **name)
        self.queue_adds = self._counter("workqueue_adds_total", "Keys added.", **name)
        self.queue_retries = self._counter("workqueue_retries_total", "Keys deferred because they failed.", **name)
        self.queue_wait = self._histogram(
            "workqueue_queue_duration_seconds", "Time that a key waited for a worker.", _QUEUE_BUCKETS, **name
        )
        self.queue_work = self._histogram(
            "workqueue_work_duration_seconds", "Duration of a reconcile.", _QUEUE_BUCKETS, **name
        )
        self.queue_unfinished = self._gauge(
            "workqueue_unfinished_work_seconds",
            "Sum of the ages of the reconciles in progress; a large value indicates one that hangs.",
            **name,
        )
        self.queue_longest = self._gauge(
            "workqueue_longest_running_processor_seconds", "Age of the oldest reconcile in progress.", **name
        )

    def _reconcile_series(self) -> None:
        controller = {"controller": CONTROLLERS}
        self.reconciles = self._counter(
            "controller_runtime_reconcile_total", "Reconciles by result.", **controller, result=RESULTS
        )
        self.reconcile_errors = self._counter(
            "controller_runtime_reconcile_errors_total", "Failed reconciles.", **controller
        )
        self.terminal_errors = self._counter(
            "controller_runtime_terminal_reconcile_errors_total",
            "Failed reconciles that are retried only after a change.",
            **controller,
        )
        self.panics = self._counter(
            "controller_runtime_reconcile_panics_total",
            "Reconciles that ended with an unexpected exception.",
            **controller,
        )
        self.reconcile_timeouts = self._counter(
            "controller_runtime_reconcile_timeouts_total", "Reconciles that exceeded their time limit.", **controller
        )
        self.reconcile_time = self._histogram(
            "controller_runtime_reconcile_time_seconds", "Duration of a reconcile.", _RECONCILE_BUCKETS, **controller
        )
        self.max_concurrent = self._gauge(
            "controller_runtime_max_concurrent_reconciles", "Workers of a controller.", **controller
        )
        self.active_workers = self._gauge(
            "controller_runtime_active_workers", "Workers that process a key.", **controller
        )

    def _reflector_series(self) -> None:
        resource = {"resource": RESOURCES}
        self.lists = self._counter("reflector_lists_total", "Complete lists.", **resource)
        self.relists = self._counter(
            "toolset_reflector_relists_total", "Complete lists by reason.", **resource, reason=LIST_REASONS
        )
        self.list_time = self._histogram(
            "reflector_list_duration_seconds", "Duration of a complete list.", _REQUEST_BUCKETS, **resource
        )
        self.list_items = self._histogram("reflector_items_per_list", "Objects in a list.", _ITEMS_BUCKETS, **resource)
        self.watches = self._counter("reflector_watches_total", "Watches that ended.", **resource)
        self.short_watches = self._counter(
            "reflector_short_watches_total", "Watches that ended within a second without an event.", **resource
        )
        self.watch_time = self._histogram(
            "reflector_watch_duration_seconds", "Duration of a watch.", _WATCH_BUCKETS, **resource
        )
        self.watch_items = self._histogram(
            "reflector_items_per_watch", "Events in a watch.", _ITEMS_BUCKETS, **resource
        )
        self.reflector_failures = self._counter(
            "toolset_reflector_failures_total", "Failed lists and watches.", **resource
        )
        self.skipped_events = self._counter(
            "toolset_reflector_skipped_events_total", "Watch events of an unknown type or kind.", **resource
        )
        self.streaming_given_up = self._counter(
            "toolset_watchlist_fallback_total", "Fallbacks from streamed to paged lists.", **resource
        )
        self.last_activity = self._gauge(
            "toolset_reflector_last_activity_seconds", "Time since the API server last answered.", **resource
        )
        self.store_objects = self._gauge("toolset_store_objects", "Objects in a store.", **resource)

    def _client_series(self) -> None:
        self.requests = self._counter("rest_client_requests_total", "Requests to the API server.", code=(), method=())
        self.request_time = self._histogram(
            "rest_client_request_duration_seconds", "Time until the headers of a response.", _REQUEST_BUCKETS, verb=()
        )
        self.leader = self._gauge("leader_election_master_status", "Whether this replica leads.", name=())
        self.slow_path = self._counter(
            "leader_election_slowpath_total", "Renewals that had to read the Lease first.", name=()
        )
        self.permissions_missing = self._gauge(
            "toolset_permissions_missing", "Permissions that the settings need and the API server does not grant."
        )
        self._log_lines_dropped = self._counter(
            "toolset_log_lines_dropped_total", "Log lines dropped because nobody read standard error."
        )
        self._log_lines_counted = 0
        self.loop_lag = self._gauge("toolset_event_loop_lag_seconds", "Delay of the event loop at its last timer.")

    def _toolset_series(self) -> None:
        kind = {"type": TOOL_TYPES}
        self.services = self._gauge(
            "toolset_services", "Services by verdict: Published, or the reason why not.", verdict=VERDICTS
        )
        self.candidates = self._gauge(
            "toolset_candidates", "Recognised Services by type and verdict.", **kind, verdict=CANDIDATE_VERDICTS
        )
        self.tools = self._gauge("toolset_tools", "Tools in the published ConfigMap.", **kind)
        self.probes = self._counter("toolset_probes_total", "Health requests by outcome.", **kind, outcome=OUTCOMES)
        self.probe_time = self._histogram(
            "toolset_probe_duration_seconds",
            "Duration of a health request, including the wait for a slot.",
            _RECONCILE_BUCKETS,
            **kind,
        )
        self.local_resource_errors = self._counter(
            "toolset_local_resource_errors_total",
            "Probes that failed because this process had no file descriptors, memory or threads left.",
        )
        self.held = self._gauge("toolset_removals_held", "Tools that stay published although their probes fail.")
        self.holds = self._counter(
            "toolset_removal_holds_total", "Holds of removals, because most tools stopped answering at once."
        )
        self.events_sent = self._counter("toolset_events_sent_total", "Kubernetes Events created or updated.")
        self.events_dropped = self._counter(
            "toolset_events_dropped_total", "Occurrences that were not recorded as Kubernetes Events.", reason=DROPS
        )

    def _settings_series(self) -> None:
        self.settings_valid = self._gauge("toolset_settings_valid", "Whether the settings file, if any, is valid.")
        self.settings_valid.set(1)
        self.settings_reloads = self._counter(
            "toolset_settings_reloads_total", "Changes of the settings file by result.", result=RELOADS
        )
        self.settings_loaded_at = self._gauge(
            "toolset_settings_last_success_timestamp_seconds",
            "Time of the last applied change of the settings, Unix time.",
        )
        self.settings_waiting = self._gauge(
            "toolset_settings_restart_needed", "Settings that are changed in the file and need a restart."
        )

    def _publication_series(self) -> None:
        self.writes = self._counter("toolset_configmap_writes_total", "Writes of the ConfigMap.")
        self.paced_writes = self._counter(
            "toolset_configmap_writes_paced_total",
            "Reconciles whose write was delayed, because the same Services change continually.",
        )
        self.conflicts = self._counter(
            "toolset_configmap_conflicts_total", "Writes that conflicted with a newer version."
        )
        self.drift = self._counter(
            "toolset_drift_repaired_total", "Repairs of owned keys after an edit by somebody else."
        )
        self.overwritten = self._gauge(
            "toolset_configmap_overwritten", "1 while this field manager keeps overwriting the ConfigMap.", manager=()
        )
        self.config_map_bytes = self._gauge(
            "toolset_configmap_bytes", "Size of the documents that this service owns in the ConfigMap."
        )
        self.config_map_limit = self._gauge("toolset_configmap_limit_bytes", "Limit of that size.")
        self.overrides_valid = self._gauge(
            "toolset_overrides_valid", "Whether overrides.yaml, if any, is valid and all of it applies."
        )
        self.overrides_valid.set(1)
        self.overrides_dropped = self._gauge(
            "toolset_overrides_dropped", "Patches in overrides.yaml that do not fit what was discovered."
        )
        self.event_to_write = self._histogram(
            "toolset_event_to_write_seconds", "Time from a change of a Service to the resulting write.", _WRITE_BUCKETS
        )

    def follow_tools(
        self, tools: Callable[[], Iterable[ToolSeries]], required: Callable[[], Mapping[Key, bool]]
    ) -> None:
        """Read the series of single tools at each scrape; at most ``TOOLS_LIMIT`` of them.

        Args:
            tools: Returns the published tools.
            required: Returns for each required tool whether it is published.
        """
        self._registry.register(_Tools(partial(self._tool_families, tools, required)))

    def _tool_families(
        self, tools: Callable[[], Iterable[ToolSeries]], required: Callable[[], Mapping[Key, bool]]
    ) -> list[GaugeMetricFamily]:
        info, healthy, wanted = (
            GaugeMetricFamily(each.name, each.text, labels=[*each.labels])
            for each in (self._info, self._healthy, self._required)
        )
        for each in islice(tools(), TOOLS_LIMIT):
            info.add_metric([each.namespace, each.name, each.type, each.product], 1)
            healthy.add_metric([each.namespace, each.name], each.healthy)
        for key, published in required().items():
            wanted.add_metric([key.namespace, key.name], published)
        return [info, healthy, wanted]

    def _note_series(self, name: str, text: str, *labels: str) -> Description:
        self._note(name, "gauge", text, dict.fromkeys(labels, ()))
        return self._described[-1]

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """Return the exposition and its content type.

        Args:
            accept: The ``Accept`` header: OpenMetrics, the only format with exemplars, or else the classic text.
        """
        dropped = LineWriter.dropped
        self._log_lines_dropped.inc(dropped - self._log_lines_counted)
        self._log_lines_counted = dropped
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # it fails on a malformed version
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def described(self) -> list[Description]:
        """Return the meaning of every series, by name."""
        return sorted(self._described)

    def _counter(self, name: str, text: str, /, **labels: Sequence[str]) -> Counter:
        return self._zeroed(
            Counter(name, text, self._note(name, "counter", text, labels), registry=self._registry), labels
        )

    def _gauge(self, name: str, text: str, /, **labels: Sequence[str]) -> Gauge:
        return self._zeroed(Gauge(name, text, self._note(name, "gauge", text, labels), registry=self._registry), labels)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], /, **labels: Sequence[str]) -> Histogram:
        names = self._note(name, "histogram", text, labels)
        return self._zeroed(Histogram(name, text, names, buckets=buckets, registry=self._registry), labels)

    def _note(self, name: str, kind: str, text: str, labels: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        self._described.append(Description(name, kind, text, {label: tuple(known) for label, known in labels.items()}))
        return tuple(labels)

    @staticmethod
    def _zeroed(series: S, labels: Mapping[str, Sequence[str]]) -> S:
        if labels:
            for values in product(*labels.values()):  # nothing if the values of a label are not known in advance
                series.labels(*values)
        return series


class _Tools(Collector):
    """Families that are built at each scrape."""

    def __init__(self, collect: Callable[[], Iterable[GaugeMetricFamily]]) -> None:
        self._collect = collect

    @override
    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return them."""
        return self._collect()


def type_label(tool_type: str) -> str:
    """Return ``tool_type`` as a label value; custom types share one, so that a tenant cannot create series."""
    return tool_type if tool_type in TOOL_TYPES else "custom"
