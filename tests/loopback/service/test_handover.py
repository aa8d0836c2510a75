"""A term that follows another one goes on where that ended: a reload takes nothing away and tells nothing twice."""

import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import anyio
import msgspec
import orjson
import pytest
from aiohttp import web

from support.api_server import FixedCredentials
from support.background import running
from support.events import FakeEvents
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.write.applier import KubeApplier
from toolset.adapters.metrics import Metrics
from toolset.adapters.traces import Tracing
from toolset.config.loader import load
from toolset.config.settings import Settings
from toolset.errors import UnavailableError
from toolset.model import ConfigMap, Key, Namespace, Service
from toolset.runtime.current import Current
from toolset.runtime.multi_namespace_store import MultiNamespaceStore
from toolset.runtime.store import Store
from toolset.service import pipeline
from toolset.service.queues import TARGET_DEBOUNCE
from toolset.service.state import Stores
from toolset.service.supervisor import Supervisor
from toolset.sim import Backends, EmbeddedCluster

TARGET = ("ConfigMap", "kubernaut-system", "kubernaut-toolset-config")
PUBLIC, SECRET = Key("monitoring", "public"), Key("monitoring", "secret")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def unexpected(error: Exception) -> None:
    raise error


def host(key: Key) -> str:
    return f"{key.name}.{key.namespace}.svc.cluster.local:3000"


def grafana(key: Key) -> Service:
    metadata = {"name": key.name, "namespace": key.namespace, "uid": f"u-{key.name}", "resourceVersion": "1"}
    spec = {"selector": {"app": key.name}, "ports": [{"name": "http", "port": 3000}]}
    labels = {"app.kubernetes.io/name": "grafana"}
    return msgspec.convert({"metadata": {**metadata, "labels": labels}, "spec": spec}, Service)


class World:
    """A supervisor over stores that the test fills, which write to an embedded cluster and probe real backends."""

    def __init__(self, text: str = "", overrides: str = "") -> None:
        self._text = text
        self._overrides = overrides
        self.services: Store[Service] = Store(unexpected)
        self.config_maps: Store[ConfigMap] = Store(unexpected)
        self.services.replace([grafana(PUBLIC), grafana(SECRET)], "1")
        self.events = FakeEvents()
        self.metrics = Metrics("1")
        self.cluster = EmbeddedCluster()
        self.backends = Backends()

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[Supervisor]:
        namespaces: Store[Namespace] = Store(unexpected)
        stores = Stores(MultiNamespaceStore({"": self.services}), self.config_maps, namespaces)
        self.cluster.create("Namespace", {"metadata": {"name": TARGET[1]}})
        data = {"overrides.yaml": self._overrides} if self._overrides else {}
        self.cluster.create(TARGET[0], {"metadata": {"namespace": TARGET[1], "name": TARGET[2]}, "data": data})
        self.see()
        for key in (PUBLIC, SECRET):
            self.backends.put(host(key), "grafana")
        async with self.cluster, self.backends, KubeTransport(FixedCredentials(self.cluster.url), "test") as kube:
            self._work = kube, stores
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TOOLSET_TEST_CONNECT_TO", orjson.dumps(self.backends.connect_to()).decode())
                async with self.leading(self._text) as supervisor:
                    yield supervisor

    @asynccontextmanager
    async def leading(self, text: str) -> AsyncGenerator[Supervisor]:
        """Work as a process that knows of no other."""
        kube, stores = self._work
        self.current = Current(self.settings(text))
        supervisor = Supervisor(self.current, kube, stores, "me", self.metrics, self.events, Tracing())
        async with running(lambda: supervisor.serve(None)):
            yield supervisor

    def settings(self, text: str) -> Settings:
        return load(text, {}, {})

    def see(self) -> None:
        """Let the store see the ConfigMap as it is."""
        found = msgspec.convert(self.cluster.get(*TARGET), ConfigMap)
        self.config_maps.replace([found], found.version)

    def documents(self) -> str:
        found = self.cluster.get(*TARGET)
        return "".join(text for name, text in (found or {}).get("data", {}).items() if name != "overrides.yaml")

    def published(self) -> set[str]:
        return {name for name in ("public", "secret") if f"//{name}." in self.documents()}

    def reconciles(self) -> float:
        """How often the ConfigMap was reconciled, whatever came of it."""
        lines = self.metrics.expose()[0].decode().splitlines()
        start = 'controller_runtime_reconcile_total{controller="target"'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(start))

    def metric(self, name: str) -> float:
        lines = self.metrics.expose()[0].decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)

    def tools(self) -> float:
        return self.metric('toolset_tools{type="grafana"}')


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - a real server tells nobody whom it heard
            await anyio.sleep(0.005)


async def settled(world: World, *names: str) -> None:
    await until(lambda: world.published() == {*names} and world.tools() == len(names))
    world.see()


async def looked_again(world: World, text: str) -> None:
    """Put other settings in force, and return once each backend was asked again."""
    before = dict(world.backends.requests)
    world.current.set(world.settings(text))
    await until(lambda: all(count > before.get(key, 0) for key, count in world.backends.requests.items()))


async def ended(supervisor: Supervisor) -> None:
    """Return once all that is in work is done and published."""
    await supervisor.drain()


async def test_overrides_that_other_settings_make_invalid_stay_in_force() -> None:
    headers = "tools: {monitoring/public: {holmesgpt: {additional_headers: {X-Token: '{{ env.TOKEN }}'}}}}"
    world = World("output: {variables: [TOKEN]}", f"suppress: [monitoring/secret]\n{headers}\n")
    async with world.working() as supervisor:
        await settled(world, "public")
        await looked_again(world, "output: {variables: []}")
        await ended(supervisor)
        assert ("OverridesInvalid", None) in world.events.told()
        assert world.published() == {"public"}


async def test_overrides_stay_in_force_when_what_is_unsafe_is_no_longer_allowed() -> None:
    unsafe = "tools: {monitoring/public: {holmesgpt: {additional_headers: {X: 'file:///etc/passwd'}}}}"
    world = World("output: {allow_unsafe_overrides: true}", f"suppress: [monitoring/secret]\n{unsafe}\n")
    async with world.working() as supervisor:
        await settled(world, "public")
        assert "file://" in world.documents()
        await looked_again(world, "output: {allow_unsafe_overrides: false}")
        await ended(supervisor)
        assert ("OverridesInvalid", None) in world.events.told()
        assert "file://" not in world.documents()
        assert world.published() == {"public"}


async def test_overrides_too_large_to_be_kept_in_an_annotation_stay_in_force_while_newer_ones_are_not_valid() -> None:
    large = f"suppress: [monitoring/secret]\n# {'x' * 70_000}\n"
    world = World(overrides=large)
    async with world.working() as supervisor:
        await settled(world, "public")
        world.cluster.patch(*TARGET, {"data": {"overrides.yaml": f"{large}oops: ["}})
        world.see()
        await until(lambda: ("OverridesInvalid", None) in world.events.told())
        await looked_again(world, "health: {interval: 1h}")
        await looked_again(world, "health: {interval: 2h}")
        await ended(supervisor)
        assert world.published() == {"public"}


async def test_a_document_that_somebody_nested_deep_is_written_anew_after_a_restart() -> None:
    world = World("output: {dialects: [kubernaut]}")
    async with world.working() as former:
        await settled(world, "public", "secret")
        await ended(former)
        world.cluster.patch(*TARGET, {"data": {"grafana-toolset.yaml": "[" * 100_000}})
        world.see()
        async with world.leading("output: {dialects: [kubernaut]}"):
            await settled(world, "public", "secret")
            assert "[[" not in world.documents()


@pytest.mark.parametrize("dialect", ["kubernaut", "holmesgpt"])
async def test_a_tool_whose_url_is_overridden_is_not_lost_by_one_failed_probe_after_a_restart(dialect: str) -> None:
    output = f"output: {{dialects: [{dialect}]}}"
    world = World(output, "tools: {monitoring/public: {url: 'https://public.example.com'}}")
    async with world.working() as former:
        await settled(world, "public", "secret")
        await ended(former)
        world.backends.fail(host(PUBLIC))
        failed = 'toolset_probes_total{outcome="status",type="grafana"}'
        async with world.leading(output) as supervisor:
            await until(lambda: world.metric(failed) > 0)
            await ended(supervisor)
            assert world.published() == {"public", "secret"}


@contextmanager
def refused_writes() -> Generator[list[Key]]:
    """Let every write fail; give what was tried."""
    tried: list[Key] = []

    async def refuse(_: KubeApplier, key: Key, manifest: bytes) -> ConfigMap:
        del manifest
        tried.append(key)
        raise UnavailableError("the API server is away")

    with pytest.MonkeyPatch.context() as away:
        away.setattr(KubeApplier, "apply", refuse)
        away.setattr(pipeline, "LAST_WRITE_S", 0.05)
        yield tried


async def test_settings_that_are_taken_back_before_anything_could_be_written_take_nothing_away() -> None:
    world = World()
    async with world.working() as supervisor:
        await settled(world, "public", "secret")
        with refused_writes() as tried:
            world.current.set(world.settings("discovery: {exclude_namespaces: [monitoring]}"))
            await until(lambda: len(tried) > 0)
            world.backends.fail(host(PUBLIC))
            await looked_again(world, "health: {interval: 1h}")
        await ended(supervisor)
        assert world.published() == {"public", "secret"}


async def test_a_reload_before_the_first_write_has_succeeded_takes_nothing_away() -> None:
    world = World()
    async with world.working() as former:
        await settled(world, "public", "secret")
        await ended(former)
        world.cluster.patch(*TARGET, {"data": {"kubernetes-toolset.yaml": "spoiled"}})  # something to write
        world.see()
        for key in (PUBLIC, SECRET):
            world.backends.fail(host(key))
        with ExitStack() as away:
            tried = away.enter_context(refused_writes())
            async with world.leading("health: {interval: 1h}") as supervisor:
                await until(lambda: len(tried) > 0)
                await looked_again(world, "health: {interval: 2h}")
                away.close()
                await until(lambda: "spoiled" not in world.documents())
                await ended(supervisor)
        assert world.published() == {"public", "secret"}


async def test_a_reader_whose_address_was_wrong_is_told_what_is_published_once_it_is_corrected() -> None:
    told: list[str] = []

    async def take(request: web.Request) -> web.Response:
        told.append(request.path)
        return web.Response(status=404 if request.path == "/wrong" else 200)

    app = web.Application()
    app.router.add_post("/{path}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        world = World(f"notify: {{url: '{url}/wrong', delay: 50ms}}")
        async with world.working():
            await settled(world, "public", "secret")
            await until(lambda: "/wrong" in told)
            world.current.set(world.settings(f"notify: {{url: '{url}/right', delay: 50ms}}"))
            await until(lambda: "/right" in told)
    finally:
        await runner.cleanup()


async def test_a_tool_that_other_settings_take_away_is_told_as_lost() -> None:
    world = World()
    async with world.working():
        await settled(world, "public", "secret")
        told = len(world.events.recorded)
        world.current.set(world.settings("discovery: {exclude_namespaces: [monitoring]}"))
        await until(lambda: world.published() == set())
        assert sorted(world.events.told()[told:]) == [("NamespaceExcluded", PUBLIC), ("NamespaceExcluded", SECRET)]


async def test_a_tool_whose_url_is_overridden_is_not_lost_by_one_failed_probe_after_a_reload() -> None:
    world = World(overrides="tools: {monitoring/public: {url: 'https://public.example.com'}}")
    async with world.working() as supervisor:
        await settled(world, "public", "secret")
        told = len(world.events.recorded)
        world.backends.fail(host(PUBLIC))
        await looked_again(world, "health: {interval: 1h}")
        await ended(supervisor)
        assert world.published() == {"public", "secret"}
        assert world.events.recorded[told:] == []


async def test_what_is_published_is_counted_all_the_time_while_settings_change() -> None:
    world = World()
    counts: set[float] = set()

    async def count() -> None:
        while True:
            counts.add(world.tools())
            await anyio.sleep(0.001)

    async with world.working():
        await settled(world, "public", "secret")
        async with running(count):
            await looked_again(world, "health: {interval: 1h}")
        assert counts == {2.0}


async def test_a_service_that_goes_between_two_terms_is_told_as_lost() -> None:
    world = World()
    async with world.working():
        await settled(world, "public", "secret")
        world.current.set(world.settings("health: {interval: 1h}"))
        world.services.delete(grafana(SECRET))
        await until(lambda: world.published() == {"public"})
        await until(lambda: world.events.told()[-1] == ("Deleted", SECRET))


async def test_a_backend_that_hangs_holds_up_no_reload() -> None:
    world = World()
    async with world.working():
        await settled(world, "public", "secret")
        world.backends.hang(host(SECRET))
        await looked_again(world, "health: {interval: 1s, timeout: 1h}")
        with anyio.fail_after(2):
            world.current.set(
                world.settings("health: {timeout: 1h}\ndiscovery: {detectors: []}\noutput: {max_per_type: 1}")
            )
            await settled(world, "public")


async def test_tools_whose_urls_other_settings_change_move_in_one_write(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "toolset")
    world = World()
    for key in (PUBLIC, SECRET):
        world.backends.put(host(key).replace("cluster.local", "corp"), "grafana")
    async with world.working():
        await settled(world, "public", "secret")
        caplog.clear()
        world.current.set(world.settings("discovery: {cluster_domain: corp}"))
        await until(lambda: "svc.corp:" in world.documents())
        await until(lambda: "config map written" in caplog.messages)
        written = [record for record in caplog.records if record.getMessage() == "config map written"]
        assert [vars(record)["removed"] for record in written] == [[]]
        assert world.published() == {"public", "secret"}


async def test_a_tool_whose_url_is_overridden_outlives_a_reload_before_the_first_write() -> None:
    world = World(overrides="tools: {monitoring/public: {url: 'https://public.example.com'}}")
    async with world.working() as former:
        await settled(world, "public", "secret")
        await ended(former)
        world.backends.fail(host(PUBLIC))
        world.backends.hang(host(SECRET))  # so that the first write waits
        before = world.backends.requests[host(SECRET)]
        async with world.leading("health: {timeout: 1h}"):
            await until(lambda: world.backends.requests[host(SECRET)] > before)
            await looked_again(world, "health: {timeout: 2h}")
            assert world.published() == {"public", "secret"}


async def test_each_write_takes_one_reconcile_of_the_config_map() -> None:
    world = World()
    async with world.working():
        await settled(world, "public", "secret")
        assert (world.metric("toolset_configmap_writes_total"), world.reconciles()) == (1, 1)
        world.services.delete(grafana(SECRET))
        await settled(world, "public")
        await anyio.sleep(2 * TARGET_DEBOUNCE.quiet_s)
        assert (world.metric("toolset_configmap_writes_total"), world.reconciles()) == (2, 2)
