"""One simulated process: the real App on a loop of its own, with its own clocks, randomness and wire."""

import asyncio  # noqa: TID251 - the tasks of a process that was killed
import random
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from typing import Final

import anyio

from simulation.backends import Backends
from simulation.clock import ProcessLoop, Scheduler
from simulation.link import Link, Server
from support.api_server import FixedCredentials
from toolset.adapters.kube.credentials.renewal import Loaded, Renewal, ending
from toolset.adapters.kube.credentials.rest_config import RestConfig
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.adapters.traces import Tracing
from toolset.config.loader import load
from toolset.config.options import check
from toolset.config.settings import Settings
from toolset.config.source import Source
from toolset.runtime.current import Current
from toolset.service.app import App
from toolset.service.machine import Machine
from toolset.service.permission_monitor import PermissionMonitor
from toolset.service.reloader import Reloader
from toolset.sim.statuses import Object
from toolset.telemetry.observers import ClientMetrics

EPOCH: Final = datetime(2026, 1, 1, tzinfo=timezone.utc)
RESTART_S: Final = 2.0
"""How long after its exit a process is started again, as the kubelet does it, seconds."""
TOKEN_TAKES_S: Final = 7.0
TOKEN_LIVES_S: Final = 600.0
_graveyard: list[object] = []
"""What was killed; the garbage collector would run its ``finally`` blocks."""


async def _token() -> Loaded[RestConfig]:
    """Return what a plugin gives that takes its time."""
    await anyio.sleep(TOKEN_TAKES_S)
    return ending(RestConfig("http://simulated", None, ()), TOKEN_LIVES_S)


class Replica:
    """One process after the other under one name, as a Deployment keeps them."""

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        server: Server,
        backends: Backends,
        *,
        settings: str,
        seed: int,
        has_slow_tokens: bool,
        target: Callable[[], Object | None],
        note: Callable[[str, str], None],
        on_error: Callable[[str], None],
    ) -> None:
        self.name = name
        self.loop: ProcessLoop | None = None
        self.link: Link | None = None
        self.app: App | None = None
        self.skew_s = 0.0
        self.starts = 0
        self.started_at = 0.0
        self._terminated = False
        self._scheduler = scheduler
        self._server = server
        self._backends = backends
        self._settings = settings
        self._seed = seed
        self._has_slow_tokens = has_slow_tokens
        self._target = target
        self._note = note
        self._on_error = on_error
        self._signal: anyio.Event | None = None
        self.settings: Current[Settings] | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self.loop is not None

    def start(self, *, rate: float = 1.0) -> None:
        """Start a process, if there is none."""
        if self.loop is not None:
            return
        self.starts += 1
        self.started_at = self._scheduler.now
        self._terminated = False
        name = f"{self.name}-{self.starts}"
        self.loop = loop = ProcessLoop(self._scheduler, name, rate=rate)
        loop.on_error = lambda problem: self._on_error(f"{name}: {problem}")
        self.link = link = Link(self._server, loop, name, self._target, self._date, self._note)
        chance = random.Random(f"{self._seed}/{name}")  # noqa: S311 - reproducible, not secret
        machine = Machine(
            hostname=self.name,
            identity=f"{name}_{chance.getrandbits(64):016x}",
            now=self._now,
            boottime=lambda: 5000.0 + self._scheduler.now,
            chance=chance.random,
            unique=lambda: f"{chance.getrandbits(128):032x}",
            prober=lambda _: nullcontext(self._backends),
        )
        self._note("process", f"start {name}")
        self._scheduler.loops.append(loop)
        task = loop.create_task(self._main(machine, link), name=name)
        task.add_done_callback(lambda done: self._ended(loop, done.exception() if not done.cancelled() else None))

    async def _main(self, machine: Machine, link: Link) -> None:
        self._signal = signal = anyio.Event()

        self.settings = settings = Current(load(self._settings, {}, {}))
        check(settings.value)
        metrics = Metrics("simulated")
        monitor = PermissionMonitor(settings, metrics)
        answered = ClientMetrics(metrics, monitor.refused).answered
        credentials = Renewal(_token) if self._has_slow_tokens else FixedCredentials("http://simulated")
        async with KubeTransport(credentials, "simulated", answered, wire=link) as kube:
            self.app = app = App(settings, kube, metrics, Tracing(), monitor, machine=machine)
            signals = [signal]  # a second one never comes

            async def received() -> None:
                await (signals.pop() if signals else anyio.Event()).wait()

            await app.run_until(received, Reloader(Source(), "", settings, metrics, record=app.record_reload))

    def _now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._scheduler.now + self.skew_s)

    def _date(self) -> str:
        return f"{EPOCH + timedelta(seconds=self._scheduler.now):%a, %d %b %Y %H:%M:%S GMT}"

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self.loop is not None and self._signal is not None:
            self._note("process", f"SIGTERM {self.loop.name}")
            self._terminated = True
            self.loop.call_soon(self._signal.set)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.loop is None or self.link is None:
            return
        self._note("process", f"SIGKILL {self.loop.name}")
        _graveyard.append((self.loop, self.app, asyncio.all_tasks(self.loop)))
        self._forget()

    def _ended(self, loop: ProcessLoop, error: BaseException | None) -> None:
        if error is not None:
            self._on_error(f"{loop.name} ended with {error!r}")
        if loop is self.loop:
            self._note("process", f"exit {loop.name}")
            if not self._terminated:
                self._on_error(f"{loop.name} ended although nobody asked it to")
            self._forget()
            self._scheduler.after(RESTART_S, self.start)

    def _forget(self) -> None:
        if self.loop is not None and self.link is not None:
            self.link.is_gone = True
            self._server.cut(self.link, "clean")
            self.loop.kill()
        self.loop = self.link = self.app = self._signal = None

    def ask_health(self) -> list[str]:
        """Return what ``/readyz`` and ``/livez`` answer: nothing when all is well."""
        answers: list[str] = []

        async def ask(app: App) -> None:
            answers.extend([*app.server.not_ready(), *app.server.not_live()])

        if self.app is None or self.loop is None:
            return ["there is no process"]
        self.loop.create_task(ask(self.app))
        self._scheduler.run_until(self._scheduler.now)
        return answers

    def leads_for_s(self) -> float:
        """Return how long this process may still write, by its own clocks; 0 when it may not."""
        elector = self.app._elector if self.app is not None else None
        leadership = elector._leadership if elector is not None else None
        if leadership is None or leadership.lost.is_set() or self.loop is None:
            return 0.0
        left_s = leadership.valid_until - self.loop.time()
        return max(0.0, min(left_s, leadership.awake_until - leadership._boottime()))
