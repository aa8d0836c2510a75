"""Server-sent events: each change of what is published, and a ``status`` event whenever the snapshot differs."""

import contextlib
import math
from typing import Final

import anyio
import msgspec
from aiohttp import web

from toolset.adapters.http.api import BASE, RefusedError, StatusSource
from toolset.core.status.snapshot import Change

STREAMS_LIMIT: Final = 64
HEARTBEAT_S: Final = 15.0
"""A comment is sent after this much silence, to detect disconnected clients, seconds."""
WRITE_S: Final = 10.0
"""How long a client may take to read what is sent, seconds."""
PATH: Final = f"{BASE}/events"


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """The data of the event ``status``.

    Attributes:
        revision: That of the snapshot that can be read from now on.
    """

    revision: int


class EventStream:
    """Answers ``/api/v1/events``; nothing is queued per client: each reads the remembered changes when it is ready."""

    def __init__(self, source: StatusSource, lasts_s: float = math.inf) -> None:
        """Create it; a stream ends after ``lasts_s`` seconds, and its client connects again."""
        self._source = source
        self._lasts_s = lasts_s
        self._clients: set[_Client] = set()
        self._is_closing = False

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    def close(self) -> None:
        """End every stream."""
        self._is_closing = True
        for client in self._clients:
            client.wake()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Send events until the client disconnects or the server stops."""
        if request.query:
            raise RefusedError(400, "an unknown parameter; there are none")
        if len(self._clients) >= STREAMS_LIMIT:
            raise RefusedError(503, f"{STREAMS_LIMIT} clients follow the events already", {"Retry-After": "5"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        client = _Client()
        self._clients.add(client)
        cancel = self._source.subscribe(client.wake)
        try:
            await response.prepare(request)
            # OSError and TimeoutError: the client disconnected, or does not read
            with contextlib.suppress(OSError, TimeoutError), anyio.move_on_after(self._lasts_s):
                await self._follow(response, client, _last_seen(request.headers.get("Last-Event-ID", "")))
        finally:
            cancel()
            self._clients.discard(client)
        return response

    async def _follow(self, response: web.StreamResponse, client: "_Client", last: int | None) -> None:
        source = self._source
        number = source.number if last is None or last > source.number else last
        await _write(response, b"retry: 2000\n\n")
        while not self._is_closing:
            changes, number = source.changes_after(number), source.number
            await _write(response, b"".join(map(_change, changes)) + _status(source.revision))
            while not await client.woken():
                await _write(response, b": alive\n\n")
            await anyio.sleep(source.settle_s)  # then no snapshot is older than the change


class _Client:
    """Wakes the task of one client; any number of wakes between two waits count once."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def wake(self) -> None:
        self._event.set()

    async def woken(self) -> bool:
        """Wait at most ``HEARTBEAT_S``; return whether it was woken."""
        with anyio.move_on_after(HEARTBEAT_S):
            await self._event.wait()
        woken = self._event.is_set()
        if woken:
            self._event = anyio.Event()
        return woken


def _last_seen(header: str) -> int | None:
    return int(header) if header.isascii() and header.isdecimal() and len(header) < 16 else None


def _change(change: Change) -> bytes:
    return b"id: %d\nevent: change\ndata: %s\n\n" % (change.number, msgspec.json.encode(change))


def _status(revision: int) -> bytes:
    return b"event: status\ndata: %s\n\n" % msgspec.json.encode(Revision(revision=revision))


async def _write(response: web.StreamResponse, data: bytes) -> None:
    with anyio.fail_after(WRITE_S):
        await response.write(data)
