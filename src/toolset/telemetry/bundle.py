"""The telemetry that a pipeline receives."""

import msgspec

from toolset.adapters.metrics import Metrics
from toolset.reconciler.ports import EventRecorder
from toolset.telemetry.reconcile_log import ReconcileLog
from toolset.telemetry.tracing import Traces


class Telemetry(msgspec.Struct, frozen=True):
    """Metrics, Events, traces and logs for the parts of one pipeline.

    Attributes:
        metrics: The series of the process.
        recorder: Records Kubernetes Events.
        traces: The spans of its reconciles.
        log: Log lines, series and Events about Services and the ConfigMap; it outlives the pipeline.
    """

    metrics: Metrics
    recorder: EventRecorder
    traces: Traces
    log: ReconcileLog
