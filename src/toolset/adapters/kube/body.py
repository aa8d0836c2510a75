"""Read response bodies of the API server, in lines or as a whole, within limits and in any encoding."""

import errno
import os
import socket
import ssl
import zlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Protocol

import aiohttp

from toolset.errors import OutOfSyncError, UnavailableError

BODY_LIMIT_BYTES: Final = 16 * 2**20
"""Maximum size of a response about one object, or of one line of a watch; etcd stores at most 1.5 MB per object."""
INFLATE_BYTES: Final = 256 * 1024
"""How much is decompressed in one step; a few bytes may expand to a thousand times as many."""


class Body(Protocol):
    """What is read of a response body."""

    async def readany(self) -> bytes:
        """Return what has arrived; nothing at the end."""
        ...


class GzipBody:
    """A body that an intermediary compressed without being asked to."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._inflate = _gzip()
        self._rest = b""  # not decompressed yet
        self._is_full = False  # the last step ended because its output was full

    async def readany(self) -> bytes:
        """Return a bounded part of what has arrived; empty at the end."""
        while True:
            data, self._rest = self._rest, b""
            if not (data or self._is_full):
                data = await self._body.readany()
                if not data:
                    return b""
            if piece := self._step(data):
                return piece

    def _step(self, data: bytes) -> bytes:
        if self._inflate.eof:  # several compressed parts may be concatenated
            self._inflate = _gzip()
        try:
            piece = self._inflate.decompress(data, INFLATE_BYTES)
        except zlib.error as error:
            raise aiohttp.ClientPayloadError(f"it is not valid gzip: {error}") from error
        self._is_full = len(piece) == INFLATE_BYTES and not self._inflate.eof
        self._rest = self._inflate.unconsumed_tail or self._inflate.unused_data
        return piece


def _gzip() -> "zlib._Decompress":
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


class LineReader:
    """The lines of a response body, in the batches in which they arrive.

    A plain object and not a generator, so that it cannot cancel anything of the caller's while the caller is busy.
    """

    def __init__(self, body: Body, *, limit_bytes: int = BODY_LIMIT_BYTES) -> None:
        """Create it; a line may take ``limit_bytes``."""
        self._body = body
        self._limit_bytes = limit_bytes
        self._partial: list[bytes] = []  # a line of megabytes comes in many chunks; joining once keeps that linear
        self._partial_bytes = 0

    async def next(self) -> list[bytes]:
        """Return the complete lines that have arrived, at least one; nothing at the end of the body.

        A last line without an end is dropped, because it is incomplete.

        Raises:
            UnavailableError: The connection broke or fell silent.
            OutOfSyncError: A line is too long, so its content is unknown.
        """
        while True:
            try:
                chunk = await self._body.readany()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                silent = isinstance(error, TimeoutError)
                raise UnavailableError(f"the watch broke: {brief(error)}", silent=silent) from error
            if not chunk:
                return []
            head, newline, tail = chunk.rpartition(b"\n")
            if not newline:
                self._keep(tail)
                continue
            whole = b"".join((*self._partial, head))
            self._partial, self._partial_bytes = [], 0
            self._keep(tail)
            if lines := [line for line in whole.split(b"\n") if line]:
                return lines

    def _keep(self, part: bytes) -> None:
        self._partial_bytes += len(part)
        if self._partial_bytes > self._limit_bytes:
            raise OutOfSyncError(f"a line of the watch is longer than {self._limit_bytes} bytes")
        self._partial.append(part)


class Response(Protocol):
    """The part of a response that is read; leaving its ``async with`` block returns the connection."""

    @property
    def status(self) -> int:
        """The code."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; their names are case-insensitive."""
        ...

    @property
    def content(self) -> Body:
        """The body as it was sent."""
        ...

    def close(self) -> None:
        """Close the connection."""

    async def __aenter__(self) -> object:
        """Begin to read."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Return the connection."""


def body_of(response: Response) -> Body:
    """Return the body as the API server sent it.

    Raises:
        UnavailableError: An intermediary encoded it in an unknown way.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return response.content
    if encoding in {"gzip", "x-gzip"}:
        return GzipBody(response.content)
    raise UnavailableError(
        f"the answer is encoded as {encoding[:32]!r} although `identity` was asked for; "
        "turn compression off in the gateway in front of the API server"
    )


async def read_whole(response: Response, limit_bytes: int, heard: Callable[[], None] = lambda: None) -> bytes:
    """Return the whole body.

    Raises:
        UnavailableError: It broke off, or is larger than ``limit_bytes``.
    """
    body, chunks, size = body_of(response), list[bytes](), 0
    try:
        while size <= limit_bytes and (chunk := await body.readany()):
            heard()
            size += len(chunk)
            chunks.append(chunk)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise UnavailableError(f"the answer broke: {brief(error)}", incomplete=True) from error
    if size > limit_bytes:
        response.close()  # the rest would keep the connection busy
        raise UnavailableError(f"the answer is larger than {limit_bytes} bytes", incomplete=True)
    return b"".join(chunks)


def brief(error: BaseException) -> str:
    """Return the message for a vendor's exception."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {error.host}:{error.port}: {_of_connecting(error)}"
    return (str(error) or type(error).__name__)[:256]


def _of_connecting(error: aiohttp.ClientConnectorError) -> str:
    """Return why there is no connection, without the names of Python objects and source lines."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        found = error.certificate_error
        reason = found.verify_message if isinstance(found, ssl.SSLCertVerificationError) else str(found)
        return f"its certificate is not accepted: {reason}"
    if isinstance(error.os_error, ssl.SSLError) and error.os_error.reason:
        return f"TLS failed: {error.os_error.reason.replace('_', ' ').lower()}"
    number = error.os_error.errno
    if number == socket.EAI_NONAME:
        return "no such host"
    if number is not None and number in errno.errorcode:
        return os.strerror(number).lower()
    return error.os_error.strerror or str(error.os_error)
