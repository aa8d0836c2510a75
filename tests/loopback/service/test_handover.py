"""A pipeline goes on where the one before ended: a reload removes nothing and reports nothing twice."""

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import anyio
import msgspec
import orjson
import pytest
from aiohttp import web

from support.api_server import serving
from support.background import running
from support.leader import TARGET, ClusterLeader
from support.series import counted, exposed
from support.waiting import until
from toolset.adapters.kube.write.applier import KubeApplier
from toolset.config.loader import load
from toolset.config.settings import Settings
from toolset.errors import UnavailableError
from toolset.model import ConfigMap, Key, Service
from toolset.service import pipeline
from toolset.service.queues import TARGET_DEBOUNCE
from toolset.service.supervisor import Supervisor
from toolset.sim import Backends

PUBLIC, SECRET = Key("monitoring", "public"), Key("monitoring", "secret")


def host(key: Key) -> str:
    return f"{key.name}.{key.namespace}.svc.cluster.local:3000"


def grafana(key: Key) -> Service:
    metadata = {"name": key.name, "namespace": key.namespace, "uid": f"u-{key.name}", "resourceVersion": "1"}
    spec = {"selector": {"app": key.name}, "ports": [{"name": "http", "port": 3000}]}
    labels = {"app.kubernetes.io/name": "grafana"}
    return msgspec.convert({"metadata": {**metadata, "labels": labels}, "spec": spec}, Service)


class ProbingLeader(ClusterLeader):
    """A leader that knows of two Services and probes the backends behind them."""

    def __init__(self, text: str = "", overrides: str = "") -> None:
        super().__init__()
        self._text = text
        self._overrides = overrides
        self.services.replace([grafana(PUBLIC), grafana(SECRET)], "1")
        self.backends = Backends()

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[Supervisor]:
        self.cluster.create("Namespace", {"metadata": {"name": TARGET[1]}})
        data = {"overrides.yaml": self._overrides} if self._overrides else {}
        self.cluster.create(TARGET[0], {"metadata": {"namespace": TARGET[1], "name": TARGET[2]}, "data": data})
        self.see()
        for key in (PUBLIC, SECRET):
            self.backends.put(host(key), "grafana")
        async with self.cluster, self.backends:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TOOLSET_TEST_CONNECT_TO", orjson.dumps(self.backends.connect_to()).decode())
                async with self.following(self._text) as supervisor:
                    yield supervisor

    @asynccontextmanager
    async def following(self, text: str) -> AsyncGenerator[Supervisor]:
        """Work as a process that knows of no other."""
        async with self.leading(self.settings(text), self.cluster.url) as supervisor:
            yield supervisor

    def settings(self, text: str) -> Settings:
        return load(text, {}, {})

    def see(self) -> None:
        """Let the store see the ConfigMap as it is."""
        found = msgspec.convert(self.cluster.get(*TARGET), ConfigMap)
        self.config_maps.replace([found], found.version)

    def published(self) -> set[str]:
        return {name for name in ("public", "secret") if f"//{name}." in self.documents()}

    def reconciles(self) -> float:
        """How often the ConfigMap was reconciled, whatever came of it."""
        return sum(counted(self.metrics, 'controller_runtime_reconcile_total{controller="target"').values())

    def writes(self) -> float:
        return exposed(self.metrics)["toolset_configmap_writes_total"]

    def tools(self) -> float:
        return exposed(self.metrics).get('toolset_tools{type="grafana"}', 0.0)


async def settled(leader: ProbingLeader, *names: str) -> None:
    await until(lambda: leader.published() == {*names} and leader.tools() == len(names))
    leader.see()


async def looked_again(leader: ProbingLeader, text: str) -> None:
    """Put other settings in force, and return once each backend was asked again."""
    before = dict(leader.backends.requests)
    leader.current.set(leader.settings(text))
    await until(lambda: all(count > before.get(key, 0) for key, count in leader.backends.requests.items()))


async def ended(supervisor: Supervisor) -> None:
    """Return once all that is in work is done and published."""
    await supervisor.drain()


async def test_overrides_that_other_settings_make_invalid_stay_in_force() -> None:
    headers = "tools: {monitoring/public: {holmesgpt: {additional_headers: {X-Token: '{{ env.TOKEN }}'}}}}"
    leader = ProbingLeader("output: {variables: [TOKEN]}", f"suppress: [monitoring/secret]\n{headers}\n")
    async with leader.working() as supervisor:
        await settled(leader, "public")
        await looked_again(leader, "output: {variables: []}")
        await ended(supervisor)
        assert ("OverridesInvalid", None) in leader.events.reasons()
        assert leader.published() == {"public"}


async def test_overrides_stay_in_force_when_what_is_unsafe_is_no_longer_allowed() -> None:
    unsafe = "tools: {monitoring/public: {holmesgpt: {additional_headers: {X: 'file:///etc/passwd'}}}}"
    leader = ProbingLeader("output: {allow_unsafe_overrides: true}", f"suppress: [monitoring/secret]\n{unsafe}\n")
    async with leader.working() as supervisor:
        await settled(leader, "public")
        assert "file://" in leader.documents()
        await looked_again(leader, "output: {allow_unsafe_overrides: false}")
        await ended(supervisor)
        assert ("OverridesInvalid", None) in leader.events.reasons()
        assert "file://" not in leader.documents()
        assert leader.published() == {"public"}


async def test_overrides_too_large_to_be_kept_in_an_annotation_stay_in_force_while_newer_ones_are_not_valid() -> None:
    large = f"suppress: [monitoring/secret]\n# {'x' * 70_000}\n"
    leader = ProbingLeader(overrides=large)
    async with leader.working() as supervisor:
        await settled(leader, "public")
        leader.cluster.patch(*TARGET, {"data": {"overrides.yaml": f"{large}oops: ["}})
        leader.see()
        await until(lambda: ("OverridesInvalid", None) in leader.events.reasons())
        await looked_again(leader, "health: {interval: 1h}")
        await looked_again(leader, "health: {interval: 2h}")
        await ended(supervisor)
        assert leader.published() == {"public"}


async def test_a_document_that_somebody_nested_deep_is_written_again_after_a_restart() -> None:
    leader = ProbingLeader("output: {dialects: [kubernaut]}")
    async with leader.working() as former:
        await settled(leader, "public", "secret")
        await ended(former)
        leader.cluster.patch(*TARGET, {"data": {"grafana-toolset.yaml": "[" * 100_000}})
        leader.see()
        async with leader.following("output: {dialects: [kubernaut]}"):
            await settled(leader, "public", "secret")
            assert "[[" not in leader.documents()


@pytest.mark.parametrize("dialect", ["kubernaut", "holmesgpt"])
async def test_a_tool_whose_url_is_overridden_is_not_lost_by_one_failed_probe_after_a_restart(dialect: str) -> None:
    output = f"output: {{dialects: [{dialect}]}}"
    leader = ProbingLeader(output, "tools: {monitoring/public: {url: 'https://public.example.com'}}")
    async with leader.working() as former:
        await settled(leader, "public", "secret")
        await ended(former)
        leader.backends.fail(host(PUBLIC))
        failed = 'toolset_probes_total{outcome="status",type="grafana"}'
        async with leader.following(output) as supervisor:
            await until(lambda: exposed(leader.metrics)[failed] > 0)
            await ended(supervisor)
            assert leader.published() == {"public", "secret"}


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
    leader = ProbingLeader()
    async with leader.working() as supervisor:
        await settled(leader, "public", "secret")
        with refused_writes() as tried:
            leader.current.set(leader.settings("discovery: {exclude_namespaces: [monitoring]}"))
            await until(lambda: len(tried) > 0)
            leader.backends.fail(host(PUBLIC))
            await looked_again(leader, "health: {interval: 1h}")
        await ended(supervisor)
        assert leader.published() == {"public", "secret"}


async def test_a_reload_before_the_first_write_has_succeeded_takes_nothing_away() -> None:
    leader = ProbingLeader()
    async with leader.working() as former:
        await settled(leader, "public", "secret")
        await ended(former)
        leader.cluster.patch(*TARGET, {"data": {"kubernetes-toolset.yaml": "spoiled"}})  # something to write
        leader.see()
        for key in (PUBLIC, SECRET):
            leader.backends.fail(host(key))
        with ExitStack() as away:
            tried = away.enter_context(refused_writes())
            async with leader.following("health: {interval: 1h}") as supervisor:
                await until(lambda: len(tried) > 0)
                await looked_again(leader, "health: {interval: 2h}")
                away.close()
                await until(lambda: "spoiled" not in leader.documents())
                await ended(supervisor)
        assert leader.published() == {"public", "secret"}


async def test_a_reader_whose_address_was_wrong_is_sent_what_is_published_once_it_is_corrected() -> None:
    reported: list[str] = []

    async def take(request: web.Request) -> web.Response:
        reported.append(request.path)
        return web.Response(status=404 if request.path == "/wrong" else 200)

    async with serving(take) as url:
        leader = ProbingLeader(f"notify: {{url: '{url}/wrong', delay: 50ms}}")
        async with leader.working():
            await settled(leader, "public", "secret")
            await until(lambda: "/wrong" in reported)
            leader.current.set(leader.settings(f"notify: {{url: '{url}/right', delay: 50ms}}"))
            await until(lambda: "/right" in reported)


async def test_a_tool_that_other_settings_take_away_is_reported_as_lost() -> None:
    leader = ProbingLeader()
    async with leader.working():
        await settled(leader, "public", "secret")
        reported = len(leader.events.recorded)
        leader.current.set(leader.settings("discovery: {exclude_namespaces: [monitoring]}"))
        await until(lambda: leader.published() == set())
        assert sorted(leader.events.reasons()[reported:]) == [
            ("NamespaceExcluded", PUBLIC),
            ("NamespaceExcluded", SECRET),
        ]


async def test_a_tool_whose_url_is_overridden_is_not_lost_by_one_failed_probe_after_a_reload() -> None:
    leader = ProbingLeader(overrides="tools: {monitoring/public: {url: 'https://public.example.com'}}")
    async with leader.working() as supervisor:
        await settled(leader, "public", "secret")
        reported = len(leader.events.recorded)
        leader.backends.fail(host(PUBLIC))
        await looked_again(leader, "health: {interval: 1h}")
        await ended(supervisor)
        assert leader.published() == {"public", "secret"}
        assert leader.events.recorded[reported:] == []


async def test_what_is_published_is_counted_all_the_time_while_settings_change() -> None:
    leader = ProbingLeader()
    counts: set[float] = set()

    async def count() -> None:
        while True:
            counts.add(leader.tools())
            await anyio.sleep(0.001)

    async with leader.working():
        await settled(leader, "public", "secret")
        async with running(count):
            await looked_again(leader, "health: {interval: 1h}")
        assert counts == {2.0}


async def test_a_service_that_goes_between_two_pipelines_is_reported_as_lost() -> None:
    leader = ProbingLeader()
    async with leader.working():
        await settled(leader, "public", "secret")
        leader.current.set(leader.settings("health: {interval: 1h}"))
        leader.services.delete(grafana(SECRET))
        await until(lambda: leader.published() == {"public"})
        await until(lambda: leader.events.reasons()[-1] == ("Deleted", SECRET))


async def test_a_backend_that_hangs_holds_up_no_reload() -> None:
    leader = ProbingLeader()
    async with leader.working():
        await settled(leader, "public", "secret")
        leader.backends.hang(host(SECRET))
        await looked_again(leader, "health: {interval: 1s, timeout: 1h}")
        with anyio.fail_after(2):
            leader.current.set(
                leader.settings("health: {timeout: 1h}\ndiscovery: {detectors: []}\noutput: {max_per_type: 1}")
            )
            await settled(leader, "public")


async def test_tools_whose_urls_other_settings_change_move_in_one_write(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "toolset")
    leader = ProbingLeader()
    for key in (PUBLIC, SECRET):
        leader.backends.put(host(key).replace("cluster.local", "corp"), "grafana")
    async with leader.working():
        await settled(leader, "public", "secret")
        caplog.clear()
        leader.current.set(leader.settings("discovery: {cluster_domain: corp}"))
        await until(lambda: "svc.corp:" in leader.documents())
        await until(lambda: "config map written" in caplog.messages)
        written = [record for record in caplog.records if record.getMessage() == "config map written"]
        assert len(written) == 1
        assert "removed" not in vars(written[0])
        assert leader.published() == {"public", "secret"}


async def test_a_tool_whose_url_is_overridden_outlives_a_reload_before_the_first_write() -> None:
    leader = ProbingLeader(overrides="tools: {monitoring/public: {url: 'https://public.example.com'}}")
    async with leader.working() as former:
        await settled(leader, "public", "secret")
        await ended(former)
        leader.backends.fail(host(PUBLIC))
        leader.backends.hang(host(SECRET))  # so that the first write waits
        before = leader.backends.requests[host(SECRET)]
        async with leader.following("health: {timeout: 1h}"):
            await until(lambda: leader.backends.requests[host(SECRET)] > before)
            await looked_again(leader, "health: {timeout: 2h}")
            assert leader.published() == {"public", "secret"}


async def test_each_write_takes_one_reconcile_of_the_config_map() -> None:
    leader = ProbingLeader()
    async with leader.working():
        await settled(leader, "public", "secret")
        assert (leader.writes(), leader.reconciles()) == (1, 1)
        leader.services.delete(grafana(SECRET))
        await settled(leader, "public")
        await anyio.sleep(2 * TARGET_DEBOUNCE.quiet_s)
        assert (leader.writes(), leader.reconciles()) == (2, 2)
