"""One term of work after the other: a new one with each leadership, and with each change of the settings."""

import logging
from typing import Final

import anyio
import msgspec

from toolset import __version__
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.write.applier import KubeApplier
from toolset.adapters.metrics import Metrics
from toolset.adapters.traces import Tracing
from toolset.config.options import prober
from toolset.config.settings import LogSettings, Settings, ShutdownSettings
from toolset.core.publishing.plan import FIELD_MANAGER
from toolset.reconciler.ports import EventRecorder
from toolset.runtime.election import Leadership
from toolset.service.notifier import Notifier
from toolset.service.pipeline import Pipeline
from toolset.service.state import Handover, Stores
from toolset.telemetry.bundle import Telemetry
from toolset.telemetry.reconcile_log import ReconcileLog
from toolset.telemetry.tracing import NoTraces, ReconcileTraces

DRAIN_S: Final = 10.0
"""How long a term may take to end in order when the settings change, seconds: a probe, and a last write."""

_log: Final = logging.getLogger("toolset")


class Supervisor:
    """Works for as long as this replica may, under the settings that are in force."""

    def __init__(
        self,
        settings: Settings,
        kube: KubeTransport,
        stores: Stores,
        identity: str,
        metrics: Metrics,
        recorder: EventRecorder,
        tracing: Tracing,
    ) -> None:
        """Make it; nothing works yet.

        Args:
            settings: What is in force now.
            kube: The session with the API server.
            stores: What is known of the cluster; Services and ConfigMap are synced before anything works.
            identity: Of this process.
            metrics: The series.
            recorder: What tells people.
            tracing: Whether passes are traced.
        """
        self._settings = settings
        self._kube = kube
        self._stores = stores
        self._identity = identity
        self._metrics = metrics
        self._recorder = recorder
        self._tracing = tracing
        self._pipeline: Pipeline | None = None
        self._scope = anyio.CancelScope()
        self._stopping = False

    @property
    def is_working(self) -> bool:
        """Whether a term is under way."""
        return self._pipeline is not None

    def adopt(self, settings: Settings) -> None:
        """Work under ``settings`` from now on: a term that is under way ends in order, and another one begins."""
        before, self._settings = self._settings, settings
        if self._pipeline is not None and _work(before) != _work(settings):
            self._pipeline.drain(give_up_probes=True)
            self._scope.deadline = anyio.current_time() + DRAIN_S

    def drain(self) -> bool:
        """Finish what is in work, publish it, and take no more; return whether anything was in work."""
        self._stopping = True
        if self._pipeline is None:
            return False
        self._pipeline.drain()
        return True

    async def serve(self, leadership: Leadership | None) -> None:
        """Work until drained, or until cancelled; ``leadership`` is ``None`` where there is no election."""
        telemetry = self._telemetry(leadership)
        notifier: Notifier | None = None
        former: Handover | None = None
        try:
            while not self._stopping:
                settings = self._settings
                if not settings.health.enabled:
                    _log.warning("health checks are off: every candidate counts as healthy")
                if notifier is None or notifier.settings != settings.notify:
                    notifier = Notifier(settings, self._kube, self._stores.config_maps, telemetry)
                async with prober(settings) as health_prober:
                    applier = self._applier(leadership)
                    pipeline = Pipeline(settings, self._stores, applier, health_prober, notifier, telemetry, former)
                    await self._run(pipeline)
                    former = pipeline.handover()
        finally:
            telemetry.log.close()

    async def _run(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        try:
            with anyio.CancelScope() as self._scope:
                await pipeline.run()
            if self._scope.cancelled_caught:
                _log.warning("work under the former settings did not end in time", extra={"after_s": DRAIN_S})
        finally:
            self._pipeline = None

    def _applier(self, leadership: Leadership | None) -> KubeApplier:
        writer = f"{FIELD_MANAGER}/{__version__} ({self._identity}; epoch {_epoch(leadership)})"
        return KubeApplier(self._kube, FIELD_MANAGER, user_agent=writer, leadership=leadership)

    def _telemetry(self, leadership: Leadership | None) -> Telemetry:
        share = self._tracing.share
        traces = NoTraces() if share is None else ReconcileTraces(_epoch(leadership), share)
        return Telemetry(self._metrics, self._recorder, traces, ReconcileLog(self._metrics, self._recorder))


def _epoch(leadership: Leadership | None) -> int:
    return leadership.epoch if leadership else 0


def _work(settings: Settings) -> Settings:
    """Return ``settings`` without what no term reads."""
    return msgspec.structs.replace(settings, log=LogSettings(), shutdown=ShutdownSettings())
