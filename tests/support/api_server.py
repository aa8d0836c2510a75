"""An API server on a loopback socket that plays a script, and a TCP server for bytes that no HTTP server would send."""

import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Literal, Self

import anyio
import msgspec
import orjson
from aiohttp import web
from anyio.abc import SocketAttribute, SocketStream

from toolset.adapters.kube.credentials.providers import RestConfig


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = {}


class Stream(msgspec.Struct, frozen=True):
    """An answer in pieces, and what comes after the last one.

    Attributes:
        pieces: What is written, one after the other.
        end: Whether the server then ends the answer, cuts the connection, or says no more.
        pause_s: How long it waits after each piece, seconds.
    """

    pieces: Sequence[bytes]
    end: Literal["closed", "cut", "silent"] = "closed"
    pause_s: float = 0.0


class Asked(msgspec.Struct, frozen=True):
    """One request that arrived."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes


def status_error(
    code: int, reason: str = "", message: str = "", *, details: object = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return the answer with which the API server refuses."""
    return Answer(orjson.dumps(status(code, reason, message, details)), code, headers or {})


def status(code: int, reason: str = "", message: str = "", details: object = None) -> dict[str, object]:
    """Return a Status as the API server writes it."""
    content: dict[str, object] = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {}}
    content |= {"code": code, "reason": reason, "message": message}
    return content | ({"details": details} if details is not None else {})


def page(items: Sequence[object] | None, version: str = "10", token: str = "") -> Answer:
    """Return one page of a list."""
    metadata = {"resourceVersion": version} | ({"continue": token} if token else {})
    return Answer(orjson.dumps({"kind": "List", "metadata": metadata, "items": items}))


def line(kind: str, content: object) -> bytes:
    """Return one line of a watch."""
    return orjson.dumps({"type": kind, "object": content}) + b"\n"


@asynccontextmanager
async def serving(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], tls: SSLContext | None = None
) -> AsyncGenerator[str]:
    """Give the URL of a server on a port of its own that lets ``handle`` answer every request."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class ScriptedApiServer:
    """Answers every request with the next step of the script, and notes it."""

    def __init__(self, *script: Answer | Stream) -> None:
        self._script = deque(script)
        self.asked: list[Asked] = []
        self.under_way = 0
        self.url = ""

    @asynccontextmanager
    async def serve(self, tls: SSLContext | None = None) -> AsyncGenerator["ScriptedApiServer"]:
        """Serve on a port of its own inside the block."""
        async with serving(self._handle, tls) as self.url:
            yield self

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.method, request.path, dict(request.query), headers, await request.read()))
        step = self._script.popleft() if self._script else status_error(404, "NotFound", "the script is over")
        if isinstance(step, Stream):
            self.under_way += 1
            try:
                return await _play(request, step)
            finally:
                self.under_way -= 1
        return web.Response(body=step.body, status=step.status, headers=step.headers)


async def _play(request: web.Request, stream: Stream) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in stream.pieces:
        await response.write(piece)
        await anyio.sleep(stream.pause_s)
    if stream.end == "silent":
        await anyio.sleep(math.inf)
    if stream.end == "cut" and request.transport is not None:
        request.transport.close()
        return response
    await response.write_eof()
    return response


class FixedCredentials:
    """Credentials that never change, and note when they were refused."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, tls: SSLContext | None = None) -> None:
        self._access = RestConfig(url, tls, tuple((headers or {}).items()))
        self.refusals = 0

    async def __aenter__(self) -> Self:
        """Do nothing."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing."""

    async def current(self) -> RestConfig:
        """Return them."""
        return self._access

    def refused(self, value: RestConfig) -> None:
        """Count."""
        assert value is self._access
        self.refusals += 1


@asynccontextmanager
async def raw_server(talk: Callable[[SocketStream], Awaitable[None]]) -> AsyncGenerator[int]:
    """Give the port of a server that lets ``talk`` have each connection, and closes it afterwards."""

    async def handle(stream: SocketStream) -> None:
        async with stream:
            try:
                await talk(stream)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                return

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield listener.extra(SocketAttribute.local_port)  # noqa: S610 - this is no Django
        group.cancel_scope.cancel()


def saying(*pieces: bytes) -> Callable[[SocketStream], Awaitable[None]]:
    """Return a talk that reads one request, sends ``pieces``, and ends."""

    async def talk(stream: SocketStream) -> None:
        await request_head(stream)
        for piece in pieces:
            await stream.send(piece)

    return talk


async def request_head(stream: SocketStream) -> bytes:
    """Read up to the end of a request's headers."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += await stream.receive()
    return received


async def silence(stream: SocketStream) -> None:
    """Never answer; ends when the other side does."""
    while True:
        await stream.receive()
