"""Idle connections and malformed requests to the HTTP server cost nothing that others need."""

import contextlib
import logging
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx
import pytest

from support.api_server import Answer, ScriptedApiServer
from support.descriptors import descriptors
from support.waiting import until
from toolset.adapters.http.health import HealthServer
from toolset.adapters.http.listening import BACKLOG, CONNECTIONS_LIMIT
from toolset.adapters.metrics import Metrics

IDLE = 5000


@contextmanager
def server_of_many() -> Generator[HealthServer]:
    with descriptors(3 * IDLE):
        yield HealthServer([], [], Metrics("1").expose)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_five_thousand_idle_connections_change_nothing_for_probes() -> None:
    backend = ScriptedApiServer(*[Answer(b"ok")] * 20)
    with server_of_many() as server, ExitStack() as idle:
        async with server.serve("127.0.0.1", 0), backend.serve():
            before = open_descriptors()
            for _ in range(IDLE // 50):
                for _ in range(50):
                    client = idle.enter_context(socket.socket())
                    client.setblocking(False)
                    client.bind(("127.0.0.2", 0))  # a pod and the kubelet have addresses of their own
                    client.connect_ex(("127.0.0.1", server.port))
                await anyio.lowlevel.checkpoint()
            most_kept = CONNECTIONS_LIMIT + BACKLOG
            await until(lambda: open_descriptors() - before - IDLE <= most_kept)
            new = httpx.Limits(max_keepalive_connections=0)  # a kubelet has a new connection for each probe
            async with httpx.AsyncClient(trust_env=False, limits=new) as asking:
                for _ in range(10):
                    assert (await asking.get(backend.url)).status_code == 200
                    assert (await asking.get(f"http://127.0.0.1:{server.port}/livez")).status_code == 200


async def test_a_client_that_keeps_its_connection_open_does_not_hold_up_the_shutdown() -> None:
    """Since Python 3.12.1 a closed server waits for its clients unless they are closed first."""
    server = HealthServer([], [], Metrics("1").expose)
    async with httpx.AsyncClient(trust_env=False) as scraper, contextlib.AsyncExitStack() as stack:
        with anyio.fail_after(10):
            async with server.serve("127.0.0.1", 0):
                half = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", server.port))
                await half.send(b"GET /livez HTT")
                assert (await scraper.get(f"http://127.0.0.1:{server.port}/livez")).status_code == 200


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x00\xa5\x01\r\n\r\n", b"GET /\x00\r\n\r\n"]
)
async def test_a_malformed_request_logs_no_traceback(request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    server = HealthServer([], [], Metrics("1").expose)
    with caplog.at_level(logging.INFO):
        async with server.serve("127.0.0.1", 0), await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            await stream.send(request_)
            assert (await stream.receive()).startswith(b"HTTP/1.")
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING] == []


async def test_a_bug_in_a_handler_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: str) -> tuple[bytes, str]:
        raise RuntimeError("a bug")

    server = HealthServer([], [], broken)
    async with server.serve("127.0.0.1", 0), httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{server.port}/metrics")).status_code == 500
    assert [record.exc_info is not None for record in caplog.records if record.name == "toolset.http"] == [True]
