"""A proxy in front of the API server that breaks what goes through it, in every way in which a network does."""

import bisect
import socket
import ssl
import struct
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import parse_qs, urlsplit

import anyio
import msgspec
import orjson
import trustme
import yaml
from anyio.abc import Listener, SocketAttribute, SocketStream
from anyio.from_thread import start_blocking_portal
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

import controlplane
from controlplane import ControlPlane

Kind = Literal["watch", "list", "write"]
EVERY: Final[frozenset[Kind]] = frozenset({"watch", "list", "write"})
LOOPBACK: Final = "127.0.0.1"
LINGER_S: Final = 0.5
"""How long the API server may still work on a write whose client is gone, seconds."""
_HEAD_LIMIT_BYTES: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 s: a close drops everything and sends RST
_BROKEN: Final = (
    OSError,  # an SSLError is one
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.DelimiterNotFound,
)


class Seen(msgspec.Struct, frozen=True):
    """A request that reached the proxy.

    Attributes:
        at: When, on the monotonic clock, seconds.
        verb: The HTTP method.
        path: With the query.
        user_agent: As the client sent it.
        kind: What it asks for; the read of one object counts as a list.
    """

    at: float
    verb: str
    path: str
    user_agent: str
    kind: Kind


class Reply(msgspec.Struct, frozen=True):
    """What the proxy answers in the API server's place."""

    status: int
    body: bytes
    content_type: str = "application/json"
    retry_after_s: int = 0

    def encode(self) -> bytes:
        """Return it as it goes over the wire."""
        head = f"HTTP/1.1 {self.status} Fault\r\nContent-Type: {self.content_type}\r\nConnection: close\r\n"
        head += f"Content-Length: {len(self.body)}\r\n"
        head += f"Retry-After: {self.retry_after_s}\r\n" if self.retry_after_s else ""
        return f"{head}\r\n".encode() + self.body


def status(code: int, reason: str, retry_after_s: int = 0) -> Reply:
    """Return an error as the API server words it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return Reply(code, orjson.dumps(body), retry_after_s=retry_after_s)


GONE: Final = status(410, "Expired")
THROTTLED: Final = status(429, "TooManyRequests", retry_after_s=1)
BROKEN: Final = status(500, "InternalError")
UNAVAILABLE: Final = status(503, "ServiceUnavailable")
PAGE: Final = Reply(200, b"<!doctype html>\n<title>Sign in</title>\n", "text/html; charset=utf-8")
"""What a login portal or a load balancer says, with the status of a success."""


class _Faults(msgspec.Struct, frozen=True):
    """What goes wrong now, each for some kinds of requests."""

    frozen: frozenset[Kind] = frozenset()
    late: frozenset[Kind] = frozenset()
    late_by_s: float = 0.0
    torn: frozenset[Kind] = frozenset()
    cleanly: bool = False
    replied: frozenset[Kind] = frozenset()
    reply: Reply = UNAVAILABLE


class _Connection:
    """A client's connection: what was asked on it last, and how it is to end."""

    def __init__(self, raw: SocketStream) -> None:
        self.raw = raw
        self.scope = anyio.CancelScope()
        self.came_at = time.monotonic()
        self.kind: Kind | None = None
        self.reset = False
        self.path = ""
        self.stalled = False
        self.answering: TLSStream | None = None  # once the answer to what was asked last has begun
        self.writing = anyio.Lock()

    async def say(self, client: TLSStream, piece: bytes) -> None:
        """Send the client something; one at a time, as a stream takes it."""
        async with self.writing:
            await client.send(piece)

    async def close(self) -> None:
        if self.reset:
            with suppress(OSError):
                bare = self.raw.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
                bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        await anyio.aclose_forcefully(self.raw)


class FaultProxy:
    """Terminates TLS on loopback and speaks TLS to the API server; use it as a context manager.

    One connection of the client has one connection to the API server. Bytes go through as they are, so that a client
    sees each answer cut where the API server itself cut it. It runs on a thread of its own; every command takes effect
    before it returns. Faults add up until :meth:`heal`, and those that take kinds mean every request without any.

    Attributes:
        url: Where it listens.
        ca_file: The authority, in PEM, that signed its certificate.
        requests: What reached it, oldest first; a request that it holds back is here, one that it refuses is not.
        silent: When each connection came that has asked nothing, on the monotonic clock, seconds.
    """

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        authority = trustme.CA()
        self._directory = directory
        self.ca_file = directory / "ca.crt"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self._server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate = authority.issue_cert(LOOPBACK).private_key_and_cert_chain_pem
        certificate.write_to_path(str(directory / "tls.pem"))
        self._server_tls.load_cert_chain(directory / "tls.pem")
        self._client_tls = ssl.create_default_context(cafile=plane.ca_file)
        self._upstream = urlsplit(plane.url)
        self._port = controlplane.free_ports()
        self.url = f"https://{LOOPBACK}:{self._port}"
        self.requests: list[Seen] = []
        self.silent: list[float] = []
        self._connections: set[_Connection] = set()
        self._faults = _Faults()
        self._changed: anyio.Event
        self._listener: Listener[SocketStream] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal("trio", name="fault-proxy"))
            stack.enter_context(self._portal.wrap_async_context_manager(self._serving()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kubeconfig(self, direct: str) -> str:
        """Return the path of a kubeconfig that is ``direct`` but goes through here."""
        config = yaml.safe_load(Path(direct).read_text(encoding="utf-8"))
        config["clusters"][0]["cluster"] = {"server": self.url, "certificate-authority": str(self.ca_file)}
        path = self._directory / "kubeconfig"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return str(path)

    def attempts(self, since: float = 0.0) -> list[float]:
        """Return when a client wanted something: each request, and each connection that never came to one."""
        return sorted(at for at in (*self.silent, *(seen.at for seen in self.requests)) if at >= since)

    # --- Commands

    def cut(self, *kinds: Kind, reset: bool) -> None:
        """Close the connections that there are, with RST or with FIN; new ones are served."""
        self._portal.call(self._cut, frozenset(kinds) or EVERY, reset)

    def freeze(self, *kinds: Kind) -> None:
        """Forward nothing any more in either direction, and close nothing; new connections hang as well."""
        self._change(frozen=frozenset(kinds) or EVERY)

    def stall(self, part: str) -> None:
        """Forward no answer any more to who asked for a path with ``part`` in it, for good; new ones are served."""
        self._portal.call(self._stall, part)

    def delay(self, by_s: float, *kinds: Kind) -> None:
        """Forward every piece of an answer ``by_s`` seconds late."""
        self._change(late=frozenset(kinds) or EVERY, late_by_s=by_s)

    def tear(self, *kinds: Kind, cleanly: bool = False) -> None:
        """Close each connection in the middle of the next thing that is answered.

        For a watch that is in the middle of a line; for a write it has been made, and its answer is lost.

        Args:
            kinds: Whose answers.
            cleanly: End the answer as HTTP demands it, so that only the last line shows that something is missing.
        """
        self._change(torn=frozenset(kinds) or EVERY, cleanly=cleanly)

    def answer(self, reply: Reply, *kinds: Kind, cut: bool = False) -> None:
        """Give ``reply`` to new requests; what is open goes on, or is closed with FIN at the same time."""
        self._change(replied=frozenset(kinds) or EVERY, reply=reply)
        if cut:
            self.cut(*kinds, reset=False)

    def fail_watches(self, reply: Reply) -> None:
        """End every open watch with ``reply`` in an ERROR line, as the API server does in the middle of a stream."""
        self._portal.call(self._fail_watches, reply)

    def refuse(self) -> None:
        """Close every connection and refuse new ones."""
        self._portal.call(self._refuse)

    def heal(self) -> None:
        """End every fault; what was frozen flows again."""
        self._portal.call(self._heal)

    def _change(self, **faults: object) -> None:
        self._portal.call(self._become, msgspec.structs.replace(self._faults, **faults))

    # --- On the thread of the proxy

    def _become(self, faults: _Faults) -> None:
        self._faults = faults
        self._changed.set()
        self._changed = anyio.Event()

    def _cut(self, kinds: frozenset[Kind], reset: bool) -> None:
        for connection in self._connections:
            if kinds == EVERY or connection.kind in kinds:
                connection.reset = reset
                connection.scope.cancel()

    def _stall(self, part: str) -> None:
        for connection in self._connections:
            connection.stalled = connection.stalled or part in connection.path

    async def _fail_watches(self, reply: Reply) -> None:
        line = b'{"type":"ERROR","object":%b}\n' % reply.body
        for connection in tuple(self._connections):
            if connection.kind == "watch" and connection.answering is not None:
                with anyio.move_on_after(LINGER_S), suppress(*_BROKEN):  # who does not read is cut
                    await connection.say(connection.answering, b"%x\r\n%b\r\n0\r\n\r\n" % (len(line), line))
                connection.scope.cancel()

    async def _refuse(self) -> None:
        if self._listener is not None:
            await self._listener.aclose()
            self._listener = None
        self._cut(EVERY, reset=True)

    async def _heal(self) -> None:
        self._become(_Faults())
        if self._listener is None:
            await self._listen()

    @asynccontextmanager
    async def _serving(self) -> AsyncGenerator[None]:
        self._changed = anyio.Event()
        async with anyio.create_task_group() as self._group:
            await self._listen()
            yield
            self._group.cancel_scope.cancel()

    async def _listen(self) -> None:
        self._listener = await anyio.create_tcp_listener(local_host=LOOPBACK, local_port=self._port)
        self._group.start_soon(self._accept, self._listener)

    async def _accept(self, listener: Listener[SocketStream]) -> None:
        async with listener:
            try:
                await listener.serve(self._handle, self._group)
            except* anyio.ClosedResourceError:
                pass  # by _refuse

    async def _handle(self, raw: SocketStream) -> None:
        connection = _Connection(raw)
        self._connections.add(connection)
        self.silent.append(connection.came_at)
        try:
            with connection.scope, suppress(*_BROKEN):
                while self._faults.frozen == EVERY:
                    await self._changed.wait()
                client = await TLSStream.wrap(
                    raw, server_side=True, ssl_context=self._server_tls, standard_compatible=False
                )
                await self._converse(connection, client)
        finally:
            self._connections.discard(connection)
            await connection.close()

    async def _converse(self, connection: _Connection, client: TLSStream) -> None:
        """Forward requests and answers until either side ends."""
        requests = BufferedByteReceiveStream(client)
        server: TLSStream | None = None
        async with anyio.create_task_group() as group:
            try:
                while True:
                    request, raw = await _read(requests)
                    self._note(connection, request)
                    await self._thawed(request.kind)
                    if request.kind in self._faults.replied:
                        await connection.say(client, self._faults.reply.encode())
                        break
                    if server is None:
                        server = await self._connect()
                        group.start_soon(self._answer, connection, server, client)
                    await server.send(raw)
            except _BROKEN:
                if connection.kind == "write":  # what is under way is made, even if who asked for it has gone
                    await anyio.sleep(LINGER_S)
            finally:
                group.cancel_scope.cancel()
                if server is not None:
                    await anyio.aclose_forcefully(server)

    def _note(self, connection: _Connection, request: Seen) -> None:
        if connection.kind is None:
            self.silent.remove(connection.came_at)
        connection.kind, connection.path, connection.answering = request.kind, request.path, None
        self.requests.append(request)

    async def _connect(self) -> TLSStream:
        return await anyio.connect_tcp(
            self._upstream.hostname or LOOPBACK,
            self._upstream.port or 443,
            ssl_context=self._client_tls,
            tls_standard_compatible=False,
        )

    async def _answer(self, connection: _Connection, server: TLSStream, client: TLSStream) -> None:
        """Forward what the API server says; the end of that ends the connection."""
        try:
            while True:
                piece = await server.receive()
                if connection.stalled:
                    await anyio.sleep_forever()
                kind = connection.kind or "list"
                if kind in self._faults.late:
                    await anyio.sleep(self._faults.late_by_s)
                await self._thawed(kind)
                if kind in self._faults.torn and (part := _torn(piece, cleanly=self._faults.cleanly)):
                    await connection.say(client, part)
                    break
                await connection.say(client, piece)
                connection.answering = client
        except _BROKEN:
            pass
        finally:
            connection.scope.cancel()

    async def _thawed(self, kind: Kind) -> None:
        while kind in self._faults.frozen:
            await self._changed.wait()


async def _read(stream: BufferedByteReceiveStream) -> tuple[Seen, bytes]:
    """Return the next request, and its bytes; its body, if any, has a length, as aiohttp sends it."""
    head = await stream.receive_until(b"\r\n\r\n", _HEAD_LIMIT_BYTES)
    first, *lines = head.decode("ascii").split("\r\n")
    verb, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await stream.receive_exactly(int(headers.get("content-length", "0")))
    kind: Kind = "write" if verb != "GET" else ("watch" if "watch" in parse_qs(urlsplit(path).query) else "list")
    request = Seen(time.monotonic(), verb, path, headers.get("user-agent", ""), kind)
    return request, head + b"\r\n\r\n" + body


def _torn(piece: bytes, *, cleanly: bool) -> bytes:
    """Return the first half of what is answered in ``piece``; nothing where that is a head without a body."""
    head, end, body = piece.partition(b"\r\n\r\n") if piece.startswith(b"HTTP/1.1 ") else (b"", b"", piece)
    if not body:
        return b""
    if not cleanly:
        return head + end + body[: len(body) // 2]
    text = body.partition(b"\r\n")[2]  # after the length of the chunk
    half = text[: len(text) // 3]
    return b"%b%b%x\r\n%b\r\n0\r\n\r\n" % (head, end, len(half), half)


def busiest(times: Iterable[float], within_s: float = 1.0) -> int:
    """Return the largest number of ``times`` within so many seconds."""
    ordered = sorted(times)
    return max((bisect.bisect_left(ordered, at + within_s) - index for index, at in enumerate(ordered)), default=0)
