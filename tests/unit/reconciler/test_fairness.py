"""Services of one namespace that hang delay no tool of another."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from operator import attrgetter

import anyio
import pytest

from support.background import running
from support.build import candidate
from support.events import FakeEvents
from support.observers import Silence
from support.prober import HEALTHY, HUNG, FakeProber
from toolset.adapters.metrics import Metrics
from toolset.core.candidate import Candidate
from toolset.core.health.options import DEFAULT_HEALTH
from toolset.core.inventory import Inventory
from toolset.core.shares import Shares
from toolset.model import Key
from toolset.reconciler.probe import ProbeReconciler
from toolset.reconciler.startup_gate import StartupGate
from toolset.runtime.controller import Controller
from toolset.runtime.turns import Turns
from toolset.runtime.workqueue import WorkQueue
from toolset.telemetry.reconcile_log import ReconcileLog

HANGING = 3000


class Probes:
    """Probes of an inventory in virtual time, with the workers and the queue of the service."""

    def __init__(self, *trusted: str) -> None:
        self.inventory = Inventory(DEFAULT_HEALTH, shares=Shares(trusted.__contains__) if trusted else Shares())
        self.prober = FakeProber()
        self.queue: WorkQueue[Key] = WorkQueue(turns=Turns(attrgetter("namespace"), self.inventory.shares.account))

    def detect(self, key: Key) -> None:
        """Do nothing: no namespace changes."""

    def probe(self, key: Key) -> None:
        self.queue.add(key)

    def publish(self) -> None:
        """Do nothing: a test reads the inventory."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        gate, log = StartupGate(lambda: None), ReconcileLog(Metrics("1"), FakeEvents())
        reconciler = ProbeReconciler(self.inventory, self.prober, gate, self, log, DEFAULT_HEALTH, jitter=lambda: 0.5)
        async with running(Controller(self.queue, reconciler, Silence(), workers=DEFAULT_HEALTH.concurrency).run):
            yield

    def add(self, found: Candidate) -> None:
        self.inventory.detected(found.key, found)
        self.queue.add(found.key)

    def hang(self, namespace: str, count: int) -> None:
        for number in range(count):
            found = candidate(f"hangs-{number:04}", namespace=namespace)
            self.prober.outcomes[found.key], self.prober.times_s[found.key] = HUNG, 5.0
            self.add(found)

    async def up_after_s(self, key: Key) -> float:
        began_s = anyio.current_time()
        while not self.inventory.health(key).up:  # noqa: ASYNC110 - in virtual time
            await anyio.sleep(0.05)
        return anyio.current_time() - began_s


@pytest.mark.parametrize("later_s", [0.0, 0.5, 3.0, 20.0, 100.0, 400.0])
@pytest.mark.parametrize(("takes_s", "within_s"), [(0.05, 1.2), (1.6, 3.0)], ids=["fast", "slow"])
async def test_a_new_tool_is_up_soon_while_another_namespace_has_thousands_that_hang(
    later_s: float, takes_s: float, within_s: float
) -> None:
    world = Probes()
    async with world.running():
        world.hang("attacker", HANGING)
        await anyio.sleep(later_s)
        tool = candidate("prometheus", namespace="victim")
        world.prober.times_s[tool.key] = takes_s
        world.add(tool)
        assert await world.up_after_s(tool.key) <= within_s


async def test_new_hanging_services_all_the_time_delay_no_other_namespace() -> None:
    world = Probes()
    async with world.running():
        for second in range(30):
            world.hang(f"attacker-{second % 3}", 200)
            tool = candidate(f"prometheus-{second}", namespace="victim")
            world.prober.times_s[tool.key] = 0.05
            world.add(tool)
            assert await world.up_after_s(tool.key) <= 1.5


async def test_tools_of_a_namespace_that_hang_recover_while_another_has_thousands_that_hang() -> None:
    world = Probes()
    async with world.running():
        world.hang("attacker", HANGING)
        world.hang("victim", 3)
        await anyio.sleep(60)
        keys = [key for key in world.prober.outcomes if key.namespace == "victim"]
        for key in keys:
            world.prober.outcomes[key], world.prober.times_s[key] = HEALTHY, 0.05
        await anyio.sleep(40)  # its interval, and a turn in the slow lane
        assert all(world.inventory.health(key).up for key in keys)


@pytest.mark.parametrize("later_s", [0.0, 3.0, 100.0])
@pytest.mark.parametrize(("takes_s", "within_s"), [(0.05, 1.2), (1.6, 3.0)], ids=["fast", "slow"])
async def test_a_tool_of_a_trusted_namespace_is_up_soon_while_many_untrusted_ones_have_thousands_that_hang(
    later_s: float, takes_s: float, within_s: float
) -> None:
    world = Probes("victim")
    async with world.running():
        for number in range(100):
            world.hang(f"attacker-{number}", HANGING // 100)
        await anyio.sleep(later_s)
        tool = candidate("prometheus", namespace="victim")
        world.prober.times_s[tool.key] = takes_s
        world.add(tool)
        assert await world.up_after_s(tool.key) <= within_s


async def test_untrusted_namespaces_that_hang_leave_half_of_the_slow_lane() -> None:
    world = Probes("victim")
    async with world.running():
        for number in range(100):
            world.hang(f"attacker-{number}", 10)
        await anyio.sleep(60)
        world.hang("victim", 8)
        await anyio.sleep(30)
        asked: dict[bool, int] = {True: 0, False: 0}
        world.prober.asked.clear()
        await anyio.sleep(300)
        for found in world.prober.asked:
            asked[found.key.namespace == "victim"] += 1
        assert asked[True] >= 8 * 300 / 40
        assert asked[False] > asked[True]
