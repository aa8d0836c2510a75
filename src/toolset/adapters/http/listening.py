"""Serve an application on a port, with a limit on the connections that are kept open."""

import asyncio  # noqa: TID251 - aiohttp serves on its loop
import logging
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import http_exceptions, web
from typing_extensions import override

CONNECTIONS_LIMIT: Final = 64
"""Maximum number of open connections. Beyond it, the oldest one of the peer with the most is closed, so that the idle
connections of a pod never block a probe by the kubelet."""
BACKLOG: Final = 64
"""Connections that are accepted beyond the limit."""
_KEEP_ALIVE_S: Final = 30.0

_log: Final = logging.getLogger("toolset.http")


@asynccontextmanager
async def listening(
    app: web.Application,
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    connections: int = CONNECTIONS_LIMIT,
    streams: bool = False,
) -> AsyncGenerator[int]:
    """Serve ``app`` inside the block; yield the port.

    Args:
        app: What answers.
        host: Address to listen on; empty means all, IPv4 and IPv6.
        port: Port to listen on; 0 lets the system choose.
        tls: The TLS context; ``None`` for plain HTTP.
        connections: Connections that are kept open.
        streams: Whether a handler is cancelled when its client disconnects.

    Raises:
        OSError: The address is in use or not available on this host.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=_KEEP_ALIVE_S,
        shutdown_timeout=2.0,
        handler_cancellation=streams,
        logger=_WithoutClientErrors(_log),
    )
    await runner.setup()
    try:
        server = runner.server
        assert server is not None  # noqa: S101 - there is one from setup() on

        def accept() -> asyncio.Protocol:
            _make_room([each.transport for each in server.connections if each.transport is not None], connections)
            return server()

        loop = asyncio.get_running_loop()
        opened = await loop.create_server(accept, host or None, port, backlog=BACKLOG, ssl=tls)
        try:
            yield opened.sockets[0].getsockname()[1]
        finally:
            opened.close()  # `wait_closed` would wait for clients, which only the runner closes
    finally:
        await runner.cleanup()


def _make_room(transports: Sequence[asyncio.Transport], limit: int) -> None:
    """Close the oldest connections until one more is within the limit."""
    kept = [transport for transport in transports if not transport.is_closing()]
    if len(kept) < limit:
        return
    peers = Counter(map(_peer, kept))
    while len(kept) >= limit:
        busiest = max(peers, key=peers.__getitem__)
        oldest = next(transport for transport in kept if _peer(transport) == busiest)
        kept.remove(oldest)
        peers[busiest] -= 1
        oldest.abort()


def _peer(transport: asyncio.Transport) -> str:
    address = transport.get_extra_info("peername")
    return str(address[0]) if address else ""


class _WithoutClientErrors(logging.LoggerAdapter[logging.Logger]):
    """Forwards the server's log records, except those about requests that are not HTTP: anybody can send those."""

    @override
    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:
        """Log at debug level, and without a traceback, what a client did wrong."""
        if isinstance(kwargs.get("exc_info"), http_exceptions.HttpProcessingError):
            self.logger.debug("malformed request")
        else:
            super().log(level, msg, *args, **kwargs)  # type: ignore[arg-type]
