"""The composition root: build every part, start in order, stop in reverse."""

import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

import anyio

from toolset.adapters.http.health import HealthServer
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.write.events import EventOptions, KubeEvents
from toolset.adapters.kube.write.leases import KubeLeases, lease
from toolset.adapters.metrics import Metrics
from toolset.adapters.traces import Tracing
from toolset.config.options import (
    elector_options,
    lease_key,
    required_keys,
    shares,
    target_key,
    target_options,
)
from toolset.config.settings import Settings
from toolset.core.publishing.plan import FIELD_MANAGER
from toolset.core.status.problems import Condition, MissingPermission
from toolset.core.status.snapshot import Role
from toolset.model import Lease
from toolset.runtime.current import Current
from toolset.runtime.election import Leadership
from toolset.runtime.elector import Elector
from toolset.runtime.lease_guard import LeaseGuard
from toolset.runtime.store import Delta
from toolset.service.informers import Informers
from toolset.service.machine import Machine
from toolset.service.permission_monitor import PermissionMonitor
from toolset.service.reloader import Reloader
from toolset.service.state import Stores
from toolset.service.status_service import serving
from toolset.service.status_view import Identity, StatusView
from toolset.service.supervisor import Supervisor
from toolset.telemetry.local_resources import LocalResources
from toolset.telemetry.observers import ElectionLog, EventMetrics, LeaseGuardLog
from toolset.telemetry.required_tools import RequiredToolsMonitor

FLUSH_EVENTS_S: Final = 1.0

_log: Final = logging.getLogger("toolset")


class App:
    """Every part of the service, built and connected; :meth:`run` starts and stops them."""

    def __init__(
        self,
        settings: Current[Settings],
        kube: KubeTransport,
        metrics: Metrics,
        tracing: Tracing,
        permission_monitor: PermissionMonitor,
        *,
        cluster: str = "",
        settings_file: str = "",
        machine: Machine | None = None,
    ) -> None:
        self._machine = machine = machine or Machine()
        self._settings = settings
        self._kube = kube
        self._identity = machine.identity
        self._metrics = metrics
        self._tracing = tracing
        self._permission_monitor = permission_monitor
        self._informers = Informers(settings.value, kube, self._metrics, chance=machine.chance)
        self._target = target_key(settings.value)
        self._recorder = KubeEvents(
            kube,
            self._target,
            FIELD_MANAGER,
            machine.hostname,
            machine.now,
            target_uid=self._target_uid,
            observer=EventMetrics(self._metrics),
            options=EventOptions(account=self._account, unique=machine.unique),
        )
        informers = self._informers
        stores = Stores(
            informers.services,
            informers.config_maps,
            informers.namespaces,
            informers.overrides,
            informers.relist_config_map,
        )
        self._resources = resources = LocalResources(metrics)
        self._supervisor = Supervisor(settings, kube, stores, machine, metrics, self._recorder, tracing, resources)
        named = Identity(self._identity, cluster, settings_file)
        self._required = RequiredToolsMonitor(
            lambda: required_keys(settings.value),
            lambda: self._supervisor.is_working,
            self._supervisor.history,
            self._recorder,
            now=machine.now,
        )
        self._status = StatusView(
            named, settings, stores, self._supervisor, self._condition, self._required, now=machine.now
        )
        metrics.follow_tools(self._status.tool_series, self._required.published)
        self._reloader: Reloader | None = None
        self._elector = self._make_elector(settings.value) if settings.value.election.enabled else None
        lease_name = lease_key(settings.value)
        self._guard_log = LeaseGuardLog(metrics, lease_name.name)
        leases = KubeLeases(kube, lease_name)
        self._guard = LeaseGuard(leases, self._guard_log, options=elector_options(settings.value), now=machine.now)
        self._stopping = anyio.Event()
        readiness = [self._not_stopping, self._unsynced, self._kept_back, self._informers.out_of_contact]
        readiness += [self._supervisor.problem, resources.problem]
        is_elsewhere = settings.value.status.enabled and settings.value.status.metrics
        self.server = HealthServer([self._stuck], readiness, None if is_elsewhere else self._metrics.expose)

    def _make_elector(self, settings: Settings) -> Elector:
        key = lease_key(settings)
        elector = Elector(
            KubeLeases(self._kube, key),
            self._identity,
            jitter=self._machine.chance,
            options=elector_options(settings),
            observer=ElectionLog(self._metrics, key.name),
            now=self._machine.now,
            boottime=self._machine.boottime,
        )

        def observe(delta: Delta[Lease]) -> None:
            elector.observe(delta.new)

        self._informers.add(lease(key), "leases", observe)
        return elector

    def record_reload(self, kind: Literal["Normal", "Warning"], reason: str, note: str) -> None:
        """Record a Kubernetes Event about a reload; a standby leaves that to the leader."""
        if self._supervisor.is_working:
            self._recorder.record(kind, reason, note, action="Reload")

    async def run(self, reloader: Reloader) -> None:
        """Run until SIGTERM or SIGINT, then stop in order; a second signal stops immediately."""
        server = self._settings.value.server
        async with self.server.serve(server.host, server.port), _signals() as received:
            _log.info("http server started", extra={"port": self.server.port})
            async with serving(self._settings.value, self._status, self._kube, self._metrics.expose):
                await self.run_until(received, reloader)
        _log.info("stopped")

    async def run_until(self, received: Callable[[], Awaitable[object]], reloader: Reloader) -> None:
        """Run every part except the HTTP servers until a signal arrives, then stop in order.

        Args:
            received: Returns when the next signal arrives.
            reloader: Follows the settings file.
        """
        self._reloader = reloader
        in_time = True
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._informers.run, name="informers")
                group.start_soon(self._recorder.run, name="events")
                group.start_soon(
                    self._permission_monitor.run, self._kube, self._informers.wait_synced, name="permissions"
                )
                group.start_soon(reloader.run, name="reloader")
                group.start_soon(self._status.run, name="status")
                group.start_soon(self._required.run, name="required tools")
                group.start_soon(self._work, name="work")
                await received()
                in_time = await _finishes(self._stop, received)
                group.cancel_scope.cancel()
        finally:
            if in_time:
                await _finishes(self._tracing.stop, received)

    async def _stop(self) -> None:
        """Stop in order, within the time limit: not ready, endpoints, work, Lease, Events."""
        shutdown = self._settings.value.shutdown
        self._stopping.set()
        _log.info("stopping", extra={"delay_s": float(shutdown.delay)})
        with anyio.move_on_after(shutdown.timeout) as deadline:
            async with anyio.create_task_group() as group:
                if self._elector is not None:
                    group.start_soon(self._elector.stand_down)
                await anyio.sleep(shutdown.delay)
                await self._supervisor.drain()
            await self._recorder.flush(FLUSH_EVENTS_S)
        if deadline.cancelled_caught:
            _log.warning("stopped before everything was drained", extra={"after_s": float(shutdown.timeout)})

    async def _work(self) -> None:
        """Work whenever this replica leads; without an election, while no other process does."""
        if not await self._before_stop(self._informers.wait_synced):
            return
        if self._elector is None:
            await self._guard.run(self._unelected)
        else:
            await self._elector.run(self._lead)

    async def _lead(self, leadership: Leadership) -> None:
        """Work under ``leadership``, with stores that contain everything written before it began.

        A watch may have been silent while this replica was a standby. The changes it missed may already be published,
        and must not be undone.
        """
        if not leadership.stood_by or await self._before_stop(self._informers.refresh):
            await self._supervisor.serve(leadership)

    async def _unelected(self) -> None:
        """Work without an election; as in :meth:`_lead`, nothing that was published meanwhile may be undone."""
        if not self._guard.has_waited or await self._before_stop(self._informers.refresh):
            with self._guard_log.working():
                await self._supervisor.serve(None)

    async def _before_stop(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do ``work``; return whether it completed before the service began to stop, which cancels it."""
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_after, self._stopping, group.cancel_scope)
            await work()
            group.cancel_scope.cancel()
        return not self._stopping.is_set()

    def _target_uid(self) -> str:
        current = self._informers.config_maps.get(self._target)
        return current.uid if current is not None else ""

    def _account(self, namespace: str) -> str:
        return shares(self._settings.value, self._informers.namespaces).account(namespace)

    def _not_stopping(self) -> str:
        return "stopping" if self._stopping.is_set() else ""

    def _kept_back(self) -> str:
        if not self._guard.is_waiting:
            return ""
        key = lease_key(self._settings.value)
        if not self._guard.holder:
            return f"Lease {key}, in which another leader would stand, is not read yet"
        return (
            f"{self._guard.holder} holds Lease {key}, and this process writes nothing, because `election.enabled` is "
            "off: turn it on, or stop the other process"
        )

    def _unsynced(self) -> str:
        problem = self._informers.unsynced()
        return "; ".join(filter(None, (problem, problem and self._permission_monitor.unreadable())))

    def _condition(self) -> Condition:
        """Return the state of the parts of the process, for the status."""
        settings, reloader = self._settings.value, self._reloader
        unsynced = self._informers.unsynced()
        return Condition(
            role=self._role(unsynced),
            target=self._target,
            overrides=target_options(settings).separate,
            leader=self._leader(),
            unsynced=unsynced,
            out_of_contact=self._informers.out_of_contact(),
            waits_for=self._kept_back(),
            writer_conflict=self._supervisor.problem(),
            exhausted=self._resources.problem(),
            settings_error=reloader.problem if reloader is not None else "",
            restart_needed=reloader.waiting if reloader is not None else (),
            missing=tuple(
                MissingPermission(each.sentence, each.loss, each.remedy) for each in self._permission_monitor.missing
            ),
            probing=settings.health.enabled,
        )

    def _role(self, unsynced: str) -> Role:
        if self._stopping.is_set():
            return "stopping"
        if self._supervisor.is_working:
            return "leader"
        return "starting" if unsynced else "standby"

    def _leader(self) -> str:
        if self._supervisor.is_working:
            return self._identity
        return self._elector.leader if self._elector is not None else self._guard.holder

    def _stuck(self) -> str:
        if self._elector is not None and not self._elector.healthy():
            return "the work of a lost leadership does not end"
        return self._informers.stuck()


async def _cancel_after(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


@asynccontextmanager
async def _signals() -> AsyncGenerator[Callable[[], Awaitable[object]]]:
    """Yield a function that returns when the next SIGTERM or SIGINT arrives."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        iterator = aiter(signals)
        yield lambda: anext(iterator)


async def _finishes(work: Callable[[], Awaitable[None]], received: Callable[[], Awaitable[object]]) -> bool:
    """Do ``work`` until it is done or a signal arrives; return whether it is done."""
    done = False

    async def give_up() -> None:
        await received()
        _log.warning("stopping at once: a second signal came")
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(give_up)
        await work()
        done = True
        group.cancel_scope.cancel()
    return done
