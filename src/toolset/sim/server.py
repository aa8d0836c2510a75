"""The API server over HTTP: a thin layer that reads requests, asks the store, and writes answers."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
import msgspec
import orjson
from aiohttp import web

from toolset.sim.discovery import DISCOVERY, DOCUMENTS
from toolset.sim.kinds import KINDS, Kind, Place
from toolset.sim.statuses import Object, Refused, is_map
from toolset.sim.store import Store
from toolset.sim.writing import Writer

BOOKMARK_S: Final = 60.0
WATCH_S: Final = 1800.0  # for a watch that names no timeout
_APPLY: Final = "application/apply-patch+yaml"
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_TYPES: Final = {"application/json", "application/merge-patch+json", _APPLY, _STRATEGIC}
_PATH: Final = re.compile(r"/(?:api|apis/([^/]+))/v1(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?")


class ApiServer:
    """Answers requests about a store; a watch that was silent for ``bookmark_s`` seconds gets a bookmark."""

    def __init__(self, store: Store, *, bookmark_s: float = BOOKMARK_S) -> None:
        self._store = store
        self._bookmark_s = bookmark_s
        self.writer = Writer(store)

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        """Serve on a free loopback port inside the block; give the URL."""
        app = web.Application(client_max_size=3 * 2**20)  # as the real one
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            if document := DOCUMENTS.get(request.path):
                return _json(document, content_type=DISCOVERY if "items" in document else "application/json")
            place = _place(request.path)
            if request.query.get("watch") in {"1", "true"}:
                return await self._watch(request, _selected(place, request.query))
            return self._answer(request, place, await _body(request) if request.body_exists else {})
        except Refused as refused:
            return _json(refused.status, refused.code)
        except (KeyError, ValueError, msgspec.ValidationError) as error:
            return _json(Refused(400, "BadRequest", f"the request cannot be read: {error!r}").status, 400)

    def _answer(self, request: web.Request, place: Place, body: Object) -> web.Response:
        manager = request.query.get("fieldManager") or request.headers.get("User-Agent", "unknown").split("/")[0]
        match request.method, bool(place.name):
            case "GET", False:
                return _json(self._list(_selected(place, request.query), request.query))
            case "POST", False:
                return _json(self.writer.create(place, body, manager), 201)
            case "GET", True:
                return _json(self.writer.existing(place))
            case "PUT", True:
                return _json(self.writer.replace(place, body, manager))
            case "PATCH", True if request.content_type == _APPLY:
                done, new = self.writer.apply(place, body, manager, force=request.query.get("force") == "true")
                return _json(done, 201 if new else 200)
            case "PATCH", True:
                strategic = request.content_type == _STRATEGIC
                return _json(self.writer.patch(place, body, manager, strategic=strategic))
            case "DELETE", True:
                return _json(self.writer.delete(place))
            case _:
                raise Refused(
                    405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {}
                )

    def _list(self, place: Place, query: Mapping[str, str]) -> Object:
        asked, limit = int(query.get("resourceVersion") or "0"), int(query.get("limit") or "0")
        if asked > self._store.version:
            causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
            text = f"Timeout: Too large resource version: {asked}, current: {self._store.version}"
            raise Refused(504, "Timeout", text, {"causes": causes, "retryAfterSeconds": 1})
        found = self._store.page(place, limit, query.get("continue", ""))
        items = [{name: each[name] for name in each.keys() - {"kind", "apiVersion"}} for each in found["items"]]
        return {"kind": f"{place.kind.name}List", "apiVersion": place.kind.version, **found, "items": items}

    async def _watch(self, request: web.Request, place: Place) -> web.StreamResponse:
        query, store = request.query, self._store
        version, events = store.version, self._first_events(place, query)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with anyio.move_on_after(float(query.get("timeoutSeconds") or WATCH_S)):
            while await _is_open(response, events):
                with anyio.move_on_after(self._bookmark_s) as silence:
                    if store.version == version:  # nothing was written meanwhile
                        await store.changed.wait()
                version, events = store.version, store.events(place, version)
                if silence.cancelled_caught and query.get("allowWatchBookmarks") == "true":
                    events = [*events, _bookmark(place.kind, version)]
        await response.write_eof()
        return response

    def _first_events(self, place: Place, query: Mapping[str, str]) -> list[Object]:
        since, stream = query.get("resourceVersion") or "0", query.get("sendInitialEvents") == "true"
        if since != "0" and not stream:
            return self._store.events(place, int(since))
        events: list[Object] = [{"type": "ADDED", "object": each} for each in self._store.all_in(place)]
        end = {"annotations": {"k8s.io/initial-events-end": "true"}}
        return [*events, _bookmark(place.kind, self._store.version, **end)] if stream else events


def _place(path: str) -> Place:
    found = _PATH.fullmatch(path)
    for kind in KINDS:
        if found and (kind.group, kind.plural) == (found[1] or "", found[3]):
            return Place(kind, found[2] or "", found[4] or "")
    raise Refused(404, "NotFound", "the server could not find the requested resource", {})


def _selected(place: Place, query: Mapping[str, str]) -> Place:
    selector = query.get("fieldSelector", "")
    name = selector.removeprefix("metadata.name=")
    if (selector and name == selector) or "labelSelector" in query:
        raise Refused(400, "BadRequest", "of selectors there is only fieldSelector=metadata.name=NAME here")
    return msgspec.structs.replace(place, name=name)


async def _body(request: web.Request) -> Object:
    if request.content_type not in _TYPES:
        raise Refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format", {})
    if not is_map(body := orjson.loads(await request.read())):
        raise ValueError("it is no JSON object")
    return body


async def _is_open(response: web.StreamResponse, events: Sequence[Object]) -> bool:
    """Write events; return whether more may follow."""
    if events:
        await response.write(b"".join(orjson.dumps(each) + b"\n" for each in events))
    return not events or events[-1]["type"] != "ERROR"


def _bookmark(kind: Kind, version: int, **metadata: object) -> Object:
    told = {"resourceVersion": str(version), **metadata}
    return {"type": "BOOKMARK", "object": {"kind": kind.name, "apiVersion": kind.version, "metadata": told}}


def _json(content: Object, code: int = 200, content_type: str = "application/json") -> web.Response:
    headers = {"Content-Type": content_type} | ({"Retry-After": "1"} if code == 504 else {})
    return web.Response(body=orjson.dumps(content), status=code, headers=headers)
