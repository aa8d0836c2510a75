"""The HTTP server: health, readiness, metrics; nothing that shows topology."""

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import orjson
from aiohttp import web

from toolset.adapters.http.listening import listening
from toolset.errors import SettingsError

MetricsExposition = Callable[[str], tuple[bytes, str]]
"""Returns the exposition that an ``Accept`` header asks for, and its content type."""
Check = Callable[[], str]
"""Returns what is wrong, in a few words; empty when nothing is."""


class HealthServer:
    """Answers ``/health``, ``/livez``, ``/ready``, ``/readyz`` and ``/metrics``."""

    def __init__(
        self, liveness: Sequence[Check], readiness: Sequence[Check], metrics: MetricsExposition | None
    ) -> None:
        """Create it.

        Args:
            liveness: The process is live if none of these reports a problem.
            readiness: The replica is ready if none of these reports a problem.
            metrics: Returns the exposition for ``/metrics``; ``None`` when that is not here.
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
            SettingsError: The address is in use or not available on this host.
        """
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._live),
                web.get("/livez", self._live),
                web.get("/ready", self._ready),
                web.get("/readyz", self._ready),
            ]
        )
        if self._metrics is not None:
            app.add_routes([web.get("/metrics", partial(show_metrics, self._metrics))])
        async with AsyncExitStack() as stack:
            try:
                self.port = await stack.enter_async_context(listening(app, host, port))
            except OSError as error:
                place, why = f"{host or '*'}:{port}", os.strerror(error.errno or 0)
                raise SettingsError(f"cannot listen on {place}: {why}; choose another port with --port") from error
            yield

    def not_live(self) -> list[str]:
        """Return why the process should be restarted; empty if it should not."""
        return _failing(self._liveness)

    def not_ready(self) -> list[str]:
        """Return why the replica is not ready; empty if it is."""
        return _failing(self._readiness)

    async def _live(self, _: web.Request) -> web.Response:
        return _judged(self.not_live(), "ok", "stuck")

    async def _ready(self, _: web.Request) -> web.Response:
        return _judged(self.not_ready(), "ready", "not ready")


async def show_metrics(expose: MetricsExposition, request: web.Request) -> web.Response:
    """Answer with the exposition that the request takes."""
    body, content_type = expose(",".join(request.headers.getall("Accept", [])))
    return web.Response(body=body, headers={"Content-Type": content_type})


def _failing(checks: Sequence[Check]) -> list[str]:
    return [problem for check in checks if (problem := check())]


def _judged(failing: Sequence[str], good: str, bad: str) -> web.Response:
    if failing:
        return _answer(503, {"status": bad, "failing": failing})
    return _answer(200, {"status": good})


def _answer(status: int, content: dict[str, object]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(content), content_type="application/json")
