"""Static backends while the service runs: probed and published like discovered ones, and followed by a reload."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import msgspec
import orjson
import pytest

from support.leader import TARGET, ClusterLeader
from support.series import exposed
from support.waiting import until
from toolset.config.loader import load
from toolset.model import ConfigMap
from toolset.sim import Backends

OUTSIDE = "outside.example.com:3000"
SETTINGS = "health: {interval: 1s}\nstatic: [{type: grafana, name: outside, url: 'http://outside.example.com:3000'}]"


class OutsideLeader(ClusterLeader):
    """A leader of a cluster without a Service, and a backend outside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.services.replace([], "1")
        self.cluster.create("Namespace", {"metadata": {"name": TARGET[1]}})
        self.cluster.create(TARGET[0], {"metadata": {"namespace": TARGET[1], "name": TARGET[2]}, "data": {}})
        self.see()
        self.backends = Backends()
        self.backends.put(OUTSIDE, "grafana")

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        async with self.cluster, self.backends:
            with self.redirected():
                async with self.leading(load(SETTINGS, {}, {}), self.cluster.url):
                    yield

    @contextmanager
    def redirected(self) -> Generator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOOLSET_TEST_CONNECT_TO", orjson.dumps(self.backends.connect_to()).decode())
            yield

    def see(self) -> None:
        found = msgspec.convert(self.cluster.get(*TARGET), ConfigMap)
        self.config_maps.replace([found], found.version)

    async def publishes(self, *, outside: bool) -> None:
        await until(lambda: (f"//{OUTSIDE}" in self.documents()) is outside)
        self.see()


async def test_a_static_backend_is_published_while_it_answers() -> None:
    leader = OutsideLeader()
    async with leader.working():
        await leader.publishes(outside=True)
        await until(lambda: exposed(leader.metrics)['toolset_tools{type="grafana"}'] == 1)  # set after the write
        await until(lambda: ("Published", None) in leader.events.reasons())
        leader.backends.fail(OUTSIDE)
        await leader.publishes(outside=False)
        leader.backends.heal(OUTSIDE)
        await leader.publishes(outside=True)


async def test_a_reload_adds_and_removes_static_backends() -> None:
    leader = OutsideLeader()
    async with leader.working():
        await leader.publishes(outside=True)
        leader.current.set(load("health: {interval: 1s}", {}, {}))
        await leader.publishes(outside=False)
        leader.current.set(load(SETTINGS, {}, {}))
        await leader.publishes(outside=True)
