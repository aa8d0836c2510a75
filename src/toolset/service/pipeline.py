"""One term of work: from the moment this replica may write until it may no more.

A leadership begins with nothing but the stores and what stands in the ConfigMap, so a replica that takes over knows
nothing that could be out of date; a term that follows another one under the same leadership goes on where that ended.
"""

import logging
import random
from contextlib import ExitStack
from functools import partial
from typing import Final

import anyio

from toolset.adapters.kube.write.applier import KubeApplier
from toolset.adapters.probe import HttpProber
from toolset.config.options import detection_options, target_key, target_options
from toolset.config.settings import Settings
from toolset.core.health.removal_brake import BrakeOptions
from toolset.core.health.thresholds import Thresholds
from toolset.core.inventory import Inventory
from toolset.core.overrides.baseline import Published, read_back
from toolset.core.publishing.plan import owned_keys
from toolset.core.publishing.publication import in_force
from toolset.model import ConfigMap, Key, Namespace, Service
from toolset.reconciler.ports import EventRecorder
from toolset.reconciler.probe import ProbeOptions, ProbeReconciler
from toolset.reconciler.service import ServiceReconciler
from toolset.reconciler.spans import Attributes
from toolset.reconciler.startup_gate import StartupGate
from toolset.reconciler.target import TargetReconciler
from toolset.runtime.backoff import Backoff, RetryLimiter
from toolset.runtime.controller import Controller, Result
from toolset.runtime.debounce import DebounceOptions, Debouncer
from toolset.runtime.store import Delta
from toolset.runtime.workqueue import WorkQueue
from toolset.service.notifier import Notifier
from toolset.service.state import Handover, Stores
from toolset.telemetry.bundle import Telemetry
from toolset.telemetry.observers import ControllerMetrics, QueueMetrics

SERVICE_DEBOUNCE: Final = DebounceOptions(quiet_s=0.05, max_wait_s=0.5)
TARGET_DEBOUNCE: Final = DebounceOptions(quiet_s=0.1, max_wait_s=1.0)
LAST_WRITE_S: Final = 5.0
WRITE_RETRY_CAP_S: Final = 300.0
"""The longest delay between attempts to write, seconds; the first is that of a failed list (`controller.retry_base`),
because a burst of attempts every few milliseconds helps nobody while an API server is in trouble."""
RESYNC_PRIORITY: Final = -100
"""Work that no event asked for waits behind work that one did (controller-runtime's priority)."""

_log: Final = logging.getLogger("toolset")


class Pipeline:
    """The queues, the passes and what they found; :meth:`run` works until it is drained or cancelled."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        applier: KubeApplier,
        prober: HttpProber,
        notifier: Notifier,
        telemetry: Telemetry,
        former: Handover | None = None,
    ) -> None:
        """Build the parts; the stores of Services and of the ConfigMap must be synced.

        Args:
            settings: The settings.
            stores: What is known of the cluster.
            applier: What writes the ConfigMap, as long as the term lasts.
            prober: What asks backends.
            notifier: What tells readers of the ConfigMap.
            telemetry: By what it tells of itself.
            former: What the term before handed over; ``None`` for the first one of a leadership.
        """
        self._settings = settings
        self._notifier = notifier
        metrics, self._traces = telemetry.metrics, telemetry.traces
        metrics.config_map_limit.set(settings.output.limit_kib * 1024)
        self._services = stores.services
        self._config_maps = stores.config_maps
        self._namespaces = stores.namespaces
        self._metrics = metrics
        self._target = target_key(settings)
        self._log = telemetry.log
        self._former = former
        self._gives_up_probes = False
        self._service_queue = self._queue("service")
        self._probe_queue = self._queue("probe")
        writes = Backoff(base_s=settings.controller.retry_base, cap_s=WRITE_RETRY_CAP_S, spread=0.0)
        self._target_queue = self._queue("target", RetryLimiter(writes))
        self._service_debounce = Debouncer(self._service_queue.add, SERVICE_DEBOUNCE)
        self._target_debounce = Debouncer(self._target_queue.add, TARGET_DEBOUNCE)
        self._ask_for_probe = self._traces.asking("probe", self._probe_queue.add)
        self._ask_to_publish = self._traces.asking("target", self._poke_target)
        first_write = self._traces.asking("target", self._target_queue.add)
        self._gate = StartupGate(on_open=lambda: first_write(self._target))
        health = settings.health
        inventory = Inventory(Thresholds(health.rise, health.fall), BrakeOptions(health.interval, health.hold))
        self._build_controllers(inventory, applier, prober, telemetry.recorder)

    def _queue(self, name: str, limiter: RetryLimiter[Key] | None = None) -> WorkQueue[Key]:
        observer = QueueMetrics(self._metrics, name)
        queue: WorkQueue[Key] = WorkQueue(limiter=limiter, observer=observer)
        observer.watch(queue.in_work_since)
        return queue

    def _build_controllers(
        self, inventory: Inventory, applier: KubeApplier, prober: HttpProber, recorder: EventRecorder
    ) -> None:
        settings, health = self._settings, self._settings.health
        service_pass = ServiceReconciler(
            self._services,
            self._namespaces,
            inventory,
            self._gate,
            self._log,
            detection_options(settings),
            probe=self._ask_for_probe,
            publish=self._publish,
        )
        probe_pass = ProbeReconciler(
            inventory,
            prober,
            self._gate,
            self._log,
            ProbeOptions(health.enabled, health.interval, health.timeout, health.concurrency, health.fall),
            probe=self._ask_for_probe,
            publish=partial(self._ask_to_publish, self._target),
            jitter=random.random,
        )
        target_pass = TargetReconciler(
            inventory,
            self._config_maps,
            applier,
            self._gate,
            self._log,
            recorder,
            target_options(settings),
            self._former.overrides if self._former is not None else None,
        )
        self._service_pass, self._target_pass = service_pass, target_pass
        self._service_controller = Controller(
            self._service_queue,
            self._detect,
            ControllerMetrics(self._metrics, "service"),
            timeout_s=None,
            scope=self._traces.scope("service", self._service_queue, self._about_service),
        )
        self._probe_controller = Controller(
            self._probe_queue,
            probe_pass,
            ControllerMetrics(self._metrics, "probe", health.concurrency),
            workers=health.concurrency,
            timeout_s=2 * health.timeout + 5.0,  # a probe, a wait for its host, and some time to spare
            scope=self._traces.scope("probe", self._probe_queue),
        )
        self._target_controller = Controller(
            self._target_queue,
            target_pass,
            ControllerMetrics(self._metrics, "target"),
            scope=self._traces.scope("target", self._target_queue, self._about_target),
        )

    async def run(self) -> None:
        """Work until :meth:`drain` was called and everything in work is done and published, or until cancelled."""
        with ExitStack() as at_the_end:
            for registration in self._services.subscribe(self._on_service):
                at_the_end.callback(registration.cancel)
            at_the_end.callback(self._namespaces.subscribe(self._on_namespace).cancel)
            at_the_end.callback(self._config_maps.subscribe(self._on_config_map).cancel)
            self._service_debounce.flush()
            self._begin_gate()
            async with anyio.create_task_group() as beside:
                beside.start_soon(self._service_debounce.run)
                beside.start_soon(self._target_debounce.run)
                beside.start_soon(self._open_gate_in_time)
                beside.start_soon(self._resync)
                beside.start_soon(self._notifier.run)
                await self._work()
                beside.cancel_scope.cancel()

    def drain(self, *, give_up_probes: bool = False) -> None:
        """Finish what is in work, publish it, and take no more; probes that are under way may be given up."""
        self._gives_up_probes = give_up_probes
        self._service_debounce.flush()
        self._service_queue.shut_down()  # the other queues follow, see _work

    def handover(self) -> Handover:
        """Return what the next term needs to go on where this one has ended."""
        published = self._target_pass.published
        if published is None and self._former is not None:  # nothing was written, so that it is what it was
            published = self._former.published
        return Handover(self._target_pass.overrides, published)

    async def _work(self) -> None:
        """Run the workers until their queues are drained, each before the one it feeds: detect, probe, publish."""
        async with anyio.create_task_group() as publishing:
            publishing.start_soon(self._target_controller.run)
            async with anyio.create_task_group() as probing:
                probing.start_soon(self._probe_controller.run)
                await self._service_controller.run()
                self._probe_queue.shut_down()
                if self._gives_up_probes:
                    probing.cancel_scope.cancel()
            self._target_debounce.flush()
            self._target_pass.wind_down()
            self._target_queue.add(self._target)
            with anyio.move_on_after(LAST_WRITE_S):  # a last write that fails is tried again, but not for long
                await self._target_queue.wait_idle(within_s=LAST_WRITE_S)
            self._target_queue.shut_down()

    def _begin_gate(self) -> None:
        published = (self._former and self._former.published) or self._read_back()
        services = self._services.snapshot()
        self._log.begin(services, published)
        self._gate.begin(services, published)

    def _read_back(self) -> Published:
        current, options = self._config_maps.get(self._target), target_options(self._settings)
        overrides = (self._former and self._former.overrides) or in_force(current, options.prefix, options.output)
        return read_back(current, owned_keys(current, options.prefix), overrides)

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
            await anyio.sleep(controller.reconcile_interval)
            self._target_queue.add(self._target, priority=RESYNC_PRIORITY)
            passed_s += controller.reconcile_interval
            if passed_s >= controller.resync:
                passed_s = 0.0
                for key in self._services.snapshot():
                    self._service_queue.add(key, priority=RESYNC_PRIORITY)

    async def _detect(self, key: Key) -> Result:
        result = await self._service_pass(key)
        self._log.looked_at(key)
        return result

    def _about_service(self, key: Key) -> Attributes:
        about: dict[str, str | float] = {}
        if (service := self._services.get(key)) is not None:
            about["toolset.resource_version"] = service.version
        if (age_s := self._log.age_s(key)) is not None:
            about["toolset.event.age_s"] = age_s
        return about

    def _about_target(self, key: Key) -> Attributes:
        current = self._config_maps.get(key)
        return {"toolset.resource_version": current.version} if current is not None else {}

    def _on_service(self, delta: Delta[Service]) -> None:
        changed = delta.new or delta.old
        if changed is not None:
            self._look_again_at(changed.key)

    def _on_namespace(self, delta: Delta[Namespace]) -> None:
        """Look again at the Services of a namespace that begins to end, or is gone and may be made anew.

        Both are rare enough to search all Services for them; any other change of a namespace is no news.
        """
        changed = delta.new or delta.old
        if changed is None or _is_ending(delta.old) == _is_ending(delta.new):
            return
        for key in self._services.snapshot():
            if key.namespace == changed.key.name:
                self._look_again_at(key)

    def _look_again_at(self, service: Key) -> None:
        if self._gate.is_open:
            self._log.service_changed(service)
        self._service_debounce.poke(service)

    def _on_config_map(self, _: Delta[ConfigMap]) -> None:
        self._notifier.poke()
        self._publish()

    def _publish(self) -> None:
        if self._gate.is_open:  # a first look at what is nothing, thousands of times, is no news
            self._ask_to_publish(self._target)

    def _poke_target(self, target: Key) -> None:
        if self._gate.is_open:
            self._target_debounce.poke(target)


def _is_ending(namespace: Namespace | None) -> bool:
    return namespace is not None and namespace.is_ending
