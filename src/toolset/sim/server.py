"""The API server over HTTP: a thin layer that reads requests, and writes answers and streams."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
import orjson
from aiohttp import web

from toolset.sim.api import Api, Call, bookmark
from toolset.sim.discovery import DISCOVERY
from toolset.sim.kinds import Place
from toolset.sim.statuses import Object, Refused
from toolset.sim.store import Store
from toolset.sim.tables import as_tables
from toolset.sim.writing import Writer

BOOKMARK_S: Final = 60.0
WATCH_S: Final = 1800.0  # for a watch that names no timeout


class ApiServer:
    """Answers requests about a store; sends a bookmark on a watch that was silent for ``bookmark_s`` seconds."""

    def __init__(self, store: Store, *, bookmark_s: float = BOOKMARK_S) -> None:
        self._store = store
        self._bookmark_s = bookmark_s
        self.writer = Writer(store)
        self._api = Api(store, self.writer)

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        """Serve on a free loopback port inside the block; yield the URL."""
        app = web.Application(client_max_size=3 * 2**20)  # like the real one
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read() if request.body_exists else b""
        agent = request.headers.get("User-Agent", "unknown")
        accept = request.headers.get("Accept", "")
        call = Call(request.method, request.path, request.query, request.content_type, agent, body, accept)
        if call.is_watch:
            return await self._watch(request, call)
        code, content = self._api.answer(call)
        return _json(content, code)

    async def _watch(self, request: web.Request, call: Call) -> web.StreamResponse:
        try:
            place, version, events = self._api.watch(call)
        except Refused as refused:
            return _json(refused.status, refused.code)
        except ValueError as error:
            return _json(Refused(400, "BadRequest", f"the request cannot be read: {error!r}").status, 400)
        query, store = call.query, self._store
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        silent_since = anyio.current_time()
        with anyio.move_on_after(float(query.get("timeoutSeconds") or WATCH_S)):
            while await _is_open(response, self._shown(call, place, events)):
                silent_since = anyio.current_time() if events else silent_since  # writes elsewhere do not count
                with anyio.CancelScope(deadline=silent_since + self._bookmark_s) as silence:
                    if store.version == version:  # nothing was written meanwhile
                        await store.changed.wait()
                version, events = store.version, store.events(place, version)
                if silence.cancelled_caught:
                    silent_since = anyio.current_time()
                    if query.get("allowWatchBookmarks") == "true":
                        events = [*events, bookmark(place.kind, version)]
        await response.write_eof()
        return response

    def _shown(self, call: Call, place: Place, events: list[Object]) -> list[Object]:
        return as_tables(place.kind, events, self.writer.now()) if call.wants_table else events


async def _is_open(response: web.StreamResponse, events: Sequence[Object]) -> bool:
    """Write events; return whether more may follow."""
    if events:
        await response.write(b"".join(orjson.dumps(each) + b"\n" for each in events))
    return not events or events[-1]["type"] != "ERROR"


def _json(content: Object, code: int = 200) -> web.Response:
    content_type = DISCOVERY if content.get("kind") == "APIGroupDiscoveryList" else "application/json"
    headers = {"Content-Type": content_type} | ({"Retry-After": "1"} if code == 504 else {})
    return web.Response(body=orjson.dumps(content), status=code, headers=headers)
