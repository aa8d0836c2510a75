import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest

from toolset.adapters.http.health import Check, HealthServer
from toolset.adapters.metrics import Metrics
from toolset.errors import SettingsError

ENDPOINTS = ("/health", "/livez", "/ready", "/readyz", "/metrics")


@asynccontextmanager
async def asking(server: HealthServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with server.serve("127.0.0.1", 0):
        base = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            yield client


def server(*problems: str) -> HealthServer:
    def check(problem: str) -> Check:
        return lambda: problem

    return HealthServer([], [check(problem) for problem in problems], Metrics("1.2.3").expose)


@pytest.mark.parametrize("path", ["/health", "/livez"])
async def test_a_process_that_is_not_ready_is_alive(path: str) -> None:
    async with asking(server("services: not listed yet")) as client:
        answer = await client.get(path)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/ready", "/readyz"])
async def test_readiness_names_what_fails(path: str) -> None:
    async with asking(server("", "stopping", "services: forbidden")) as client:
        answer = await client.get(path)

    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "failing": ["stopping", "services: forbidden"]}


@pytest.mark.parametrize("path", ["/ready", "/readyz"])
async def test_silent_checks_mean_ready(path: str) -> None:
    async with asking(server("", "")) as client:
        answer = await client.get(path)

    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("accepted", ["text/plain", "application/openmetrics-text"])
async def test_metrics_are_exposed_as_the_reader_takes_them(accepted: str) -> None:
    async with asking(server()) as client:
        answer = await client.get("/metrics", headers={"Accept": accepted})

    assert answer.headers["content-type"].startswith(f"{accepted}; version=")
    assert 'toolset_build_info{version="1.2.3"} 1.0' in answer.text


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_nothing_can_be_posted(path: str) -> None:
    async with asking(server()) as client:
        assert (await client.post(path)).status_code == 405


async def test_there_is_nothing_else() -> None:
    async with asking(server()) as client:
        assert [(await client.get(path)).status_code for path in ("/", "/debug", "/tools")] == [404] * 3


async def test_headers_have_a_limit() -> None:
    async with asking(server()) as client:
        assert (await client.get("/health", headers={"X-Long": "x" * 100_000})).status_code == 400


async def test_an_empty_host_listens_on_all_addresses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with server().serve("", port), httpx.AsyncClient(trust_env=False) as client:
        for host in ("127.0.0.1", "[::1]") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
            assert (await client.get(f"http://{host}:{port}/health")).status_code == 200


async def test_a_port_in_use_is_the_users_to_fix_and_nothing_stays_open() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SettingsError, match=r"cannot listen on .*in use"),
    ):
        async with server().serve("127.0.0.1", taken.getsockname()[1]):
            pytest.fail("it cannot listen there")


async def test_the_port_is_free_again_after_the_block() -> None:
    health = server()
    async with asking(health):
        pass
    before = health.port
    async with health.serve("127.0.0.1", before):
        assert health.port == before
