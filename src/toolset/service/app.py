"""The composition root: build every part, start in order, stop in reverse."""

import logging
import os
import random
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from functools import partial
from typing import Final, Literal

import anyio

from toolset import __version__
from toolset.adapters.http.health import HealthServer
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.write.events import KubeEvents
from toolset.adapters.kube.write.leases import KubeLeases, lease
from toolset.adapters.logs import set_up_logs
from toolset.adapters.metrics import Metrics
from toolset.adapters.traces import Tracing, set_up_traces
from toolset.config.loader import Source
from toolset.config.options import check, doubts, elector_options, identity, lease_key, named, target_key, transport
from toolset.config.settings import Settings
from toolset.core.publishing.plan import FIELD_MANAGER
from toolset.model import Lease
from toolset.runtime.election import Leadership
from toolset.runtime.elector import Elector
from toolset.runtime.store import Delta
from toolset.service.informers import Informers
from toolset.service.permission_monitor import PermissionMonitor
from toolset.service.reloader import Reloader
from toolset.service.state import Stores
from toolset.service.supervisor import Supervisor
from toolset.telemetry.observers import ClientMetrics, ElectionLog, EventMetrics

FLUSH_EVENTS_S: Final = 1.0

_log: Final = logging.getLogger("toolset")


class App:
    """Every part of the service, built and connected; :meth:`run` starts and stops them."""

    def __init__(
        self,
        settings: Settings,
        kube: KubeTransport,
        metrics: Metrics,
        tracing: Tracing,
        permission_monitor: PermissionMonitor,
    ) -> None:
        self._settings = settings
        self._kube = kube
        self._identity = identity(socket.gethostname())
        self._metrics = metrics
        self._tracing = tracing
        self._permission_monitor = permission_monitor
        self._informers = Informers(settings, kube, self._metrics)
        self._recorder = KubeEvents(
            kube,
            target_key(settings),
            FIELD_MANAGER,
            socket.gethostname(),
            partial(datetime.now, timezone.utc),
            target_uid=self._target_uid,
            observer=EventMetrics(self._metrics),
        )
        stores = Stores(self._informers.services, self._informers.config_maps, self._informers.namespaces)
        self._supervisor = Supervisor(settings, kube, stores, self._identity, metrics, self._recorder, tracing)
        self._elector = self._make_elector() if settings.election.enabled else None
        self._stopping = False
        self._leading = anyio.CancelScope()
        self._led = anyio.Event()
        readiness = [self._not_stopping, self._unsynced, self._informers.out_of_contact]
        self.server = HealthServer([self._stuck], readiness, self._metrics.expose)

    def _make_elector(self) -> Elector:
        settings = self._settings
        key = lease_key(settings)
        elector = Elector(
            KubeLeases(self._kube, key),
            self._identity,
            jitter=random.random,
            options=elector_options(settings),
            observer=ElectionLog(self._metrics, key.name),
        )

        def observe(delta: Delta[Lease]) -> None:
            elector.observe(delta.new)

        self._informers.add(lease(key), "leases", observe)
        return elector

    def tell(self, kind: Literal["Normal", "Warning"], reason: str, note: str) -> None:
        """Tell people of a reload by a Kubernetes Event; a standby leaves that to the leader."""
        if self._supervisor.is_working:
            self._recorder.record(kind, reason, note, action="Reload")

    def adopt(self, settings: Settings) -> None:
        """Put ``settings`` in force; those that need a restart must be as they were."""
        before, self._settings = self._settings, settings
        if settings.log != before.log:
            set_up_logs(settings.log.level, settings.log.format)
        _log_doubts(settings)
        self._permission_monitor.adopt(settings)
        self._supervisor.adopt(settings)

    async def run(self, reloader: Reloader) -> None:
        """Run until SIGTERM or SIGINT, then stop in order; a second signal stops at once."""
        server = self._settings.server
        async with self.server.serve(server.host, server.port), _signals() as received:
            _log.info("starting", extra={"service.version": __version__})
            _log.info("http server started", extra={"port": self.server.port})
            in_time = True
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._informers.run, name="informers")
                    group.start_soon(self._recorder.run, name="events")
                    group.start_soon(
                        self._permission_monitor.run, self._kube, self._informers.wait_synced, name="preflight"
                    )
                    group.start_soon(reloader.run, name="reloader")
                    group.start_soon(self._lead, name="lead")
                    await received()
                    in_time = await _finishes(self._stop, received)
                    group.cancel_scope.cancel()
            finally:
                if in_time:
                    await _finishes(self._tracing.stop, received)
        _log.info("stopped")

    async def _stop(self) -> None:
        """Stop in order, within the time that there is."""
        shutdown = self._settings.shutdown
        self._stopping = True
        if not self._supervisor.is_working:  # a standby must not take over what it would have to give back at once
            self._leading.cancel()
        _log.info("stopping", extra={"delay_s": float(shutdown.delay)})
        with anyio.move_on_after(shutdown.timeout) as deadline:
            await anyio.sleep(shutdown.delay)
            await self._drain()
            await self._recorder.flush(FLUSH_EVENTS_S)
        if deadline.cancelled_caught:
            _log.warning("stopped before everything was drained", extra={"after_s": float(shutdown.timeout)})

    async def _lead(self) -> None:
        """Work whenever this replica leads: always when there is no election."""
        with self._leading:
            await self._informers.wait_synced()
            if self._elector is None:
                await self._supervisor.serve(None)
            else:
                await self._elector.run(self._serve)
        self._led.set()

    async def _serve(self, leadership: Leadership) -> None:
        try:
            if leadership.stood_by:  # what its watches have missed may be published: its write must not undo it
                await self._informers.refresh()
            await self._supervisor.serve(leadership)
        finally:
            if self._stopping:  # also when the Lease was lost: who stops does not stand by for it
                self._leading.cancel()

    async def _drain(self) -> None:
        """Finish what is in work, publish it, give the Lease back, and take no more."""
        if not self._supervisor.drain():
            self._leading.cancel()
        await self._led.wait()

    def _target_uid(self) -> str:
        current = self._informers.config_maps.get(target_key(self._settings))
        return current.uid if current is not None else ""

    def _not_stopping(self) -> str:
        return "stopping" if self._stopping else ""

    def _unsynced(self) -> str:
        problem = self._informers.unsynced()
        return "; ".join(filter(None, (problem, problem and self._permission_monitor.unreadable())))

    def _stuck(self) -> str:
        if self._elector is not None and not self._elector.healthy():
            return "the work of a lost leadership does not end"
        return self._informers.stuck()


def _log_doubts(settings: Settings) -> None:
    for doubt in doubts(settings):
        _log.warning("setting in doubt", extra={"problem": doubt})


async def serve(source: Source) -> None:
    """Build the service and run it until a signal ends it.

    Args:
        source: Where the settings come from; followed while the service runs.

    Raises:
        SettingsError: The settings are not valid, there are no credentials, or the port cannot be listened on.
    """
    environment = dict(os.environ)
    text = source.read()
    settings = named(source.parse(text), environment)
    set_up_logs(settings.log.level, settings.log.format)
    check(settings)
    _log_doubts(settings)
    tracing = set_up_traces(environment, __version__, socket.gethostname())
    metrics = Metrics(__version__)
    permission_monitor = PermissionMonitor(settings, metrics)
    async with transport(settings, environment, ClientMetrics(metrics, permission_monitor.refused).answered) as kube:
        await kube.check_credentials()
        app = App(settings, kube, metrics, tracing, permission_monitor)
        reloader = Reloader(source, text, settings, metrics, adopt=app.adopt, tell=app.tell)
        await app.run(reloader)


@asynccontextmanager
async def _signals() -> AsyncGenerator[Callable[[], Awaitable[object]]]:
    """Give a function that returns when the next SIGTERM or SIGINT has come."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        iterator = aiter(signals)
        yield lambda: anext(iterator)


async def _finishes(work: Callable[[], Awaitable[None]], received: Callable[[], Awaitable[object]]) -> bool:
    """Do ``work`` until it is done or a signal has come; return whether it is done."""
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
