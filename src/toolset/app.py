"""The composition root: build every part, start in order, stop in reverse."""

import logging
import os
import random
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import anyio

from toolset import __version__
from toolset.adapters.kube.applier import KubeApplier
from toolset.adapters.kube.source import KubeSource, config_map, services
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.adapters.probe import HttpProber
from toolset.adapters.server import HealthServer
from toolset.adapters.telemetry import set_up_traces
from toolset.core.findings import Findings
from toolset.core.health import Thresholds
from toolset.core.plan import FIELD_MANAGER, owned_keys
from toolset.core.published import published_urls
from toolset.model import ConfigMap, Key, Service
from toolset.observers import PassObserver, QueueMetrics, ReconcileLog, ReflectorLog, handler_failed
from toolset.reconciler.gate import Gate
from toolset.reconciler.ports import NoEventRecorder
from toolset.reconciler.probe import ProbeOptions, ProbeReconciler
from toolset.reconciler.service import ServiceReconciler
from toolset.reconciler.target import TargetOptions, TargetReconciler
from toolset.runtime.backoff import Backoff
from toolset.runtime.controller import Controller
from toolset.runtime.debounce import DebounceOptions, Debouncer
from toolset.runtime.reflector import Reflector, ReflectorOptions
from toolset.runtime.store import Delta, Store
from toolset.runtime.workqueue import WorkQueue
from toolset.settings import Settings
from toolset.verdicts import VerdictLog
from toolset.wiring import detection_options, prober, target_key, transport

SERVICE_DEBOUNCE: Final = DebounceOptions(quiet_s=0.05, max_wait_s=0.5)
TARGET_DEBOUNCE: Final = DebounceOptions(quiet_s=0.1, max_wait_s=1.0)
CONTACT_LOST_S: Final = 180.0
"""Longer than the silence after which a watch is opened anew (120 s) and the longest delay between attempts (60 s)."""
LAST_WRITE_S: Final = 5.0
RESYNC_PRIORITY: Final = -100
"""Work that no event asked for waits behind work that one did (controller-runtime's priority)."""

_log: Final = logging.getLogger("toolset")


class App:
    """Every part of the service, built and connected; :meth:`run` starts and stops them."""

    def __init__(self, settings: Settings, kube: KubeTransport, health_prober: HttpProber) -> None:
        self._settings = settings
        self._target = target_key(settings)
        self._metrics = Metrics(__version__)
        self._verdicts = VerdictLog(self._metrics, NoEventRecorder())
        self._events = ReconcileLog(self._metrics, self._verdicts)
        self._stopping = False
        self._working = False
        self._workers_ended = anyio.Event()
        self._build_stores(kube)
        self._build_queues()
        self._build_controllers(kube, health_prober)
        self.server = HealthServer([self._not_stopping, self._synced, self._in_contact], self._metrics.expose)

    def _build_stores(self, kube: KubeTransport) -> None:
        prefix = self._settings.discovery.annotation_prefix
        retries = Backoff(self._settings.controller.retry_base, self._settings.controller.retry_cap)
        options = ReflectorOptions(backoff=retries)
        self._services: Store[Service] = Store(handler_failed)
        self._config_maps: Store[ConfigMap] = Store(handler_failed)
        self._service_log = ReflectorLog(self._metrics, "services")
        self._config_map_log = ReflectorLog(self._metrics, "configmaps")
        self._reflectors = (
            Reflector(
                KubeSource(kube, services("", prefix), jitter=random.random),
                self._services,
                self._service_log,
                jitter=random.random,
                options=options,
            ),
            Reflector(
                KubeSource(kube, config_map(self._target), jitter=random.random),
                self._config_maps,
                self._config_map_log,
                jitter=random.random,
                options=options,
            ),
        )

    def _build_queues(self) -> None:
        self._service_queue: WorkQueue[Key] = WorkQueue(observer=QueueMetrics(self._metrics, "service"))
        self._probe_queue: WorkQueue[Key] = WorkQueue(observer=QueueMetrics(self._metrics, "probe"))
        self._target_queue: WorkQueue[Key] = WorkQueue(observer=QueueMetrics(self._metrics, "target"))
        self._service_debounce = Debouncer(self._service_queue.add, SERVICE_DEBOUNCE)
        self._target_debounce = Debouncer(self._target_queue.add, TARGET_DEBOUNCE)

    def _build_controllers(self, kube: KubeTransport, health_prober: HttpProber) -> None:
        settings = self._settings
        findings = Findings(Thresholds(settings.health.rise, settings.health.fall))
        self._gate = Gate(on_open=lambda: self._target_queue.add(self._target))
        service_pass = ServiceReconciler(
            self._services,
            findings,
            self._gate,
            self._events,
            detection_options(settings),
            probe=self._probe_queue.add,
            publish=self._publish,
        )
        probe_pass = ProbeReconciler(
            findings,
            health_prober,
            self._gate,
            self._events,
            ProbeOptions(settings.health.enabled, settings.health.interval),
            publish=self._publish,
            jitter=random.random,
        )
        target_pass = TargetReconciler(
            findings,
            self._config_maps,
            KubeApplier(kube, FIELD_MANAGER),
            self._gate,
            self._events,
            TargetOptions(settings.discovery.annotation_prefix, settings.output.grafana_api_key_env),
        )
        self._service_controller = Controller(self._service_queue, service_pass, PassObserver(self._metrics, "service"))
        self._probe_controller = Controller(
            self._probe_queue,
            probe_pass,
            PassObserver(self._metrics, "probe"),
            workers=settings.health.concurrency,
            timeout_s=settings.health.timeout + 5.0,
        )
        self._target_controller = Controller(self._target_queue, target_pass, PassObserver(self._metrics, "target"))

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop in order; a second signal stops at once."""
        shutdown = self._settings.shutdown
        async with self.server.serve(self._settings.server.host, self._settings.server.port):
            _log.info("http server started", extra={"port": self.server.port})
            async with anyio.create_task_group() as group, _signals() as received:
                group.start_soon(self._lead, name="lead")
                await received()
                self._stopping = True
                _log.info("stopping", extra={"delay_s": float(shutdown.delay)})
                group.start_soon(_stop_at_once, received, group.cancel_scope)
                with anyio.move_on_after(shutdown.timeout) as deadline:
                    await anyio.sleep(shutdown.delay)
                    await self._drain()
                if deadline.cancelled_caught:
                    _log.warning("stopped before everything was drained", extra={"after_s": float(shutdown.timeout)})
                group.cancel_scope.cancel()
        _log.info("stopped")

    async def _lead(self) -> None:
        """Follow the cluster, and work once both lists are complete."""
        self._services.subscribe(self._on_service)
        self._config_maps.subscribe(self._on_config_map)
        async with anyio.create_task_group() as group:
            for reflector in self._reflectors:
                group.start_soon(reflector.run)
            await self._services.wait_synced()
            await self._config_maps.wait_synced()
            self._service_debounce.flush()
            self._begin_gate()
            group.start_soon(self._service_debounce.run)
            group.start_soon(self._target_debounce.run)
            group.start_soon(self._open_gate_in_time)
            group.start_soon(self._resync)
            self._working = True
            group.start_soon(self._work)

    async def _work(self) -> None:
        """Run the workers until their queues are drained, each before the one it feeds: detect, probe, publish."""
        async with anyio.create_task_group() as publishing:
            publishing.start_soon(self._target_controller.run)
            async with anyio.create_task_group() as probing:
                probing.start_soon(self._probe_controller.run)
                await self._service_controller.run()
                self._probe_queue.shut_down()
            self._target_debounce.flush()
            with anyio.move_on_after(LAST_WRITE_S):  # a last write that fails is tried again, but not for long
                await self._target_queue.wait_idle()
            self._target_queue.shut_down()
        self._workers_ended.set()

    async def _drain(self) -> None:
        """Finish what is in work, publish it, and take no more."""
        self._service_debounce.flush()
        self._service_queue.shut_down()  # the other queues follow, see _work
        if self._working:
            await self._workers_ended.wait()

    def _begin_gate(self) -> None:
        current = self._config_maps.get(self._target)
        owned = owned_keys(current, self._settings.discovery.annotation_prefix)
        published = published_urls(current, owned)
        self._verdicts.resume(published)
        self._gate.begin(self._services.snapshot(), published)

    async def _open_gate_in_time(self) -> None:
        with anyio.move_on_after(self._settings.health.timeout):
            await self._gate.wait_opened()
        if not self._gate.is_open:
            _log.info("first write no longer waits for slow backends")
            self._gate.stop_waiting_for_probes()

    async def _resync(self) -> None:
        """Queue everything again from time to time, from the stores: a safety net, no request."""
        controller = self._settings.controller
        passed_s = 0.0
        while True:
            await anyio.sleep(controller.reconcile)
            self._target_queue.add(self._target, priority=RESYNC_PRIORITY)
            passed_s += controller.reconcile
            if passed_s >= controller.resync:
                passed_s = 0.0
                for key in self._services.snapshot():
                    self._service_queue.add(key, priority=RESYNC_PRIORITY)

    def _on_service(self, delta: Delta[Service]) -> None:
        changed = delta.new or delta.old
        if changed is not None:
            self._service_debounce.poke(changed.key)

    def _on_config_map(self, _: Delta[ConfigMap]) -> None:
        self._publish()

    def _publish(self) -> None:
        if self._gate.is_open:
            self._target_debounce.poke(self._target)

    def _not_stopping(self) -> str:
        return "stopping" if self._stopping else ""

    def _synced(self) -> str:
        waiting = [
            f"{log.resource}: {log.problem or 'not listed yet'}"
            for store, log in ((self._services, self._service_log), (self._config_maps, self._config_map_log))
            if not store.is_synced
        ]
        return "; ".join(waiting)

    def _in_contact(self) -> str:
        silent_s = anyio.current_time() - min(reflector.heard_at for reflector in self._reflectors)
        if self._synced() or silent_s < CONTACT_LOST_S:
            return ""
        return f"no answer from the API server for {silent_s:.0f} s"


async def serve(settings: Settings) -> None:
    """Build the service and run it until a signal ends it.

    Raises:
        SettingsError: There are no credentials, or the port cannot be listened on.
    """
    environment = dict(os.environ)
    flush_traces = set_up_traces(environment, __version__, socket.gethostname())
    try:
        async with AsyncExitStack() as stack:
            kube = transport(settings, environment)
            await kube.check_credentials()
            await stack.enter_async_context(kube)
            health_prober = await stack.enter_async_context(prober(settings))
            await App(settings, kube, health_prober).run()
    finally:
        flush_traces()


@asynccontextmanager
async def _signals() -> AsyncGenerator[Callable[[], Awaitable[object]]]:
    """Give a function that returns when the next SIGTERM or SIGINT has come."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        iterator = aiter(signals)
        yield lambda: anext(iterator)


async def _stop_at_once(received: Callable[[], Awaitable[object]], scope: anyio.CancelScope) -> None:
    await received()
    _log.warning("stopping at once: a second signal came")
    scope.cancel()
