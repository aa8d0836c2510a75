"""Run pipelines: a new one for each leadership, and for each change of the settings."""

import logging
from datetime import datetime
from typing import Final

import anyio
import msgspec

from toolset import __version__
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.write.applier import KubeApplier
from toolset.adapters.metrics import Metrics
from toolset.adapters.traces import Tracing
from toolset.config.options import target_key
from toolset.config.settings import LogSettings, PublishSettings, Settings, ShutdownSettings
from toolset.core.inventory import Inventory
from toolset.core.publishing.plan import FIELD_MANAGER
from toolset.core.status.history import History
from toolset.reconciler.ports import EventRecorder
from toolset.runtime.current import Current
from toolset.runtime.election import Leadership
from toolset.service.machine import Machine
from toolset.service.notifier import Notifier
from toolset.service.pipeline import Pipeline
from toolset.service.state import Handover, Stores, read_handover
from toolset.telemetry.bundle import Telemetry
from toolset.telemetry.local_resources import LocalResources
from toolset.telemetry.reconcile_log import ReconcileLog
from toolset.telemetry.tracing import NoTraces, ReconcileTraces

DRAIN_S: Final = 10.0
"""Time limit for draining a pipeline when the settings change, seconds: a probe, and a last write."""

_log: Final = logging.getLogger("toolset")


class Supervisor:
    """Runs a pipeline while this replica may write, with the settings in force.

    Attributes:
        history: The history for the status.
    """

    def __init__(
        self,
        settings: Current[Settings],
        kube: KubeTransport,
        stores: Stores,
        machine: Machine,
        metrics: Metrics,
        recorder: EventRecorder,
        tracing: Tracing,
        resources: LocalResources | None = None,
    ) -> None:
        """Create it; nothing runs yet.

        Args:
            settings: Those in force; followed while it runs.
            kube: The session with the API server.
            stores: The stored cluster state; Services and ConfigMap are synced before anything runs.
            machine: The identity of this process, its clocks, random numbers and prober.
            metrics: The series.
            recorder: Kubernetes Events.
            tracing: Whether reconciles are traced.
            resources: Counts what this process lacks; ``None`` for one that nothing else reads.
        """
        self._settings = settings
        self._kube = kube
        self._stores = stores
        self._machine = machine
        self._metrics = metrics
        self._recorder = recorder
        self._tracing = tracing
        self._resources = resources
        self.history = History(target_key(settings.value))
        self._pipeline: Pipeline | None = None
        self._log: ReconcileLog | None = None
        self._serving: anyio.Event | None = None  # set when it has ended
        self._stopping = False
        self._led_since: datetime | None = None

    @property
    def led_since(self) -> datetime | None:
        """Since when this replica may write; ``None`` if it may not."""
        return self._led_since

    @property
    def is_working(self) -> bool:
        """Whether a pipeline runs."""
        return self._pipeline is not None

    @property
    def inventory(self) -> Inventory | None:
        """The inventory of the running pipeline; ``None`` if none runs."""
        return self._pipeline.inventory if self._pipeline is not None else None

    def problem(self) -> str:
        """Return why what this replica publishes does not last, for readiness; empty if it does."""
        return self._log.problem() if self._log is not None else ""

    async def drain(self) -> None:
        """Finish and publish the current work, accept no more, and return once that is done."""
        self._stopping = True
        if self._pipeline is not None:
            self._pipeline.drain()
        if self._serving is not None:
            await self._serving.wait()

    async def serve(self, leadership: Leadership | None) -> None:
        """Run pipelines until drained, or until cancelled; ``leadership`` is ``None`` without an election."""
        serving = self._serving = anyio.Event()
        telemetry = self._telemetry(leadership)
        self._log = telemetry.log
        self._led_since = self._machine.now()
        notifier: Notifier | None = None
        start = read_handover(self._settings.value, self._stores)
        try:
            while not self._stopping:
                settings = self._settings.value
                if not settings.health.enabled:
                    _log.warning("health checks are off: every candidate counts as healthy")
                if notifier is None or notifier.settings != settings.notify:
                    notifier = Notifier(settings, self._kube, self._stores.config_maps, telemetry)
                applier = self._applier(leadership)
                async with self._machine.prober(settings) as prober:
                    pipeline = Pipeline(
                        settings, self._stores, applier, prober, notifier, telemetry, start, self._machine
                    )
                    start = await self._run(pipeline, settings)
        finally:
            telemetry.log.close()
            self._log = self._led_since = None
            serving.set()

    async def _run(self, pipeline: Pipeline, settings: Settings) -> Handover:
        """Run ``pipeline`` until it is drained, at the latest after new settings are in force."""
        self._pipeline = pipeline
        try:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._drain_on_change, pipeline, settings, scope)
                    await pipeline.run()
                    group.cancel_scope.cancel()
            if scope.cancelled_caught:
                _log.warning("work under the former settings did not end in time", extra={"after_s": DRAIN_S})
        finally:
            self._pipeline = None
        return pipeline.handover()

    async def _drain_on_change(self, pipeline: Pipeline, settings: Settings, scope: anyio.CancelScope) -> None:
        while _work(self._settings.value) == _work(settings):
            await self._settings.changed()
        pipeline.drain(give_up_probes=True)
        scope.deadline = anyio.current_time() + DRAIN_S

    def _applier(self, leadership: Leadership | None) -> KubeApplier:
        writer = f"{FIELD_MANAGER}/{__version__} ({self._machine.identity}; epoch {_epoch(leadership)})"
        return KubeApplier(self._kube, FIELD_MANAGER, user_agent=writer, leadership=leadership)

    def _telemetry(self, leadership: Leadership | None) -> Telemetry:
        share = self._tracing.share
        traces = NoTraces() if share is None else ReconcileTraces(_epoch(leadership), share)
        log = ReconcileLog(self._metrics, self._recorder, self._resources, self.history, now=self._machine.now)
        return Telemetry(self._metrics, self._recorder, traces, log)


def _epoch(leadership: Leadership | None) -> int:
    return leadership.epoch if leadership else 0


def _work(settings: Settings) -> Settings:
    """Return ``settings`` without those that no pipeline reads."""
    others = {"log": LogSettings(), "publish": PublishSettings(), "shutdown": ShutdownSettings()}
    return msgspec.structs.replace(settings, **others)
