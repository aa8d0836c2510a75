"""The lister-watcher of a reflector: paged lists, and watches decoded line by line."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

import msgspec
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from toolset.adapters.kube.body import LineReader
from toolset.adapters.kube.decoding import decode
from toolset.adapters.kube.status import Status, error_from
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.wire import (
    END_OF_LIST,
    Added,
    BookmarkLine,
    Modified,
    ObjectList,
    Removed,
    Sketch,
    WatchError,
)
from toolset.adapters.kube.wire import Request
from toolset.core.detection.reduction import Reduction
from toolset.errors import OutOfSyncError, ToolsetError, TransientError, UnavailableError
from toolset.model import ConfigMap, Key, Namespace, Service
from toolset.runtime.listwatch import PAGE_SIZE, Applied, Bookmark, Deleted, Event, Page, Skipped
from toolset.runtime.store import Stored

V = TypeVar("V", bound=Stored)

WATCH_TIMEOUT_S: Final = (300.0, 600.0)
"""The server ends a watch after a random time between these two (client-go's range)."""
IDLE_S: Final = 75.0
"""Silence after which a watch is considered dead, seconds: the server sends a bookmark about every minute.

It applies from the start, since readiness and liveness depend on it: two such watches, and the list that follows them,
end before readiness does. A server without bookmarks costs a new watch each time, and a list after ten.
"""
LIST_LIMIT_BYTES: Final = 32 * 2**20
"""Maximum size of a list in one piece: about 25,000 ordinary Services. A larger one is requested in pages. While it
arrives it takes twice as much memory."""
PAGE_LIMIT_BYTES: Final = 16 * 2**20
"""Maximum size of a page; a larger one is requested with fewer objects. Ten of the largest objects fit."""
YIELD_BYTES: Final = 512 * 1024
"""How much of a page is decoded before other tasks run; about an ordinary page of 500 Services."""
LATE_S: Final = 15.0
"""Grace time for a server that should have ended a watch, seconds."""

_WITH_OBJECT: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})
_WITHOUT_OBJECT: Final = frozenset({"BOOKMARK", "ERROR"})
_HEAD: Final = 80  # bytes of a line within which the API server names the kind
_SKETCH: Final = msgspec.json.Decoder(Sketch)
_PAGE: Final = msgspec.json.Decoder(ObjectList)


class Resource(msgspec.Struct, Generic[V], frozen=True):
    """What to list and watch, and how to read it.

    Attributes:
        path: The path of the collection.
        kind: The Python type of one object, named as the API names it.
        field_selector: Applied to both calls; empty for all.
        reduce: Returns an object without unused fields, before it is stored.
    """

    path: str
    kind: type[V]
    field_selector: str = ""
    reduce: Callable[[V], V] = lambda stored: stored


def services(namespace: str, reduction: Reduction) -> Resource[Service]:
    """Return all Services, or those of one namespace, each reduced to what detection reads."""
    path = f"/api/v1/namespaces/{namespace}/services" if namespace else "/api/v1/services"
    return Resource(path, Service, reduce=reduction.reduce)


def config_map(key: Key) -> Resource[ConfigMap]:
    """Return the one ConfigMap ``key``; the selector lets RBAC restrict the watch to its name."""
    return Resource(f"/api/v1/namespaces/{key.namespace}/configmaps", ConfigMap, f"metadata.name={key.name}")


def namespaces(prefix: str, name: str = "") -> Resource[Namespace]:
    """Return all Namespaces, or the one called ``name``; of their labels only those below ``prefix`` are kept."""
    selector = f"metadata.name={name}" if name else ""

    def reduce(namespace: Namespace) -> Namespace:
        kept = {key: value for key, value in namespace.labels.items() if key.startswith(f"{prefix}/")}
        return replace(namespace, metadata=replace(namespace.metadata, labels=kept))

    return Resource("/api/v1/namespaces", Namespace, selector, reduce=reduce)


class KubeSource(Generic[V]):
    """The lister-watcher of one resource."""

    def __init__(
        self,
        transport: KubeTransport,
        resource: Resource[V],
        *,
        jitter: Callable[[], float],
        idle_s: float = IDLE_S,
    ) -> None:
        """Create it.

        Args:
            transport: The session with the server.
            resource: What to list and watch.
            jitter: Returns a number in [0, 1).
            idle_s: How long a watch may be silent, seconds.
        """
        self._transport = transport
        self._resource = resource
        self._jitter = jitter
        self._idle_s = idle_s
        self._kind = resource.kind.__name__
        item = resource.kind
        self._item: msgspec.json.Decoder[V] = msgspec.json.Decoder(item)
        self._line = msgspec.json.Decoder(
            Added[item] | Modified[item] | Removed[item] | BookmarkLine | WatchError  # type: ignore[valid-type]  # a type chosen at run time
        )

    async def list(
        self, *, version: str, token: str, limit: int = PAGE_SIZE, heard: Callable[[], None] = lambda: None
    ) -> Page[V]:
        """Return one page; see ``runtime.listwatch.ListerWatcher``."""
        params = self._selectors()
        if token:
            params |= {"limit": str(limit), "continue": token}
        elif version:  # served from the watch cache in one piece; a limit would send the request to etcd
            params |= {"resourceVersion": version, "resourceVersionMatch": "NotOlderThan"}
        else:
            params |= {"limit": str(limit)}
        request = Request("GET", self._resource.path, params)
        limit_bytes = PAGE_LIMIT_BYTES if "limit" in params else LIST_LIMIT_BYTES
        try:
            return await self._page(await self._transport.fetch(request, limit_bytes=limit_bytes, heard=heard))
        except MemoryError as error:  # there may be enough for smaller pages
            raise UnavailableError("there is no memory for the list", incomplete=True) from error

    async def _page(self, body: bytes) -> Page[V]:
        """Decode a page object by object, so that at most one is in memory in full.

        Other tasks run meanwhile: megabytes of labels take seconds.
        """
        items, decoded = list[V](), 0
        try:
            page = decode(_PAGE, body)
            for item in page.items or ():
                text = bytes(item)
                items.append(self._resource.reduce(decode(self._item, text)))
                decoded += len(text)
                if decoded >= YIELD_BYTES:
                    decoded = 0
                    await checkpoint()
        except msgspec.DecodeError as error:
            raise OutOfSyncError(f"the list could not be decoded: {error}") from error
        if page.kind not in {"List", f"{self._kind}List"}:  # a table, or a proxy's page: not an empty list
            raise OutOfSyncError(f"the answer is no list of {self._kind} but of kind {page.kind[:64]!r}")
        return Page(items, page.metadata.resource_version, page.metadata.next_token)

    @asynccontextmanager
    async def watch(self, *, version: str, stream_list: bool) -> AsyncGenerator["KubeStream[V]"]:
        """Open a watch; see ``runtime.listwatch.ListerWatcher``."""
        shortest, longest = WATCH_TIMEOUT_S
        timeout_s = int(shortest + (longest - shortest) * self._jitter())
        params = self._selectors() | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(timeout_s),
        }
        if version:
            params["resourceVersion"] = version
        if stream_list:
            params |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        request = Request("GET", self._resource.path, params)
        async with self._transport.lines(request, idle_s=min(self._idle_s, timeout_s + LATE_S)) as reader:
            yield KubeStream(reader, self._line, self._resource)

    def _selectors(self) -> dict[str, str]:
        selector = self._resource.field_selector
        return {"fieldSelector": selector} if selector else {}


class KubeStream(Generic[V]):
    """An open watch."""

    def __init__(
        self,
        reader: LineReader,
        decoder: msgspec.json.Decoder[Added[V] | Modified[V] | Removed[V] | BookmarkLine | WatchError],
        resource: Resource[V],
    ) -> None:
        self._reader = reader
        self._decoder = decoder
        self._reduce = resource.reduce
        self._kind = resource.kind.__name__
        self._mark = f'"kind":"{self._kind}"'.encode()

    async def next(self) -> Sequence[Event[V]]:
        """Return the events that have arrived; see ``runtime.listwatch.EventStream``."""
        try:
            return [self._event(line) for line in await self._reader.next()]
        except MemoryError as error:  # what the lines said is lost
            raise OutOfSyncError("there is no memory for the events of the watch") from error

    def _event(self, line: bytes) -> Event[V]:
        if line.find(self._mark, 0, _HEAD) < 0 and (skipped := self._unknown(line)) is not None:
            return skipped
        try:
            decoded = decode(self._decoder, line)
        except msgspec.DecodeError as error:
            if (skipped := self._unknown(line)) is not None:
                return skipped
            raise OutOfSyncError(f"a watch line could not be decoded: {error}") from error
        match decoded:
            case Added(stored) | Modified(stored):
                return Applied(self._reduce(stored))
            case Removed(stored):
                return Deleted(stored)
            case BookmarkLine(marked):
                ended = marked.metadata.annotations.get(END_OF_LIST) == "true"
                return Bookmark(marked.metadata.resource_version, initial_end=ended)
            case WatchError(status):
                raise _ended_by(status)

    def _unknown(self, line: bytes) -> Skipped | None:
        """Return the event for a skipped ``line``, if it is of an unknown type or a wrong kind."""
        try:
            sketch = decode(_SKETCH, line)
        except msgspec.DecodeError:
            return None
        if sketch.type in _WITHOUT_OBJECT:
            return None
        if sketch.type not in _WITH_OBJECT:
            return Skipped(f"type {sketch.type[:64]}")
        kind = sketch.object.kind
        if kind == "Table":
            raise OutOfSyncError("the server sends tables instead of objects")
        return Skipped(f"kind {kind[:64]}") if kind not in {"", self._kind} else None


def _ended_by(status: Status) -> ToolsetError:
    """Return the error that ended a stream: after any but 429 an event may be missing (client-go lists too)."""
    error = error_from(status, status.code)
    if status.code == 429 or isinstance(error, OutOfSyncError):
        return error
    asked_s = error.retry_after_s if isinstance(error, TransientError) else 0.0
    return OutOfSyncError(str(error), retry_after_s=asked_s)
