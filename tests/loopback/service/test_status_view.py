"""The status of a running service says what happened, and one snapshot answers many requests."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import pytest

from support.api_server import FixedCredentials
from support.background import running
from support.build import service
from support.leader import ClusterLeader
from support.prober import UNHEALTHY, FakeProber
from support.waiting import until
from toolset.adapters.http.status_server import StatusServer
from toolset.adapters.kube.transport import KubeTransport
from toolset.config.loader import load
from toolset.config.options import required_keys
from toolset.config.settings import Settings
from toolset.core.status.problems import Condition
from toolset.model import Key
from toolset.runtime.multi_namespace_store import MultiNamespaceStore
from toolset.service.state import Stores
from toolset.service.status_service import serving
from toolset.service.status_view import Identity, StatusView
from toolset.service.supervisor import Supervisor
from toolset.telemetry.required_tools import RequiredToolsMonitor

TARGET = Key("kubernaut-system", "kubernaut-toolset-config")
KEY = Key("monitoring", "prometheus")


class Watched(ClusterLeader):
    """A leader with a status, and backends that answer as the test says."""

    def __init__(self) -> None:
        self.prober = FakeProber()
        super().__init__(self.prober)
        self.condition = Condition(role="leader", target=TARGET)

    @asynccontextmanager
    async def watched(self, settings: Settings) -> AsyncGenerator[tuple[StatusView, Supervisor]]:
        self.config_maps.replace([], "1")
        async with self.cluster:
            self.cluster.create("Namespace", {"metadata": {"name": TARGET.namespace}})
            async with self.leading(settings, self.cluster.url) as leading:
                stores = Stores(MultiNamespaceStore({"": self.services}), self.config_maps, self.namespaces)
                self.required = RequiredToolsMonitor(
                    lambda: required_keys(settings), lambda: leading.is_working, leading.history, self.events
                )
                view = StatusView(
                    Identity("me", "https://cluster"),
                    self.current,
                    stores,
                    leading,
                    lambda: self.condition,
                    self.required,
                )
                yield view, leading


async def test_the_status_follows_a_tool_from_its_discovery_to_its_loss() -> None:
    leader = Watched()
    leader.services.replace([service(), service("other", app="shop", port=80)], "1")
    settings = load("health: {interval: 100ms, timeout: 100ms, fall: 1}", {}, {})
    async with leader.watched(settings) as (view, leading):
        await until(lambda: (found := view.service(KEY)) is not None and found.published)
        found = view.service(KEY)
        assert found is not None
        assert (found.verdict, found.type, found.probe is not None) == ("Published", "prometheus", True)
        await until(lambda: view.snapshot().summary.write is not None)
        made = view.snapshot()
        assert (made.summary.verdicts, made.summary.sizes.services) == ({"NoMatch": 1, "Published": 1}, 2)
        assert [made.summary.installation.since] == [leading.led_since]
        assert made.summary.installation.since is not None
        leader.prober.outcomes[KEY] = UNHEALTHY
        await until(lambda: (found := view.service(KEY)) is not None and found.verdict == "Unhealthy")
        assert [each.kind for each in view.changes_after(0)] == ["added", "removed"]
    assert [leading.led_since] == [None]
    await until(lambda: view.snapshot().services == ())


async def test_series_and_rows_know_what_is_required_and_healthy() -> None:
    leader = Watched()
    leader.services.replace([service()], "1")
    settings = load("{health: {interval: 100ms, fall: 100}, publish: {required: [monitoring/prometheus]}}", {}, {})
    async with leader.watched(settings) as (view, _):
        await until(lambda: [each.healthy for each in view.tool_series()] == [True])
        found = view.service(KEY)
        assert found is not None
        assert found.required
        leader.prober.outcomes[KEY] = UNHEALTHY
        await until(lambda: [each.healthy for each in view.tool_series()] == [False])
        assert leader.required.published() == {KEY: True}


async def test_the_documents_are_those_of_the_service() -> None:
    leader = Watched()
    leader.services.replace([service()], "1")
    async with leader.watched(Settings()) as (view, _):
        await until(lambda: "custom_toolset.yaml" in view.snapshot().documents)
        assert "overrides.yaml" not in view.snapshot().documents


async def test_one_snapshot_answers_all_requests_of_a_moment() -> None:
    leader = Watched()
    leader.services.replace([service()], "1")
    async with leader.watched(Settings()) as (view, leading):
        await until(lambda: view.snapshot().summary.write is not None)
        first = view.snapshot()
        assert view.snapshot() is first
        leading.history.touch()
        await anyio.sleep(view.settle_s)
        second = view.snapshot()
        assert second is not first
        assert second.summary.revision > first.summary.revision


async def test_a_change_of_the_condition_is_reported_while_somebody_follows() -> None:
    leader = Watched()
    leader.services.replace([], "1")
    async with leader.watched(Settings()) as (view, _), running(view.run):
        await until(lambda: view.snapshot().summary.write is not None)
        before = view.revision
        leader.condition = Condition(role="leader", target=TARGET, out_of_contact="no answer for 200 s")
        await anyio.sleep(1.2)
        assert view.revision == before
        heard: list[int] = []
        cancel = view.subscribe(lambda: heard.append(view.revision))
        leader.condition = Condition(role="leader", target=TARGET)
        leader.condition = Condition(role="stopping", target=TARGET)
        await until(lambda: heard)
        cancel()
        await until(lambda: view.snapshot().summary.problems[0].word == "Stopping")


async def test_an_address_in_use_leaves_the_service_without_status(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "toolset")
    leader = Watched()
    leader.services.replace([], "1")
    async with leader.watched(Settings()) as (view, _):

        def served(text: str) -> AbstractAsyncContextManager[StatusServer | None]:
            kube = KubeTransport(FixedCredentials("http://127.0.0.1:1"), "test")
            return serving(load(f"status: {{{text}}}", {}, {}), view, kube, leader.metrics.expose)

        async with served("listen: '127.0.0.1:0'") as one:
            assert one is not None
            async with served(f"listen: '127.0.0.1:{one.port}'") as two:
                assert two is None
        async with served("enabled: false") as off:
            assert off is None
        files = "tls_cert_file: /nowhere/tls.crt, tls_key_file: /nowhere/tls.key"
        async with served(f"listen: '127.0.0.1:0', {files}") as without:
            assert without is None
    lines = [record.getMessage() for record in caplog.records if "status" in record.getMessage()]
    refused = "status not served: change the settings below status"
    assert lines == ["status served", refused, refused]
