"""The composition root: build every part, start in order, stop in reverse."""

import logging
import os
import random
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timezone
from functools import partial
from typing import Final

import anyio

from toolset import __version__
from toolset.adapters.kube.applier import KubeApplier
from toolset.adapters.kube.events import KubeEvents
from toolset.adapters.kube.leases import KubeLeases, lease
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.adapters.probe import HttpProber
from toolset.adapters.server import HealthServer
from toolset.adapters.traces import Tracing, set_up_traces
from toolset.core.plan import FIELD_MANAGER
from toolset.informers import Informers
from toolset.model import Lease
from toolset.notifier import Notifier
from toolset.observers import ClientMetrics, ElectionLog, EventMetrics
from toolset.runtime.election import Leadership
from toolset.runtime.elector import Elector
from toolset.runtime.store import Delta
from toolset.settings import Settings
from toolset.telemetry import Telemetry
from toolset.term import Term
from toolset.tracing import NoTraces, PassTraces
from toolset.wiring import elector_options, identity, lease_key, named, prober, target_key, transport

FLUSH_EVENTS_S: Final = 1.0

_log: Final = logging.getLogger("toolset")


class App:
    """Every part of the service, built and connected; :meth:`run` starts and stops them."""

    def __init__(
        self,
        settings: Settings,
        kube: KubeTransport,
        health_prober: HttpProber,
        metrics: Metrics,
        tracing: Tracing,
    ) -> None:
        self._settings = settings
        self._tracing = tracing
        self._kube = kube
        self._prober = health_prober
        self._identity = identity(socket.gethostname())
        self._metrics = metrics
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
        self._elector = self._make_elector() if settings.election.enabled else None
        self._stopping = False
        self._term: Term | None = None
        self._leading = anyio.CancelScope()
        self._led = anyio.Event()
        readiness = [self._not_stopping, self._informers.unsynced, self._informers.out_of_contact]
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

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop in order; a second signal stops at once."""
        shutdown = self._settings.shutdown
        async with self.server.serve(self._settings.server.host, self._settings.server.port):
            _log.info("http server started", extra={"port": self.server.port})
            async with anyio.create_task_group() as group, _signals() as received:
                group.start_soon(self._informers.run, name="informers")
                group.start_soon(self._recorder.run, name="events")
                group.start_soon(self._lead, name="lead")
                await received()
                self._stopping = True
                _log.info("stopping", extra={"delay_s": float(shutdown.delay)})
                group.start_soon(_stop_at_once, received, group.cancel_scope)
                with anyio.move_on_after(shutdown.timeout) as deadline:
                    await anyio.sleep(shutdown.delay)
                    await self._drain()
                    await self._recorder.flush(FLUSH_EVENTS_S)
                if deadline.cancelled_caught:
                    _log.warning("stopped before everything was drained", extra={"after_s": float(shutdown.timeout)})
                group.cancel_scope.cancel()
        _log.info("stopped")

    async def _lead(self) -> None:
        """Work whenever this replica leads: always when there is no election."""
        with self._leading:
            await self._informers.wait_synced()
            if self._elector is None:
                await self._serve_term(None)
            else:
                await self._elector.run(self._serve_term)
        self._led.set()

    async def _serve_term(self, leadership: Leadership | None) -> None:
        if self._stopping:
            return
        if (
            leadership and leadership.stood_by
        ):  # what its watches have missed may be published: its write must not undo it
            await self._informers.refresh()
        epoch = leadership.epoch if leadership else 0
        writer = f"{FIELD_MANAGER}/{__version__} ({self._identity}; epoch {epoch})"
        traces = NoTraces() if self._tracing.share is None else PassTraces(epoch, self._tracing.share)
        telemetry = Telemetry(self._metrics, self._recorder, traces)
        self._term = Term(
            self._settings,
            self._informers.services,
            self._informers.config_maps,
            KubeApplier(self._kube, FIELD_MANAGER, user_agent=writer, leadership=leadership),
            self._prober,
            Notifier(self._settings, self._kube, self._informers.config_maps, telemetry),
            telemetry,
        )
        try:
            await self._term.run()
        finally:
            self._term = None

    async def _drain(self) -> None:
        """Finish what is in work, publish it, give the Lease back, and take no more."""
        if self._term is not None:
            self._term.drain()
        else:
            self._leading.cancel()
        await self._led.wait()

    def _target_uid(self) -> str:
        current = self._informers.config_maps.get(target_key(self._settings))
        return current.uid if current is not None else ""

    def _not_stopping(self) -> str:
        return "stopping" if self._stopping else ""

    def _stuck(self) -> str:
        if self._elector is not None and not self._elector.healthy():
            return "the work of a lost leadership does not end"
        return self._informers.stuck()


async def serve(settings: Settings) -> None:
    """Build the service and run it until a signal ends it.

    Raises:
        SettingsError: There are no credentials, the port cannot be listened on, or the times of the election do not
            fit together.
    """
    environment = dict(os.environ)
    tracing = set_up_traces(environment, __version__, socket.gethostname())
    try:
        async with AsyncExitStack() as stack:
            metrics = Metrics(__version__)
            kube = transport(settings, environment, ClientMetrics(metrics).answered)
            await kube.check_credentials()
            await stack.enter_async_context(kube)
            health_prober = await stack.enter_async_context(prober(settings))
            await App(named(settings, environment), kube, health_prober, metrics, tracing).run()
    finally:
        tracing.stop()


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
