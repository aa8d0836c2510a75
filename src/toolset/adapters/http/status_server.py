"""The HTTP server of the status: GET and HEAD, bounded, without cookies; for this machine, or authenticated."""

import ipaddress
import math
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Final

import anyio
import orjson
from aiohttp import web

from toolset.adapters.http import agent_endpoint, event_stream, openapi
from toolset.adapters.http.agent_endpoint import AgentEndpoint
from toolset.adapters.http.api import BASE, DISCOVER_GONE, RefusedError, StatusApi, StatusSource, known_parameters
from toolset.adapters.http.authentication import Authenticator
from toolset.adapters.http.event_stream import EventStream
from toolset.adapters.http.health import MetricsExposition, show_metrics
from toolset.adapters.http.listening import listening
from toolset.adapters.http.page.render import QUERY_LIMIT, Page
from toolset.adapters.http.rate_limit import PeerRateLimit

CONNECTIONS_LIMIT: Final = 128
REQUESTS_PER_S: Final = 50.0
BURST: Final = 100.0
"""Requests per second of one address, and how many at once; a page takes two."""
STREAM_S: Final = 25.0
"""How long an authenticated stream lasts, seconds: then its client reconnects and is authorized again."""
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer; a handler may set a more specific policy."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StatusServer:
    """Answers ``/``, the page, ``/api/v1``, and ``/mcp`` if it is enabled."""

    def __init__(
        self,
        source: StatusSource,
        version: str,
        authenticator: Authenticator | None = None,
        metrics: MetricsExposition | None = None,
        agents: AgentEndpoint | None = None,
    ) -> None:
        """Create it.

        Args:
            source: Asked at each request.
            version: The version of the service.
            authenticator: Decides who may read what; ``None`` allows everybody on this machine.
            metrics: Returns the exposition for ``/metrics``; ``None`` if it is not served here.
            agents: Answers ``/mcp``; ``None`` if it is not served here.
        """
        self._authenticator = authenticator
        self._metrics = metrics
        self._agents = agents
        self.events = EventStream(source, math.inf if authenticator is None else STREAM_S)
        self._api = StatusApi(source)
        self._source = source
        self._page = Page()
        self._openapi = orjson.dumps(openapi.document(version))
        self._limit = PeerRateLimit(REQUESTS_PER_S, BURST)
        self.port = 0

    @asynccontextmanager
    async def serve(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> AsyncGenerator[None]:
        """Serve inside the block.

        Args:
            host: The address to listen on.
            port: Port to listen on; 0 lets the system choose, see ``port``.
            tls: The TLS context; ``None`` for plain HTTP.

        Raises:
            OSError: The address is in use or not available on this host.
        """
        app = web.Application(middlewares=[self._guarded], client_max_size=1)
        app.add_routes(
            [
                web.get("/", self._show_page),
                *self._api.routes(),
                web.get(event_stream.PATH, self.events.handle),
                web.get(openapi.PATH, self._show_openapi),
            ]
        )
        if self._metrics is not None:
            app.add_routes([web.get("/metrics", partial(show_metrics, self._metrics))])
        if self._agents is not None:
            app.add_routes([web.route("*", agent_endpoint.PATH, self._agents.handle)])
        app.on_response_prepare.append(_with_headers)
        app.on_shutdown.append(self._close_streams)
        async with (
            self._agents.run() if self._agents is not None else nullcontext(),
            listening(app, host, port, tls=tls, connections=CONNECTIONS_LIMIT, streams=True) as self.port,
        ):
            yield

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests for other hosts, too many requests, and methods that write; answer every refusal as JSON."""
        try:
            await self._check(request)
            return await handler(request)
        except RefusedError as refused:
            return refused.answer()
        except web.HTTPNotFound:
            return RefusedError(404, f"there is no such path; {openapi.PATH} lists what there is").answer()

    async def _check(self, request: web.Request) -> None:
        if self._authenticator is None and not _is_local(request.headers.get("Host", "")):
            raise RefusedError(403, "the host of the request is not this machine: a web site may have sent it")
        if request.path == f"{BASE}/discover":
            raise RefusedError(410, DISCOVER_GONE)
        is_for_agents = self._agents is not None and request.path == agent_endpoint.PATH
        if request.method not in {"GET", "HEAD"} and not is_for_agents:
            raise RefusedError(405, "the status is read-only: GET and HEAD only", {"Allow": "GET, HEAD"})
        if not self._limit.take(request.remote or "", anyio.current_time()):
            raise RefusedError(429, "too many requests; try again in a second", {"Retry-After": "1"})
        if self._authenticator is not None:
            await self._authenticator.check(request)

    async def _show_page(self, request: web.Request) -> web.Response:
        query = known_parameters(request, "q").get("q", "")
        if len(query) > QUERY_LIMIT:
            raise RefusedError(400, f"`q` takes at most {QUERY_LIMIT} characters")
        body = self._page.render(self._source.snapshot(), query)
        headers = {"Content-Security-Policy": self._page.policy}
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)

    async def _show_openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=self._openapi, content_type="application/json")

    async def _close_streams(self, _: web.Application) -> None:
        self.events.close()


def _is_local(host: str) -> bool:
    """Return whether a Host header names this machine; a name that resolves here by DNS rebinding does not."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "toolset"
