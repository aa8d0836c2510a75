import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest
from anyio.abc import SocketStream

from support.api_server import FixedCredentials, raw_server, request_head
from support.background import running
from support.events import FakeEvents
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.adapters.traces import Tracing
from toolset.config.loader import load
from toolset.config.settings import LogSettings, Settings
from toolset.model import ConfigMap, Service
from toolset.runtime.current import Current
from toolset.runtime.multi_namespace_store import MultiNamespaceStore
from toolset.runtime.store import Store
from toolset.service import supervisor
from toolset.service.state import Stores
from toolset.service.supervisor import Supervisor


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def unexpected(error: Exception) -> None:
    raise error


class World:
    """A supervisor over an empty cluster, whose API server takes every write and never answers."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        log.set_level(logging.INFO, "toolset")
        self._log = log
        self._answer = b""
        self.writers: list[str] = []

    @asynccontextmanager
    async def supervisor(self, settings: Settings | None = None) -> AsyncGenerator[Supervisor]:
        services: Store[Service] = Store(unexpected)
        config_maps: Store[ConfigMap] = Store(unexpected)
        services.replace([], "1")
        config_maps.replace([], "1")
        stores = Stores(MultiNamespaceStore({"": services}), config_maps, Store(unexpected))
        async with (
            raw_server(self._listen) as port,
            KubeTransport(FixedCredentials(f"http://127.0.0.1:{port}"), "test") as kube,
        ):
            self.settings = Current(settings or Settings())
            made = Supervisor(self.settings, kube, stores, "me", Metrics("1"), FakeEvents(), Tracing())
            async with running(lambda: made.serve(None)):
                yield made

    async def _listen(self, stream: SocketStream) -> None:
        head = await request_head(stream)
        self.writers.append(head.decode().splitlines()[0])
        if not self._answer:
            await anyio.sleep_forever()
        await stream.send(self._answer)

    @asynccontextmanager
    async def refused(self) -> AsyncGenerator[Supervisor]:
        """Let the API server be in trouble, so that a write is tried again after minutes only."""
        self._answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        async with self.supervisor(load("controller: {retry_base: 5m}", {}, {})) as made:
            await self.until(lambda: len(self.writers) == 1)
            yield made

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(5):
            while not condition():  # noqa: ASYNC110 - a real server tells nobody whom it heard
                await anyio.sleep(0.005)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._log.records]


async def test_work_that_does_not_end_in_time_is_cut_off_when_the_settings_change(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "DRAIN_S", 0.05)
    world = World(caplog)
    async with world.supervisor() as made:
        await world.until(lambda: len(world.writers) == 1)
        assert made.is_working
        world.settings.set(load("output: {limit_kib: 500}", {}, {}))
        await world.until(lambda: len(world.writers) == 2)
        assert "work under the former settings did not end in time" in world.lines
        assert made.is_working


async def test_settings_that_no_work_reads_disturb_none(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    async with world.supervisor() as made:
        await world.until(lambda: len(world.writers) == 1)
        world.settings.set(msgspec.structs.replace(Settings(), log=LogSettings("debug")))
        await anyio.wait_all_tasks_blocked()
        assert (len(world.writers), made.is_working) == (1, True)


async def test_what_changes_before_anything_works_counts_from_the_beginning(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    async with world.supervisor():
        world.settings.set(load("target: {name: other}", {}, {}))  # no task has begun yet
        await world.until(lambda: len(world.writers) == 1)
        assert "/configmaps/other" in world.writers[0]


async def test_where_nothing_works_there_is_nothing_to_drain(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    async with world.supervisor() as made:
        await made.drain()  # no task has begun yet
        await anyio.wait_all_tasks_blocked()
        assert (made.is_working, world.writers) == (False, [])


async def test_a_write_that_is_tried_again_in_minutes_holds_up_no_reload(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    async with world.refused():
        began = anyio.current_time()
        world.settings.set(load("controller: {retry_base: 5m}\noutput: {limit_kib: 500}", {}, {}))
        await world.until(lambda: len(world.writers) == 3)  # the first, the last of that term, and one of the next
        assert anyio.current_time() - began < supervisor.DRAIN_S / 4


async def test_a_write_that_is_tried_again_in_minutes_holds_up_no_stop(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    async with world.refused() as made:
        began = anyio.current_time()
        await made.drain()
        assert not made.is_working
        assert len(world.writers) == 2
        assert anyio.current_time() - began < supervisor.DRAIN_S / 4


async def test_work_without_probes_says_so_at_its_start_and_after_a_reload(caplog: pytest.LogCaptureFixture) -> None:
    world, said = World(caplog), "health checks are off: every candidate counts as healthy"
    async with world.refused():
        assert said not in world.lines
        world.settings.set(load("controller: {retry_base: 5m}\nhealth: {enabled: false}", {}, {}))
        await world.until(lambda: len(world.writers) == 3)
        assert world.lines.count(said) == 1
    caplog.clear()
    async with world.supervisor(load("health: {enabled: false}", {}, {})):
        await world.until(lambda: said in world.lines)
