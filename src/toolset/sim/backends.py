"""Sample backends: one HTTP server that answers like Prometheus, Grafana, Jaeger and Elasticsearch.

The ``Host`` header selects the backend. The answers of each product were copied from real ones or their sources.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Literal, Self, TypeAlias

import anyio
import msgspec
from aiohttp import web

Product: TypeAlias = Literal["prometheus", "grafana", "jaeger", "elasticsearch"]
_JSON: Final = "application/json"


class Answer(msgspec.Struct, frozen=True):
    """The answer of a backend at one path."""

    body: str
    content_type: str = "text/plain"
    status: int = 200
    headers: Mapping[str, str] = {}


_LOGIN: Final = Answer('<a href="/login">Found</a>.', "text/html", 302, {"Location": "/login"})
PRODUCTS: Final[Mapping[Product, Mapping[str, Answer]]] = {
    "prometheus": {
        "/-/healthy": Answer("Prometheus Server is Healthy.\n"),
        "/-/ready": Answer("Prometheus Server is Ready.\n"),
        "/api/v1/query": Answer(
            '{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1764435600,"1"]}]}}',
            _JSON,
        ),
    },
    "grafana": {
        "/": _LOGIN,
        "/api/health": Answer('{"commit":"af8d5d9c","database":"ok","version":"11.6.0"}', _JSON),
    },
    "jaeger": {
        "/": Answer("<!doctype html><title>Jaeger UI</title>", "text/html"),
        "/api/services": Answer('{"data":["checkout"],"total":1,"limit":0,"offset":0,"errors":null}', _JSON),
    },
    "elasticsearch": {
        "/": Answer(
            '{"name":"logs-0","cluster_name":"logs","cluster_uuid":"QlXk1sZyTmW3vRb0aJcE5g",'
            '"version":{"number":"8.15.0"},"tagline":"You Know, for Search"}',
            _JSON,
        ),
        "/_cluster/health": Answer('{"cluster_name":"logs","status":"green"}', _JSON),
    },
}
"""By product, its answers by path; any other path is not found."""


class Backends:
    """All backends, on one loopback port; use it as an async context manager.

    An authority is the host and the port of a Service, as they are published.

    Attributes:
        address: Host and port of the server.
        requests: The number of requests to each authority.
    """

    def __init__(self) -> None:
        self.address = ""
        self.requests: Counter[str] = Counter()
        self._products: dict[str, Product] = {}
        self._moods: dict[str, Answer | None] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Listen."""
        self.address = await self._stack.enter_async_context(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening; hanging requests are aborted."""
        await self._stack.aclose()

    def put(self, authority: str, product: Product) -> None:
        """Make ``authority`` a ``product``."""
        self._products[authority] = product

    def connect_to(self, authorities: Iterable[str] = ()) -> dict[str, str]:
        """Return where to dial each authority that was put, or is named: the value of ``TOOLSET_TEST_CONNECT_TO``.

        One that is only named answers 404 until it is put.
        """
        return dict.fromkeys([*self._products, *authorities], self.address)

    def fail(self, authority: str, status: int = 503) -> None:
        """Answer with ``status`` from now on, like a proxy without a backend."""
        self._moods[authority] = Answer("no healthy upstream", status=status)

    def hang(self, authority: str) -> None:
        """Accept requests from now on, and never answer."""
        self._moods[authority] = None

    def redirect(self, authority: str, location: str) -> None:
        """Answer with a redirect from now on, like a login page."""
        self._moods[authority] = Answer("", status=302, headers={"Location": location})

    def heal(self, authority: str) -> None:
        """Answer like the product again."""
        self._moods.pop(authority, None)

    @asynccontextmanager
    async def _serve(self) -> AsyncGenerator[str]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        authority = request.host
        self.requests[authority] += 1
        product = self._products.get(authority)
        normal = PRODUCTS[product].get(request.path) if product else None
        answer = self._moods.get(authority, normal or Answer("not found", status=404))
        if answer is None:
            await anyio.sleep_forever()
            raise AssertionError
        return web.Response(
            text=answer.body, content_type=answer.content_type, status=answer.status, headers=answer.headers
        )
