"""One HTTP/1.1 request per connection: httpx' interface, h11's parser, anyio's sockets.

The connection goes to an address that the caller has checked, never to a name; it is closed after the answer, so
no state of one backend reaches another.
"""

import errno
import math
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final

import anyio
import h11
import httpx
import msgspec
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from typing_extensions import override

from toolset.adapters.probe.error import NO_CONNECTION, ProbeError, is_exhaustion
from toolset.adapters.probe.limits import (
    ADDRESSES_TRIED,
    EYEBALLS_DELAY_S,
    HEAD_LIMIT_BYTES,
    HEADERS_LIMIT,
    READ_BYTES,
    WIRE_LIMIT_BYTES,
)
from toolset.core.health.thresholds import Failure

_NO_ROUTE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
NOT_TLS: Final = "it does not speak TLS"
_NO_TLS: Final = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "UNKNOWN_PROTOCOL",
        "RECORD_LAYER_FAILURE",
        "PACKET_LENGTH_TOO_LONG",
        "UNEXPECTED_EOF_WHILE_READING",
    }
)
"""OpenSSL's errors for bytes that are not TLS. An alert is TLS: its sender is not probed over plain HTTP."""
_BROKEN: Final = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)


class Dial(msgspec.Struct, frozen=True):
    """The destination of a request; the request's extension ``dial``.

    Attributes:
        addresses: Checked IP addresses, best first.
        port: The port.
        tls: The TLS context; ``None`` for plain HTTP.
        server_name: The name required in the certificate.
    """

    addresses: Sequence[str]
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str = ""


class Transport(httpx.AsyncBaseTransport):
    """Sends each request over a separate connection; no pool, no redirects, no decompression, no proxy."""

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer's head; its body is read by iterating over it, and must be closed.

        Raises:
            Fault: There was no valid answer.
        """
        connection = _Connection(await _connect(request.extensions["dial"]))
        try:
            head = await connection.ask(request)
        except BaseException:
            await connection.aclose()
            raise
        return httpx.Response(head.status_code, headers=list(head.headers), stream=connection)


class _Connection(httpx.AsyncByteStream):
    """One connection, and the body received over it."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT_BYTES)
        self._received = 0

    async def ask(self, request: httpx.Request) -> h11.Response:
        """Send ``request`` and return the answer's head."""
        try:
            head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
            data = self._parser.send(head)
        except h11.LocalProtocolError as error:
            raise ProbeError(Failure.PROTOCOL, "it cannot be asked for: its name or path is no HTTP") from error
        self._parser.send(h11.EndOfMessage())  # a GET has no body, so this sends nothing
        try:
            await self._stream.send(data or b"")
        except _BROKEN as error:
            raise ProbeError(Failure.PROTOCOL, "the connection broke") from error
        while True:
            event = await self._next(most=HEAD_LIMIT_BYTES)
            if isinstance(event, h11.Response):
                if len(event.headers) > HEADERS_LIMIT:
                    raise ProbeError(Failure.PROTOCOL, "it sends too many headers")
                return event
            if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                raise ProbeError(Failure.PROTOCOL, "it does not speak HTTP")

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)

    @override
    async def aclose(self) -> None:
        """Close the connection without sending anything."""
        await anyio.aclose_forcefully(self._stream)

    async def _next(self, most: float = math.inf) -> object:
        """Return h11's next event, after reading at most about ``most`` bytes in total."""
        try:
            while (event := self._parser.next_event()) is h11.NEED_DATA:
                if self._received > most:
                    raise ProbeError(Failure.PROTOCOL, "its headers are too long")
                data = await self._receive()
                self._received += len(data)
                self._parser.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise ProbeError(Failure.PROTOCOL, "it does not speak HTTP") from error
        return event

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive(READ_BYTES)
        except anyio.EndOfStream:
            return b""
        except _BROKEN as error:
            raise ProbeError(Failure.PROTOCOL, "the connection broke") from error


class _BoundedStream(ByteStream):
    """The stream below TLS; at most WIRE_LIMIT_BYTES are read from it."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._received = 0

    @override
    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self._stream.receive(max_bytes)
        self._received += len(data)
        if self._received > WIRE_LIMIT_BYTES:
            raise ProbeError(Failure.PROTOCOL, "it sends too much")
        return data

    @override
    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    @override
    async def send_eof(self) -> None:
        await self._stream.send_eof()

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()


async def _connect(dial: Dial) -> ByteStream:
    """Return a connection to the first address that answers."""
    addresses = dial.addresses[:ADDRESSES_TRIED]
    try:
        stream = await (_race(addresses, dial.port) if len(addresses) > 1 else _open(addresses[0], dial.port))
    except OSError as error:
        raise ProbeError(Failure.REFUSED, _reason(error)) from error
    if dial.tls is None:
        return stream
    stream = _BoundedStream(stream)
    try:
        return await _handshake(stream, dial.tls, dial.server_name)
    except BaseException:  # cancellation too
        await anyio.aclose_forcefully(stream)
        raise


async def _handshake(stream: ByteStream, tls: ssl.SSLContext, server_name: str) -> ByteStream:
    try:
        return await TLSStream.wrap(
            stream, hostname=server_name, ssl_context=tls, server_side=False, standard_compatible=False
        )
    except ssl.SSLCertVerificationError as error:
        raise ProbeError(Failure.TLS, "TLS failed: the certificate is not trusted") from error
    except ssl.SSLError as error:
        if error.reason in _NO_TLS:
            raise ProbeError(Failure.PROTOCOL, NOT_TLS) from error
        raise ProbeError(Failure.TLS, "TLS failed") from error
    except (*_BROKEN, anyio.EndOfStream) as error:
        raise ProbeError(Failure.PROTOCOL, NOT_TLS) from error
    except ValueError as error:
        raise ProbeError(Failure.TLS, "TLS failed") from error


async def _open(address: str, port: int) -> ByteStream:
    return await anyio.connect_tcp(address, port)  # an address is not resolved


async def _race(addresses: Sequence[str], port: int) -> ByteStream:
    """Try the addresses one after another, with a short delay, and keep the first connection.

    Raises:
        OSError: None of them answers.
    """
    winner: list[ByteStream] = []
    errors: list[OSError] = []

    async def attempt(address: str, over: anyio.Event) -> None:
        try:
            winner.append(await _open(address, port))
            group.cancel_scope.cancel()
        except OSError as error:
            errors.append(error)
        finally:
            over.set()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                over = anyio.Event()
                group.start_soon(attempt, address, over)
                with anyio.move_on_after(EYEBALLS_DELAY_S):
                    await over.wait()
        if not winner:
            raise next(filter(is_exhaustion, errors), errors[0])
        return winner.pop()
    finally:
        for loser in winner:
            await anyio.aclose_forcefully(loser)


def _reason(error: BaseException | None) -> str:
    """Return why there is no connection, from the causes of anyio's error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROUTE:
            return "there is no route to its address"
        error = error.__cause__
    return NO_CONNECTION
