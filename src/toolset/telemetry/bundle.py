"""By what the parts of one term of work tell of themselves."""

import msgspec

from toolset.adapters.metrics import Metrics
from toolset.reconciler.ports import EventRecorder
from toolset.telemetry.reconcile_log import ReconcileLog
from toolset.telemetry.tracing import Traces


class Telemetry(msgspec.Struct, frozen=True):
    """What a term of work is given to tell of itself.

    Attributes:
        metrics: The series of the process.
        recorder: Kubernetes Events, for people.
        traces: The spans of its passes.
        log: Log lines, series and Events about Services and the ConfigMap; it knows what earlier terms have told.
    """

    metrics: Metrics
    recorder: EventRecorder
    traces: Traces
    log: ReconcileLog
