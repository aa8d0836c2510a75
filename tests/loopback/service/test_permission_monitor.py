import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager

import anyio
import orjson
import pytest
from aiohttp import web

from support.api_server import FixedCredentials, serving
from support.background import running
from support.waiting import until
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.config.loader import load
from toolset.config.settings import Settings
from toolset.runtime.current import Current
from toolset.service import permission_monitor
from toolset.service.permission_monitor import PermissionMonitor
from toolset.service.permissions import needed
from toolset.telemetry.observers import ClientMetrics


class Authorizer:
    """An API server that says what is allowed."""

    def __init__(self, *denied: tuple[str, str]) -> None:
        self.denied = set(denied)
        self.late = 0
        self.code = 201
        self.heard: list[tuple[str, str]] = []
        self.on_refusal: Callable[[], None] = lambda: None

    @property
    def asked(self) -> int:
        return len(self.heard)

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[KubeTransport]:
        answered = ClientMetrics(Metrics("1"), self.on_refusal).answered
        async with serving(self._review) as url, KubeTransport(FixedCredentials(url), "test", answered) as kube:
            yield kube

    async def _review(self, request: web.Request) -> web.Response:
        assert request.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        about = orjson.loads(await request.read())["spec"]["resourceAttributes"]
        self.heard.append((about["verb"], about["resource"]))
        allowed = self.heard[-1] not in self.denied and self.heard.count(self.heard[-1]) > self.late
        return web.Response(status=self.code, body=orjson.dumps({"status": {"allowed": allowed}}))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(permission_monitor, "FIRST_AFTER_S", 0.02)
    monkeypatch.setattr(permission_monitor, "AGAIN_AFTER_S", (0.02, 0.02))
    monkeypatch.setattr(permission_monitor, "CALM_S", 0.02)
    monkeypatch.setattr(permission_monitor, "PACE_S", 0.0)
    caplog.set_level(logging.INFO, "toolset")


async def synced() -> None:
    """Return at once: everything has been listed."""


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records]


def fields(log: pytest.LogCaptureFixture, names: Iterable[str]) -> list[object]:
    return [vars(log.records[0])[name] for name in names]


async def test_what_is_missing_is_named_once_and_what_is_granted_later_is_noticed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, metrics = Authorizer(("list", "services"), ("patch", "events")), Metrics("1")
    check = PermissionMonitor(Current(Settings()), metrics)
    async with server.serve() as kube, running(lambda: check.run(kube, synced)):
        await until(lambda: server.asked >= len(needed(Settings())) + 20)
        assert lines(caplog) == ["permission missing", "permission missing"]
        assert {*server.heard[-8:]} == server.denied  # and nothing else is asked again
        assert "k8s.namespace.name" not in vars(caplog.records[0])  # in every namespace
        assert fields(caplog, ("verb", "resource", "detail")) == [
            "list",
            "services",
            "may not list services in every namespace",
        ]
        assert check.unreadable() == (
            "may not list services in every namespace: add to the ClusterRole the rule "
            '{apiGroups: [""], resources: [services], verbs: [list]}'
        )
        assert b"toolset_permissions_missing 2.0" in metrics.expose()[0]
        server.denied.clear()
        await until(lambda: lines(caplog)[-1] == "permissions complete")
        assert (check.unreadable(), b"toolset_permissions_missing 0.0" in metrics.expose()[0]) == ("", True)


async def test_where_nothing_is_missing_it_asks_once_and_again_when_a_request_was_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, once = Authorizer(), len(needed(Settings()))
    check = PermissionMonitor(Current(Settings()), Metrics("1"))
    async with server.serve() as kube, running(lambda: check.run(kube, synced)):
        await until(lambda: server.asked == once)
        await anyio.sleep(0.1)
        assert server.asked == once
        server.denied.add(("watch", "configmaps"))
        check.refused()
        await until(lambda: lines(caplog) == ["permission missing"])


async def test_other_settings_need_other_permissions(caplog: pytest.LogCaptureFixture) -> None:
    server = Authorizer(("patch", "deployments"))
    settings = Current(Settings())
    check = PermissionMonitor(settings, Metrics("1"))
    async with server.serve() as kube, running(lambda: check.run(kube, synced)):
        await until(lambda: server.asked == len(needed(Settings())))
        settings.set(load("notify: {deployment: holmes/holmes}", {}, {}))
        await until(lambda: lines(caplog) == ["permission missing"])


async def test_an_api_server_that_cannot_be_asked_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    server = Authorizer(("list", "services"))
    server.code = 503
    check = PermissionMonitor(Current(Settings()), Metrics("1"))
    async with server.serve() as kube, running(lambda: check.run(kube, synced)):
        await until(lambda: server.asked > 3)
        assert (lines(caplog), check.unreadable()) == ([], "")
        server.code = 201
        await until(lambda: lines(caplog) == ["permission missing"])


async def test_a_question_that_is_refused_is_no_reason_to_ask_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission_monitor, "AGAIN_AFTER_S", (60.0, 60.0))
    server, check = Authorizer(), PermissionMonitor(Current(Settings()), Metrics("1"))
    server.code, server.on_refusal = 403, check.refused
    async with server.serve() as kube, running(lambda: check.run(kube, synced)):
        await until(lambda: server.asked == 1)
        await anyio.sleep(0.1)
        assert server.asked == 1


async def test_while_nothing_is_listed_it_asks_only_once_something_was_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Authorizer(("list", "services"))
    check = PermissionMonitor(Current(Settings()), Metrics("1"))
    async with server.serve() as kube, running(lambda: check.run(kube, anyio.sleep_forever)):
        await anyio.sleep(0.1)
        assert server.asked == 0
        check.refused()
        await until(lambda: lines(caplog) == ["permission missing"])


async def test_a_no_that_is_said_once_is_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    server, once = Authorizer(), len(needed(Settings()))
    server.late = 1
    check = PermissionMonitor(Current(Settings()), Metrics("1"))
    async with server.serve() as kube, running(lambda: check.run(kube, synced)):
        await until(lambda: server.asked == 2 * once)
        assert lines(caplog) == []


async def test_what_is_missing_is_reason_enough_for_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    server = Authorizer(("list", "services"))
    check = PermissionMonitor(Current(Settings()), Metrics("1"))
    async with server.serve() as kube, running(lambda: check.run(kube, synced)):
        await until(lambda: server.asked > len(needed(Settings())) + 2)
        before = server.asked
        check.refused()
        await until(lambda: server.asked >= before + 4)
        assert {*server.heard[before:]} == server.denied
        assert lines(caplog) == ["permission missing"]
