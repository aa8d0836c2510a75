import anyio

from support.api_server import Answer, FixedCredentials, ScriptedApiServer
from support.background import running
from support.config_maps import FakeConfigMaps
from support.events import FakeEvents
from support.stores import unexpected
from support.waiting import until
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.config.loader import load
from toolset.core.publishing.plan import desired, manifest
from toolset.model import ConfigMap, Key
from toolset.runtime.store import Store
from toolset.service.notifier import Notifier
from toolset.telemetry.bundle import Telemetry
from toolset.telemetry.reconcile_log import ReconcileLog
from toolset.telemetry.tracing import NoTraces

TARGET = Key("kubernaut-system", "kubernaut-toolset-config")
METRICS = Metrics("1")
TELEMETRY = Telemetry(METRICS, FakeEvents(), NoTraces(), ReconcileLog(METRICS, FakeEvents()))


async def test_readers_are_notified_of_a_change_once_it_can_have_reached_them() -> None:
    server, maps = ScriptedApiServer(Answer(b"{}"), Answer(b"{}"), Answer(b"{}"), Answer(b"{}")), FakeConfigMaps()
    store: Store[ConfigMap] = Store(unexpected)

    def publish(text: str) -> None:
        wanted = desired({"kubernetes-toolset.yaml": text}, 0, "kubernaut.io")
        current = maps.apply(TARGET, manifest(TARGET, wanted, maps.get(TARGET)))
        store.replace([current], current.version)

    publish("before the start")
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test") as kube:
        text = f"notify: {{url: '{server.url}/reload', deployment: holmes/server, delay: 50ms}}"
        notifier = Notifier(load(text, {}, {}), kube, store, TELEMETRY)
        async with running(notifier.run):
            await anyio.wait_all_tasks_blocked()
            publish("new")
            notifier.config_map_changed()
            await until(lambda: len(server.asked) >= 2)
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/reload"),
        ("PATCH", "/apis/apps/v1/namespaces/holmes/deployments/server"),
    ]


async def test_a_change_that_was_on_its_way_to_readers_when_work_paused_is_reported_when_it_goes_on() -> None:
    server, maps = ScriptedApiServer(Answer(b"{}"), Answer(b"{}")), FakeConfigMaps()
    store: Store[ConfigMap] = Store(unexpected)
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test") as kube:
        notifier = Notifier(
            load(f"notify: {{url: '{server.url}/reload', delay: 50ms}}", {}, {}), kube, store, TELEMETRY
        )
        async with running(notifier.run):
            await anyio.wait_all_tasks_blocked()
            wanted = desired({"kubernetes-toolset.yaml": "new"}, 0, "kubernaut.io")
            store.replace([maps.apply(TARGET, manifest(TARGET, wanted, None))], "1")
            notifier.config_map_changed()
        assert server.asked == []
        async with running(notifier.run):
            await until(lambda: server.asked)
            await anyio.sleep(0.2)
    assert [asked.path for asked in server.asked] == ["/reload"]


async def test_readers_are_notified_of_what_is_published_when_work_begins() -> None:
    server, maps = ScriptedApiServer(Answer(b"{}"), Answer(b"{}")), FakeConfigMaps()
    wanted = desired({"kubernetes-toolset.yaml": "text"}, 0, "kubernaut.io")
    store: Store[ConfigMap] = Store(unexpected)
    store.replace([maps.apply(TARGET, manifest(TARGET, wanted, None))], "1")
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test") as kube:
        text = f"notify: {{url: '{server.url}/reload', delay: 50ms}}"
        async with running(Notifier(load(text, {}, {}), kube, store, TELEMETRY).run):
            await until(lambda: server.asked)
    assert [asked.path for asked in server.asked] == ["/reload"]
