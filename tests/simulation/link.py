"""The wire between a simulated process and the embedded API server: no sockets, the same bytes, faults on the way."""

import asyncio  # noqa: TID251 - futures are what a loop outside of anyio can resolve
import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import aiohttp
import orjson

from simulation.clock import ProcessLoop, Scheduler
from toolset.adapters.kube.body import Response
from toolset.adapters.kube.credentials.rest_config import RestConfig
from toolset.adapters.kube.wire import Request
from toolset.sim.api import Api, Call, bookmark
from toolset.sim.kinds import LEASE, Place
from toolset.sim.statuses import Object, Refused
from toolset.sim.store import Store

BOOKMARK_S: Final = 60.0
TOO_LARGE: Final = {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}
LAGGING: Final = Refused(504, "Timeout", "Timeout: Too large resource version", TOO_LARGE).status
INTERNAL: Final = Refused(500, "InternalError", "an error on the server has prevented the watch").status
REASONS: Final = {401: "Unauthorized", 403: "Forbidden", 409: "Conflict", 429: "TooManyRequests"}


@dataclass
class Weather:
    """What the network and the API server do to the requests of one process; by default nothing.

    Attributes:
        partitioned: Nothing arrives, either way.
        errors: Codes that requests are refused with.
        error_rate: How many of them, 0 to 1.
        lost_rate: How many requests take effect although their answer is lost.
        retry_after_s: How long 429 and 503 ask to wait, seconds.
        slow_s: The longest latency, each way, seconds.
        writes_only: Lists and watches are spared.
        config_maps_only: Everything except writes of ConfigMaps is spared, as by a webhook that refuses them.
    """

    partitioned: bool = False
    errors: tuple[int, ...] = ()
    error_rate: float = 0.0
    retry_after_s: int = 1
    lost_rate: float = 0.0
    slow_s: float = 0.02
    writes_only: bool = False
    config_maps_only: bool = False

    def spares(self, call: Call) -> bool:
        """Return whether errors and lost answers do not concern ``call``."""
        is_read = call.method == "GET"
        return (self.writes_only and is_read) or (self.config_maps_only and (is_read or "/configmaps" not in call.path))


class Reply:
    """A response: fits ``Response`` by shape. A stream has a body that grows."""

    def __init__(self, status: int, body: "Stream", headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers
        self.content = body

    def close(self) -> None:
        self.content.is_closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Stream:
    """A body, in the process's own loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, silent_s: float | None = None) -> None:
        self.is_closed = False
        self._loop = loop
        self._silent_s = silent_s
        self._chunks: list[bytes] = []
        self._end: Exception | None = None
        self._is_over = False
        self._waiting: asyncio.Future[None] | None = None

    def feed(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._wake()

    def end(self, error: Exception | None = None) -> None:
        self._end, self._is_over = error, True
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def readany(self) -> bytes:
        while not self._chunks:
            if self._is_over:
                if self._end is not None:
                    raise self._end
                return b""
            self._waiting = waiting = self._loop.create_future()
            timer = self._loop.call_later(self._silent_s, _expire, waiting) if self._silent_s else None
            try:
                await waiting
            finally:
                if timer is not None:
                    timer.cancel()
        whole, self._chunks = b"".join(self._chunks), []
        return whole


def _expire(waiting: "asyncio.Future[Any]", error: type[Exception] = aiohttp.SocketTimeoutError) -> None:
    if not waiting.done():
        waiting.set_exception(error("timeout"))


@dataclass(eq=False)
class _Watch:
    """An open watch, as the server has it."""

    link: "Link"
    place: Place
    stream: Stream
    sent_at: float
    after: int
    pending: list[Object] = field(default_factory=list[Object])
    is_frozen: bool = False


@dataclass(frozen=True)
class Served:
    """A request that the server carried out, for the checks."""

    link: "Link"
    call: Call
    code: int
    before: Object | None


class Server:
    """The API server, as all processes reach it.

    Attributes:
        observers: Called with each request that was carried out.
        sent: Called with each request that a process sends.
        refused: Called with each request that a fault refused.
        cache_lags: A streamed list is refused, as by a watch cache that does not reach the version of etcd.
        lists_hang: A list of Services in one piece is never answered, as on a link that is too thin for it.
        digest: Of all requests.
    """

    def __init__(self, scheduler: Scheduler, store: Store, api: Api, chance: random.Random) -> None:
        self.scheduler = scheduler
        self.store = store
        self.api = api
        self.chance = chance
        self.digest = hashlib.sha256()
        self.requests = 0
        self.observers: list[Callable[[Served], None]] = []
        self.sent: Callable[[Link, Call], None] = lambda _link, _call: None
        self.refused: Callable[[Link, Call, int], None] = lambda _link, _call, _code: None
        self.cache_lags = False
        self.lists_hang = False
        self.watches: list[_Watch] = []
        store.listener = self._changed

    def latency(self, link: "Link") -> float:
        return self.chance.uniform(0.0005, link.weather.slow_s)

    def cut(self, link: "Link | None", how: str) -> None:
        """End the watches of a process, or all of them.

        Args:
            link: The process; ``None`` for all.
            how: ``clean``, ``broken``, ``torn`` inside a line, ``failed`` with an event that says so, or ``frozen``.
        """
        for watch in [each for each in self.watches if link in {None, each.link}]:
            if how == "frozen":
                watch.is_frozen = True
                continue
            if how == "torn":
                watch.stream.feed(b'{"type":"MODIFIED","object":{"kind":"Ser')
            if how == "failed" and not (watch.is_frozen or watch.link.weather.partitioned):
                watch.stream.feed(orjson.dumps({"type": "ERROR", "object": INTERNAL}) + b"\n")
            self._end(watch, None if how in {"clean", "failed"} else aiohttp.ClientPayloadError("connection reset"))

    def _end(self, watch: _Watch, error: Exception | None = None) -> None:
        if watch in self.watches:
            self.watches.remove(watch)
            if not (watch.is_frozen or watch.link.weather.partitioned):  # else nothing arrives, not even the end
                watch.stream.end(error)

    def _changed(self, place: Place, event: Object) -> None:
        for watch in self.watches:
            if watch.place.has(place) and self.store.version > watch.after:
                if not watch.pending:
                    self.scheduler.after(self.latency(watch.link), self._flush, watch)
                watch.pending.append(event)

    def _flush(self, watch: _Watch) -> None:
        events, watch.pending = watch.pending, []
        if watch.stream.is_closed and watch in self.watches:
            self.watches.remove(watch)
        if watch.is_frozen or watch.link.weather.partitioned or not events or watch not in self.watches:
            watch.is_frozen = watch.is_frozen or watch.link.weather.partitioned  # what was lost cannot come later
            return
        watch.sent_at = self.scheduler.now
        watch.stream.feed(b"".join(orjson.dumps(each) + b"\n" for each in events))

    def _mark(self, watch: _Watch) -> None:
        """Send a bookmark after a silence, and check again later."""
        if watch not in self.watches:
            return
        if watch.stream.is_closed:
            self.watches.remove(watch)
            return
        if self.scheduler.now - watch.sent_at >= BOOKMARK_S - 0.001:
            if self.store.version >= watch.after:  # else it follows a future that there is no more: silence
                watch.pending.append(bookmark(watch.place.kind, self.store.version))
                self._flush(watch)
            watch.sent_at = self.scheduler.now
        self.scheduler.at(watch.sent_at + BOOKMARK_S, self._mark, watch)

    def arrive(self, link: "Link", call: Call, reply: "asyncio.Future[Response]", silent_s: float | None) -> None:
        """Carry out a request, and let the answer go back."""
        weather, loop = link.weather, link.loop
        if weather.partitioned or link.is_gone:
            return
        spared = weather.spares(call)
        if weather.errors and not spared and self.chance.random() < weather.error_rate:
            code = self.chance.choice(weather.errors)
            link.world_note("fault", f"{code} to {link.name} {call.method} {call.path}")
            status = Refused(code, REASONS.get(code, "InternalError"), "injected").status
            headers = {"Retry-After": str(weather.retry_after_s)} if code in {429, 503} else {}
            self.refused(link, call, code)
            self._answer(link, reply, Reply(code, _whole(loop, status), headers))
            return
        if self.lists_hang and _is_in_one_piece(call):
            return
        if call.is_watch:
            self._open(link, call, reply, silent_s)
            return
        before = link.target() if call.method == "PATCH" else None
        code, content = self.api.answer(call)
        served = Served(link, call, code, before)
        for observer in self.observers:
            observer(served)
        if not spared and weather.lost_rate and self.chance.random() < weather.lost_rate:
            link.world_note("fault", f"answer lost to {link.name} {call.method} {call.path} ({code})")
            self.scheduler.after(self.latency(link), _fail, reply, aiohttp.ServerDisconnectedError())
            return
        self._answer(link, reply, Reply(code, _whole(loop, content), {"Date": link.date()}))

    def _open(self, link: "Link", call: Call, reply: "asyncio.Future[Response]", silent_s: float | None) -> None:
        stream = Stream(link.loop, silent_s)
        if self.cache_lags and call.query.get("sendInitialEvents") == "true":
            self._answer(link, reply, Reply(504, _whole(link.loop, LAGGING), {}))
            return
        try:
            place, _, events = self.api.watch(call)
        except Refused as refused:
            self._answer(link, reply, Reply(refused.code, _whole(link.loop, refused.status), {}))
            return
        if events:
            stream.feed(b"".join(orjson.dumps(each) + b"\n" for each in events))
        self._answer(link, reply, Reply(200, stream, {}))
        if events and events[-1]["type"] == "ERROR":
            stream.end()
            return
        watch = _Watch(link, place, stream, self.scheduler.now, int(call.query.get("resourceVersion") or 0))
        self.watches.append(watch)
        self.scheduler.after(BOOKMARK_S, self._mark, watch)
        self.scheduler.after(float(call.query.get("timeoutSeconds") or 1800), self._end, watch)

    def _answer(self, link: "Link", reply: "asyncio.Future[Response]", answer: Reply) -> None:
        self.scheduler.after(self.latency(link), _resolve, link, reply, answer)


def _is_in_one_piece(call: Call) -> bool:
    """Return whether the answer is every Service at once: a streamed list, or one that is not paged."""
    if call.method != "GET" or not call.path.endswith("/services"):
        return False
    if call.is_watch:
        return call.query.get("sendInitialEvents") == "true"
    return "limit" not in call.query or call.query.get("resourceVersion") == "0"


def _whole(loop: asyncio.AbstractEventLoop, content: Object) -> Stream:
    stream = Stream(loop)
    stream.feed(orjson.dumps(content))
    stream.end()
    return stream


def _resolve(link: "Link", reply: "asyncio.Future[Response]", answer: Reply) -> None:
    if not (reply.done() or link.weather.partitioned or link.is_gone):
        reply.set_result(answer)


def _fail(reply: "asyncio.Future[Response]", error: Exception) -> None:
    if not reply.done():
        reply.set_exception(error)


class Link:
    """The wire of one process; fits ``Wire`` by shape.

    Attributes:
        weather: What happens to its requests; the world sets it.
        is_gone: The process was killed.
    """

    def __init__(
        self,
        server: Server,
        loop: ProcessLoop,
        name: str,
        target: Callable[[], Object | None],
        date: Callable[[], str],
        note: Callable[[str, str], None],
    ) -> None:
        self.weather = Weather()
        self.is_gone = False
        self.loop = loop
        self.name = name
        self.target = target
        self.date = date
        self.world_note = note
        self.sent = 0
        self._server = server

    async def send(
        self,
        access: RestConfig,
        request: Request,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own bound
    ) -> Response:
        """Send a request; return the answer."""
        del access
        if request.before_send is not None:
            request.before_send()
        agent = request.headers.get("User-Agent", "kubernaut-dynamic-toolset")
        call = Call(request.method, request.path, request.params, request.content_type, agent, request.body)
        server, loop = self._server, self.loop
        self.sent += 1
        server.requests += 1
        head = f"{server.scheduler.now:.6f} {self.name} {call.method} {call.path} {[*call.query.items()]} {agent}\n"
        server.digest.update(head.encode() + call.body)
        server.sent(self, call)
        if not call.is_watch and LEASE.plural not in call.path:
            self.world_note("request", f"{self.name} {call.method} {call.path}")
        reply: asyncio.Future[Response] = loop.create_future()
        server.scheduler.after(server.latency(self), server.arrive, self, call, reply, timeout.sock_read)
        bounds = [each for each in (timeout.total, timeout.sock_read) if each]
        expired: type[Exception] = aiohttp.ServerTimeoutError
        if self.weather.partitioned:
            expired = aiohttp.ConnectionTimeoutError
            bounds.append(timeout.sock_connect or 10.0)
        timer = loop.call_later(min(bounds, default=60.0), _expire, reply, expired)
        try:
            return await reply
        finally:
            timer.cancel()
