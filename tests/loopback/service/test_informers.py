"""What the service waits for and what it can do without, where the API server refuses it or is silent about it."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, Literal

import anyio
import pytest
from aiohttp import web

from support.api_server import FixedCredentials, line, serving, status
from support.background import running
from support.waiting import until
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.wire import END_OF_LIST
from toolset.adapters.metrics import Metrics
from toolset.config.loader import load
from toolset.config.settings import Settings
from toolset.model import namespace_key
from toolset.service import informers
from toolset.service.informers import Informers

NAMESPACES: Final = "/api/v1/namespaces"
KINDS: Final = {"services": "Service", "configmaps": "ConfigMap", "namespaces": "Namespace"}


class Server:
    """An API server with one Namespace, `a`, that streams lists; ``namespaces`` says what it does about Namespaces."""

    def __init__(self, namespaces: Literal["listed", "refused", "silent"]) -> None:
        self.namespaces = namespaces
        self.asked: list[str] = []

    @asynccontextmanager
    async def informers(self, settings: Settings) -> AsyncGenerator[Informers]:
        """Give informers that run inside the block."""
        async with serving(self._handle) as url, KubeTransport(FixedCredentials(url), "test") as kube:
            made = Informers(settings, kube, Metrics("1"))
            async with running(made.run):
                yield made

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        is_odd = request.path == NAMESPACES
        if is_odd and self.namespaces == "refused":
            return web.json_response(status(403, "Forbidden", "namespaces is forbidden"), status=403)
        response = web.StreamResponse()
        await response.prepare(request)
        if not is_odd or self.namespaces == "listed":
            kind = KINDS[request.path.rpartition("/")[2]]
            if is_odd:
                metadata = {"name": "a", "uid": "u", "resourceVersion": str(len(self.asked))}
                await response.write(line("ADDED", {"kind": kind, "metadata": metadata}))
            end = {"resourceVersion": str(len(self.asked)), "annotations": {END_OF_LIST: "true"}}
            await response.write(line("BOOKMARK", {"kind": kind, "metadata": end}))
        await anyio.sleep(math.inf)
        return response


async def test_a_service_that_may_list_namespaces_begins_with_them() -> None:
    server = Server("listed")
    async with server.informers(Settings()) as made:
        with anyio.fail_after(5):
            await made.wait_synced()
        assert made.namespaces.get(namespace_key("a")) is not None
        listed = made.namespaces.version
        with anyio.fail_after(5):
            await made.refresh()
        assert made.namespaces.version != listed


async def test_a_service_that_is_refused_namespaces_is_neither_late_nor_ever_unwell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(informers, "NAMESPACES_WITHIN_S", 3600.0)
    monkeypatch.setattr(informers, "CONTACT_LOST_S", 1.0)  # less than the machine is up
    settings = load("controller: {retry_base: 5ms, retry_cap: 10ms}", {}, {})
    server = Server("refused")
    async with server.informers(settings) as made:
        with anyio.fail_after(5):
            await made.wait_synced()
            await made.refresh()
        await until(lambda: server.asked.count(NAMESPACES) >= 3)
        assert (made.unsynced(), made.out_of_contact(), made.stuck()) == ("", "", "")
        assert not made.namespaces.is_synced


async def test_a_server_that_is_silent_about_namespaces_delays_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(informers, "NAMESPACES_WITHIN_S", 0.05)
    server = Server("listed")
    async with server.informers(Settings()) as made:
        with anyio.fail_after(5):
            await made.wait_synced()
            server.namespaces = "silent"
            await made.refresh()
        assert (made.unsynced(), made.out_of_contact(), made.stuck()) == ("", "", "")
    async with server.informers(Settings()) as made:
        with anyio.fail_after(5):
            await made.wait_synced()
        assert (made.unsynced(), made.out_of_contact(), made.stuck()) == ("", "", "")


async def test_where_some_namespaces_are_watched_namespaces_are_not_asked_for() -> None:
    server = Server("listed")
    async with server.informers(load("discovery: {watch_namespaces: [a, b]}", {}, {})) as made:
        with anyio.fail_after(5):
            await made.wait_synced()
            await made.refresh()
        assert NAMESPACES not in server.asked
        assert not made.namespaces.is_synced


async def test_the_config_map_of_the_admins_own_is_listed_by_name_before_anything_works() -> None:
    server = Server("listed")
    async with server.informers(load("output: {overrides_from: mine}", {}, {})) as made:
        with anyio.fail_after(5):
            await made.wait_synced()
        assert made.overrides is not None
        assert made.overrides.is_synced
        assert server.asked.count("/api/v1/namespaces/kubernaut-system/configmaps") == 2
        assert Informers(load("", {}, {}), made._kube, Metrics("1")).overrides is None


async def test_the_config_map_is_listed_again_on_demand() -> None:
    server = Server("listed")
    async with server.informers(Settings()) as made:
        with anyio.fail_after(5):
            await made.wait_synced()
            listed = made.config_maps.version
            made.relist_config_map()
            await until(lambda: made.config_maps.version != listed)
