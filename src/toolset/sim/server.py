"""The API server over HTTP: a thin layer that reads requests, asks the store, and writes answers."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import msgspec
import orjson
import yaml
from aiohttp import web

from toolset.sim import discovery
from toolset.sim.kinds import KINDS, REVIEW, Kind
from toolset.sim.options import Options, wrong
from toolset.sim.ownership import updated
from toolset.sim.patches import JSON_PATCH, MERGE, STRATEGIC
from toolset.sim.shapes import blank
from toolset.sim.statuses import Object, Refused, bad_request, not_a_number, unknown_method, unknown_path
from toolset.sim.store import Matches, Page, Store, Watch, selection
from toolset.sim.writing import Writer

BODY_LIMIT_BYTES: Final = 3 * 2**20
BOOKMARK_S: Final = 60.0
_APPLY: Final = "application/apply-patch+yaml"
_PATH: Final = re.compile(r"/(?:api|apis/([^/]+))/v1(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?")
_NO_MANAGER: Final = "Required value: is required for apply patch"
_NOT_FORCED: Final = "Forbidden: may not be specified for non-apply patch"
_UNKNOWN_TYPE: Final = (
    "the body of the request was in an unknown format - accepted media types include: "
    "application/json, application/yaml, application/vnd.kubernetes.protobuf"
)
_KINDS: Final[Mapping[tuple[str, str], Kind]] = {(kind.group, kind.plural): kind for kind in KINDS}


class Target(msgspec.Struct, frozen=True):
    """What a path names; ``name`` is empty for a collection."""

    kind: Kind
    namespace: str
    name: str


class ApiServer:
    """Answers requests about a store.

    Args:
        store: The objects.
        bookmark_s: How long a watch is silent before a bookmark, seconds.

    Attributes:
        writer: Writes to the store.
        denied: Pairs of verb and resource that a SelfSubjectAccessReview says no to; nothing else heeds them.
    """

    def __init__(self, store: Store, *, bookmark_s: float = BOOKMARK_S) -> None:
        self._store = store
        self._bookmark_s = bookmark_s
        self._changed = anyio.Event()
        self._documents: dict[str, Object] = {}
        self.writer = Writer(store)
        self.denied: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        """Serve on a free loopback port inside the block; give the URL."""
        app = web.Application(client_max_size=BODY_LIMIT_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
        await runner.setup()
        self._store.on_change = self._wake
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            address = f"127.0.0.1:{runner.addresses[0][1]}"
            self._documents = discovery.documents(address)
            yield f"http://{address}"
        finally:
            await runner.cleanup()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except Refused as refused:
            retry = refused.body.get("details", {}).get("retryAfterSeconds")
            return _json(refused.body, refused.code, {"Retry-After": str(retry)} if retry else {})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if path in {"/healthz", "/livez", "/readyz"}:
            return web.Response(text="ok")
        if path in self._documents:
            return _json(self._documents[path])
        if path == f"/apis/{REVIEW.version}/{REVIEW.plural}":
            if request.method != "POST":
                raise unknown_method()
            return _json(self._review(await _body(request), _manager(request)), 201)
        if not path.startswith(tuple(f"/{'apis/' + each if each else 'api'}/v1/" for each in discovery.GROUPS)):
            return web.Response(status=404, text="404 page not found\n")
        return await self._about(request, _target(path))

    async def _about(self, request: web.Request, target: Target) -> web.StreamResponse:
        match request.method, bool(target.name):
            case "GET", False:
                return await self._list(request, target)
            case "GET", True:
                return _json(self._get(request, target))
            case ("POST", False) if target.namespace or not target.kind.namespaced:
                new = await _body(request)
                return _json(self.writer.create(target.kind, target.namespace, new, _manager(request)), 201)
            case ("DELETE", False) if target.namespace:
                return await self._list(request, target)
            case "PUT", True:
                new = await _body(request)
                return _json(self.writer.update(target.kind, target.namespace, target.name, new, _manager(request)))
            case "PATCH", True:
                return await self._patch(request, target)
            case "DELETE", True:
                options: Any = await _body(request) if request.can_read_body else None
                return _json(self.writer.delete(target.kind, target.namespace, target.name, options))
            case _:
                raise unknown_method()

    def _get(self, request: web.Request, target: Target) -> Object:
        self._store.known(request.query.get("resourceVersion") or "0")
        return self.writer.existing(target.kind, target.namespace, target.name)

    async def _list(self, request: web.Request, target: Target) -> web.StreamResponse:
        options = Options.read(request.query)
        matches = selection(target.kind, options.field_selector, options.label_selector)
        if options.watch:
            return await self._watch(request, target, options, matches)
        found = self._store.page(target.kind, target.namespace, matches, options.page)
        if request.method == "DELETE":
            for each in found["items"]:
                self.writer.delete(target.kind, target.namespace, each["metadata"]["name"], None)
        items = [{name: each[name] for name in each.keys() - {"kind", "apiVersion"}} for each in found["items"]]
        return _json({"kind": f"{target.kind.name}List", "apiVersion": target.kind.version, **found, "items": items})

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        kind, namespace, name = target.kind, target.namespace, target.name
        content_type, force = request.content_type, request.query.get("force")
        if content_type not in {_APPLY, MERGE, STRATEGIC, JSON_PATCH}:
            raise Refused(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        if content_type != _APPLY:
            if force is not None:
                raise wrong("PatchOptions", [("force", "FieldValueForbidden", _NOT_FORCED)])
            try:
                patch = orjson.loads(await request.read())
            except orjson.JSONDecodeError as error:
                raise bad_request("invalid JSON patch") from error
            return _json(self.writer.patch(kind, namespace, name, patch, content_type, _manager(request)))
        if "fieldManager" not in request.query:
            raise wrong("PatchOptions", [("fieldManager", "FieldValueRequired", _NO_MANAGER)])
        config = await _config(request)
        done, new = self.writer.apply(kind, namespace, name, config, _manager(request), force=force == "true")
        return _json(done, 201 if new else 200)

    async def _watch(
        self, request: web.Request, target: Target, options: Options, matches: Matches
    ) -> web.StreamResponse:
        watch, events = self._begin(target, options, matches)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        with anyio.move_on_after(options.timeout_s):
            while not await _written(response, events):
                with anyio.move_on_after(self._bookmark_s) as silence:
                    await self._changed.wait()
                events = watch.take()
                if silence.cancelled_caught and options.bookmarks:
                    events = [*events, _bookmark(target.kind, watch.version)]
        await response.write_eof()
        return response

    def _begin(self, target: Target, options: Options, matches: Matches) -> tuple[Watch, list[Object]]:
        """Return a watch and its first events."""
        version = options.page.version or str(self._store.version)
        if not version.isdecimal():
            raise Refused(500, "", f"resourceVersion: {not_a_number(version)}")
        after = self._store.version if options.initial else int(version)
        watch = Watch(self._store, target.kind, target.namespace, matches, after)
        if not options.initial:
            return watch, watch.take()
        try:
            self._store.known(version)
        except Refused as refused:
            return watch, [{"type": "ERROR", "object": refused.body}]
        found = self._store.page(target.kind, target.namespace, matches, Page())
        events: list[Object] = [{"type": "ADDED", "object": each} for each in found["items"]]
        if options.bookmarks:
            end = {"annotations": {"k8s.io/initial-events-end": "true"}}
            events.append(_bookmark(target.kind, after, **end))
        return watch, events

    def _review(self, body: Any, manager: str) -> Object:
        review = self.writer.read(REVIEW, "", body)
        owners = updated(REVIEW.shape, {"metadata": {}}, review, manager)
        asked: Mapping[str, str] = review.get("spec", {}).get("resourceAttributes", {})
        allowed = (asked.get("verb", ""), asked.get("resource", "")) not in self.denied
        return {**self.writer.owned(REVIEW, review, owners, []), "status": {"allowed": allowed}}


def _target(path: str) -> Target:
    found = _PATH.fullmatch(path)
    kind = _KINDS.get((found[1] or "", found[3])) if found else None
    if found is None or kind is None:
        raise unknown_path()
    if (not kind.namespaced and found[2]) or (kind.namespaced and found[4] and not found[2]):
        raise unknown_path()
    return Target(kind, found[2] or "", found[4] or "")


def _manager(request: web.Request) -> str:
    return request.query.get("fieldManager") or request.headers.get("User-Agent", "unknown").split("/")[0]


async def _body(request: web.Request) -> Any:
    if request.content_type not in {"application/json", "application/yaml"}:
        raise Refused(415, "UnsupportedMediaType", _UNKNOWN_TYPE)
    body = await request.read()
    try:
        return orjson.loads(body) if request.content_type == "application/json" else yaml.safe_load(body)
    except (orjson.JSONDecodeError, yaml.YAMLError) as error:
        raise bad_request(f"the object provided is unrecognized: couldn't get version/kind; {error}") from error


async def _config(request: web.Request) -> Any:
    body = await request.read()
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return yaml.safe_load(body)
        except yaml.YAMLError as error:
            raise bad_request(f"error encoding patch: {error}") from error


async def _written(response: web.StreamResponse, events: Sequence[Object]) -> bool:
    """Write events; return whether the last one ends the watch."""
    if events:
        await response.write(b"".join(orjson.dumps(each) + b"\n" for each in events))
    return bool(events) and events[-1]["type"] == "ERROR"


def _bookmark(kind: Kind, version: int, **metadata: object) -> Object:
    told = {"kind": kind.name, "apiVersion": kind.version, **blank(kind.shape)}
    return {"type": "BOOKMARK", "object": {**told, "metadata": {"resourceVersion": str(version), **metadata}}}


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json", headers=headers)
