"""What a reconcile of a Service costs: 10,000 of them from the queue to the inventory, one in a hundred a backend.

Everything around detection counts: queue, controller, series, logs. First as it is without an exporter of traces, then
with one that takes every span.
"""

import statistics
import time
from collections.abc import Sequence
from typing import Final

import anyio
import msgspec
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from typing_extensions import override

from detection import application, backend
from figures import Table, shown
from toolset.adapters.kube.write.events import Kind
from toolset.adapters.metrics import Metrics
from toolset.adapters.traces import UNEVENTFUL_SHARE
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions
from toolset.core.inventory import Inventory
from toolset.core.overrides.baseline import NOTHING
from toolset.model import Key, Namespace, NamespaceMeta, Service
from toolset.reconciler.service import ServiceReconciler
from toolset.reconciler.startup_gate import StartupGate
from toolset.runtime.controller import Controller
from toolset.runtime.store import Store
from toolset.runtime.workqueue import WorkQueue
from toolset.service.machine import Machine
from toolset.telemetry.observers import ControllerMetrics, QueueMetrics
from toolset.telemetry.reconcile_log import ReconcileLog
from toolset.telemetry.tracing import NoTraces, ReconcileTraces, Traces

COUNT: Final = 10_000
ROUNDS: Final = 9


class Taker(SpanExporter):
    """Takes every span at once."""

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class NoTriggers:
    """Queues nothing."""

    def detect(self, key: Key) -> None:
        pass

    def probe(self, key: Key) -> None:
        pass

    def publish(self) -> None:
        pass


class NoEvents:
    """Drops every Kubernetes Event."""

    def record(
        self, kind: Kind, reason: str, note: str, *, related: Key | None = None, action: str = "Publish"
    ) -> None: ...


def raising(error: Exception) -> None:
    raise error


async def passes_ms(services: list[Service], traces: Traces) -> tuple[float, float]:
    """Return how long the first pass over each took, and how long a second that finds nothing new, milliseconds."""
    metrics = Metrics("1")
    store: Store[Service] = Store(raising)
    store.replace(services, "1")
    namespaces: Store[Namespace] = Store(raising)
    found = {service.key.namespace for service in services}
    namespaces.replace([Namespace(NamespaceMeta(name=name)) for name in sorted(found)], "1")
    queue: WorkQueue[Key] = WorkQueue(observer=QueueMetrics(metrics, "service"), clock=Machine().clock)
    gate = StartupGate(lambda: None)
    gate.begin(store.snapshot(), NOTHING)
    reconciler = ServiceReconciler(
        store,
        namespaces,
        Inventory(),
        gate,
        NoTriggers(),
        ReconcileLog(metrics, NoEvents()),
        DetectionOptions(BUILT_IN),
    )
    scope = traces.scope("service", queue)
    controller = Controller(queue, reconciler, ControllerMetrics(metrics, "service"), timeout_s=None, scope=scope)
    taken: list[float] = []
    async with anyio.create_task_group() as group:
        group.start_soon(controller.run)
        for _ in range(2):
            started = time.thread_time()
            for key in store.snapshot():
                queue.add(key)
            await queue.wait_idle()
            taken.append((time.thread_time() - started) * 1000)
        group.cancel_scope.cancel()
    return taken[0], taken[1]


def _row(name: str, services: list[Service], traces: Traces) -> tuple[str, ...]:
    rounds = [anyio.run(passes_ms, services, traces) for _ in range(ROUNDS)]
    first, again = zip(*rounds, strict=True)
    return name, shown(statistics.median(first), "ms"), shown(statistics.median(again), "ms")


def measure() -> Table:
    """Return what was found."""
    manifests = [backend(number) if number % 100 == 0 else application(number) for number in range(COUNT)]
    decoder = msgspec.json.Decoder(Service)
    services = [decoder.decode(msgspec.json.encode(each)) for each in manifests]
    rows = [_row("none", services, NoTraces())]
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Taker()))
    trace.set_tracer_provider(provider)
    shares = (UNEVENTFUL_SHARE, 1.0)
    rows += [_row(f"{share:.0%} of those without a change", services, ReconcileTraces(0, share)) for share in shares]
    provider.shutdown()
    return Table(
        f"What {COUNT:,} reconciles of Services cost, from the queue to the inventory",
        f"One in 100 is a backend; processor time, medians of {ROUNDS} rounds. Again: nothing has changed since.",
        ("traced", "first", "again"),
        tuple(rows),
    )
