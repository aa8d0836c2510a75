"""When an API server that does not answer is a reason to restart."""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from typing_extensions import override

from support.api_server import FixedCredentials
from support.background import running
from toolset.adapters.kube.body import LineReader
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.adapters.metrics import Metrics
from toolset.config.loader import load
from toolset.errors import InvalidError, UnavailableError
from toolset.service.informers import Informers


class Outage(KubeTransport):
    """An API server that nobody reaches, or one that takes a list and leaves it at that."""

    def __init__(self, *, silent: bool) -> None:
        super().__init__(FixedCredentials("http://127.0.0.1:9"), "test")
        self._silent = silent

    @override
    async def fetch(
        self, request: Request, *, limit_bytes: int, heard: Callable[[], None], idle_s: float = math.inf
    ) -> bytes:
        await anyio.sleep(math.inf if self._silent else 0)
        raise UnavailableError("refused")

    @override
    @asynccontextmanager
    async def lines(self, request: Request, *, idle_s: float, begin_s: float = 0.0) -> AsyncGenerator[LineReader]:
        yield self._fail()

    def _fail(self) -> LineReader:
        raise InvalidError("lists are not streamed") if self._silent else UnavailableError("refused")


@pytest.mark.parametrize("cap", ["30s", "5m"])
async def test_an_outage_is_no_reason_to_restart_however_seldom_a_request_is_tried_again(cap: str) -> None:
    made = Informers(load(f"controller: {{retry_cap: {cap}}}", {}, {}), Outage(silent=False), Metrics("1"))
    async with running(made.run):
        for _ in range(200):
            await anyio.sleep(30)
            assert made.stuck() == ""


@pytest.mark.parametrize(("cap", "after_s"), [("10ms", 165), ("30s", 165), ("5m", 705)])
async def test_a_reflector_that_does_not_turn_any_more_is_a_reason_to_restart(cap: str, after_s: int) -> None:
    made = Informers(load(f"controller: {{retry_cap: {cap}}}", {}, {}), Outage(silent=True), Metrics("1"))
    await anyio.sleep(1)
    async with running(made.run):
        await anyio.sleep(after_s)
        assert made.stuck() == ""
        await anyio.sleep(1)
        assert made.stuck() == f"a reflector has made no attempt for {after_s + 1} s"
