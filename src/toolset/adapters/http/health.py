"""The HTTP server: health, readiness, metrics; nothing that shows topology."""

import asyncio  # noqa: TID251 - aiohttp serves on its loop
import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import orjson
from aiohttp import http_exceptions, web
from typing_extensions import override

from toolset.errors import SettingsError

CONNECTIONS_LIMIT: Final = 64
"""Connections that are kept open. For each one more the oldest of the peer that has most is closed, so that the idle
connections of a pod are never in the way of a probe by the kubelet."""
BACKLOG: Final = 64
"""Connections that are accepted at once, beyond the limit."""
_KEEP_ALIVE_S: Final = 30.0

_log: Final = logging.getLogger("toolset.http")

Check = Callable[[], str]
"""Returns what is wrong, in a few words; empty when nothing is."""


class HealthServer:
    """Answers ``/health``, ``/livez``, ``/ready``, ``/readyz`` and ``/metrics``."""

    def __init__(
        self, liveness: Sequence[Check], readiness: Sequence[Check], metrics: Callable[[str], tuple[bytes, str]]
    ) -> None:
        """Make it.

        Args:
            liveness: All must be silent for the process to be left alone.
            readiness: All must be silent for the replica to be ready.
            metrics: Returns the exposition that an ``Accept`` header asks for, and its content type.
        """
        self._liveness = liveness
        self._readiness = readiness
        self._metrics = metrics
        self.port = 0

    @asynccontextmanager
    async def serve(self, host: str, port: int) -> AsyncGenerator[None]:
        """Serve inside the block.

        Args:
            host: Address to listen on; empty means all, IPv4 and IPv6.
            port: Port to listen on; 0 lets the system choose, see ``port``.

        Raises:
            SettingsError: The address is in use or not ours.
        """
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._live),
                web.get("/livez", self._live),
                web.get("/ready", self._ready),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._show_metrics),
            ]
        )
        runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE_S,
            shutdown_timeout=2.0,
            logger=_WithoutClientErrors(_log),
        )
        await runner.setup()
        try:
            listening = await self._listen(runner, host, port)
            async with listening:
                self.port = listening.sockets[0].getsockname()[1]
                yield
        finally:
            await runner.cleanup()

    @staticmethod
    async def _listen(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
        server = runner.server
        assert server is not None  # noqa: S101 - there is one from setup() on

        def accept() -> asyncio.Protocol:
            _make_room([each.transport for each in server.connections if each.transport is not None])
            return server()

        try:
            loop = asyncio.get_running_loop()
            return await loop.create_server(accept, host or None, port, backlog=BACKLOG)
        except OSError as error:
            place, why = f"{host or '*'}:{port}", os.strerror(error.errno or 0)
            raise SettingsError(f"cannot listen on {place}: {why}; choose another port with --port") from error

    async def _live(self, _: web.Request) -> web.Response:
        return _judged(self._liveness, "ok", "stuck")

    async def _ready(self, _: web.Request) -> web.Response:
        return _judged(self._readiness, "ready", "not ready")

    async def _show_metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._metrics(",".join(request.headers.getall("Accept", [])))
        return web.Response(body=body, headers={"Content-Type": content_type})


def _make_room(transports: Sequence[asyncio.Transport]) -> None:
    """Close as many connections, oldest first, that one more is within the limit."""
    kept = [transport for transport in transports if not transport.is_closing()]
    if len(kept) < CONNECTIONS_LIMIT:
        return
    peers = Counter(map(_peer, kept))
    while len(kept) >= CONNECTIONS_LIMIT:
        busiest = max(peers, key=peers.__getitem__)
        oldest = next(transport for transport in kept if _peer(transport) == busiest)
        kept.remove(oldest)
        peers[busiest] -= 1
        oldest.abort()


def _peer(transport: asyncio.Transport) -> str:
    address = transport.get_extra_info("peername")
    return str(address[0]) if address else ""


class _WithoutClientErrors(logging.LoggerAdapter[logging.Logger]):
    """Passes on what the server logs, but for requests that are not HTTP: anybody can send those."""

    @override
    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:
        """Log at debug level, and without a traceback, what a client did wrong."""
        if isinstance(kwargs.get("exc_info"), http_exceptions.HttpProcessingError):
            self.logger.debug("malformed request")
        else:
            super().log(level, msg, *args, **kwargs)  # type: ignore[arg-type]


def _judged(checks: Sequence[Check], good: str, bad: str) -> web.Response:
    failing = [problem for check in checks if (problem := check())]
    if failing:
        return _answer(503, {"status": bad, "failing": failing})
    return _answer(200, {"status": good})


def _answer(status: int, content: dict[str, object]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(content), content_type="application/json")
