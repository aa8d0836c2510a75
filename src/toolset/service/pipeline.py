"""One pipeline run: while this replica may write, with one version of the settings."""

import logging
from typing import Final

import anyio

from toolset.adapters.kube.write.applier import KubeApplier
from toolset.config.options import detection_options, shares, static_tools, target_options
from toolset.config.settings import Settings
from toolset.core.inventory import Inventory
from toolset.model import Key
from toolset.reconciler.ports import Prober
from toolset.reconciler.probe import ProbeReconciler
from toolset.reconciler.service import ServiceReconciler
from toolset.reconciler.spans import Attributes
from toolset.reconciler.target import TargetReconciler
from toolset.runtime.controller import Controller
from toolset.service.machine import Machine
from toolset.service.notifier import Notifier
from toolset.service.queues import RESYNC_PRIORITY, Queues
from toolset.service.state import Handover, Stores, TargetStores, approved_at
from toolset.telemetry.bundle import Telemetry
from toolset.telemetry.observers import ControllerMetrics

LAST_WRITE_S: Final = 5.0
LAST_PROBES_S: Final = 1.0
"""How long probes may still take at the end, seconds. The next leader probes everything, and thousands of hanging
backends must not delay it."""

_log: Final = logging.getLogger("toolset")


class Pipeline:
    """The queues, the reconcilers and the inventory; :meth:`run` works until it is drained or cancelled."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        applier: KubeApplier,
        prober: Prober,
        notifier: Notifier,
        telemetry: Telemetry,
        start: Handover,
        machine: Machine,
    ) -> None:
        """Build the parts; the stores of Services and of the ConfigMap must be synced.

        Args:
            settings: The settings.
            stores: The stored cluster state.
            applier: Writes the ConfigMap, while the leadership is valid.
            prober: Probes backends.
            notifier: Notifies readers of the ConfigMap.
            telemetry: Logs, metrics, traces and Events.
            start: The end state of the previous pipeline, or the content of the ConfigMap.
            machine: Clocks and random numbers.
        """
        telemetry.metrics.config_map_limit.set(settings.output.limit_kib * 1024)
        self._settings = settings
        self._chance = machine.chance
        self._stores = stores
        self._notifier = notifier
        self._telemetry = telemetry
        self._log = telemetry.log
        self._published = start.published
        self._gives_up_probes = False
        divided = shares(settings, stores.namespaces)
        self._queues = Queues(
            settings, stores, notifier.config_map_changed, telemetry.metrics, telemetry.log, divided, machine.clock
        )
        self.inventory = inventory = Inventory(settings.health, approved_at(start, settings, stores), divided)
        self._services = self._service_controller(inventory)
        self._probes = self._probe_controller(inventory, prober)
        self._target_reconciler = TargetReconciler(
            inventory,
            TargetStores(stores),
            applier,
            self._queues,
            telemetry.log,
            target_options(settings),
            start.in_force,
            start.published,
        )
        self._target = Controller(
            self._queues.target,
            self._target_reconciler,
            ControllerMetrics(telemetry.metrics, "target"),
            scope=telemetry.traces.scope("target", self._queues.target, self._describe_target, always=True),
        )

    def _service_controller(self, inventory: Inventory) -> Controller[Key]:
        stores, queues, telemetry = self._stores, self._queues, self._telemetry
        options, static = detection_options(self._settings), static_tools(self._settings)
        return Controller(
            queues.service,
            ServiceReconciler(
                stores.services, stores.namespaces, inventory, queues.gate, queues, self._log, options, static
            ),
            ControllerMetrics(telemetry.metrics, "service"),
            timeout_s=None,
            scope=telemetry.traces.scope("service", queues.service, self._describe_service),
        )

    def _probe_controller(self, inventory: Inventory, prober: Prober) -> Controller[Key]:
        queues, telemetry, health = self._queues, self._telemetry, self._settings.health
        return Controller(
            queues.probes,
            ProbeReconciler(inventory, prober, queues.gate, queues, self._log, health, jitter=self._chance),
            ControllerMetrics(telemetry.metrics, "probe", health.concurrency),
            workers=health.concurrency,
            timeout_s=2 * health.timeout + 5.0,  # a probe, a wait for its host, and some time to spare
            scope=telemetry.traces.scope("probe", queues.probes),
        )

    async def run(self) -> None:
        """Work until :meth:`drain` was called and all work is done and published, or until cancelled."""
        services = self._queues.services()
        with self._queues.following():
            self._log.begin(services, self._published)
            self._queues.gate.begin(services, self._published)
            async with anyio.create_task_group() as background:
                background.start_soon(self._open_gate_in_time)
                background.start_soon(self._resync)
                background.start_soon(self._notifier.run)
                await self._work()
                background.cancel_scope.cancel()

    def drain(self, *, give_up_probes: bool = False) -> None:
        """Finish and publish the current work, and accept no more; running probes may be abandoned."""
        self._gives_up_probes = give_up_probes
        self._queues.service.shut_down()  # the other queues follow, see _work

    def handover(self) -> Handover:
        """Return the start state of the next pipeline."""
        return Handover(self._target_reconciler.in_force, self._target_reconciler.published)

    async def _work(self) -> None:
        """Run the workers until their queues are drained, each before the one that it feeds: detect, probe, publish."""
        queues = self._queues
        async with anyio.create_task_group() as publishing:
            publishing.start_soon(self._target.run)
            async with anyio.create_task_group() as probing:
                probing.start_soon(self._probes.run)
                await self._services.run()
                queues.probes.shut_down()
                probing.cancel_scope.deadline = anyio.current_time() + LAST_PROBES_S
                if self._gives_up_probes:
                    probing.cancel_scope.cancel()
            self._target_reconciler.wind_down()
            queues.publish_last()
            with anyio.move_on_after(LAST_WRITE_S):  # a failed last write is retried, but only briefly
                await queues.target.wait_idle(within_s=LAST_WRITE_S)
            queues.target.shut_down()

    async def _open_gate_in_time(self) -> None:
        gate = self._queues.gate
        with anyio.move_on_after(self._settings.health.timeout):
            await gate.wait_opened()
        if not gate.is_open:
            _log.info("first write no longer waits for slow backends")
            gate.stop_waiting_for_probes()

    async def _resync(self) -> None:
        """Requeue everything periodically, from the stores: a safety net, without requests."""
        controller = self._settings.controller
        passed_s = 0.0
        while True:
            await anyio.sleep(controller.reconcile_interval)
            self._queues.publish(priority=RESYNC_PRIORITY)
            passed_s += controller.reconcile_interval
            if passed_s >= controller.resync:
                passed_s = 0.0
                self._queues.resync()

    def _describe_service(self, key: Key) -> Attributes:
        attributes: dict[str, str | float] = {}
        if (service := self._stores.services.get(key)) is not None:
            attributes["toolset.resource_version"] = service.version
        if (age_s := self._log.age_s(key)) is not None:
            attributes["toolset.event.age_s"] = age_s
        return attributes

    def _describe_target(self, key: Key) -> Attributes:
        current = self._stores.config_maps.get(key)
        return {"toolset.resource_version": current.version} if current is not None else {}
