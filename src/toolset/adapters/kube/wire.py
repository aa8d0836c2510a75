"""Carry requests to the API server: the port, and its implementation over HTTP."""

import socket
from collections.abc import Callable, Mapping
from typing import Final, Protocol, cast

import aiohttp
import msgspec

from toolset.adapters.kube.body import Response
from toolset.adapters.kube.credentials.rest_config import RestConfig

HEADER_LIMIT_BYTES: Final = 2**20
HEADER_LIMIT: Final = 10_000
"""Go accepts 1 MiB of headers, in any number."""
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
"""A peer that disappears silently is detected within a minute, even while nothing is sent."""


class Request(msgspec.Struct, frozen=True):
    """What to send.

    Attributes:
        method: The HTTP method.
        path: Begins with ``/``.
        params: Query parameters.
        body: Empty when there is none.
        content_type: Of the body.
        headers: In addition to those of every request.
        before_send: Called right before the request is sent; its exceptions propagate.
    """

    method: str
    path: str
    params: Mapping[str, str] = {}
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}
    before_send: Callable[[], None] | None = None


class Wire(Protocol):
    """Port: carry one request to the API server."""

    async def send(
        self,
        access: RestConfig,
        request: Request,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own bound
    ) -> Response:
        """Call ``before_send`` and send ``request`` in one step; return the response once its head has arrived.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: There was no response; the errors are aiohttp's.
        """
        ...


def new_session(user_agent: str) -> aiohttp.ClientSession:
    """Return the HTTP session with an API server, not yet opened."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, socket_factory=_keepalive_socket),
        headers={"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "identity"},
        trust_env=False,
        auto_decompress=False,
        read_bufsize=2**20,
        max_line_size=HEADER_LIMIT_BYTES,
        max_field_size=HEADER_LIMIT_BYTES,
        max_headers=HEADER_LIMIT,
    )


class HttpWire:
    """The wire over aiohttp."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(
        self,
        access: RestConfig,
        request: Request,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own bound
    ) -> Response:
        """Send ``request``; see :meth:`Wire.send`."""
        content_type = {"Content-Type": request.content_type} if request.body else {}
        if request.before_send is not None:
            request.before_send()
        response = await self._session.request(
            request.method,
            access.base_url + request.path,
            params=dict(request.params),
            data=request.body or None,
            headers=(*request.headers.items(), *content_type.items(), *access.headers),
            ssl=access.tls if access.tls is not None else True,
            server_hostname=access.server_name or None,
            timeout=timeout,
            allow_redirects=False,
        )
        return cast("Response", response)  # pyright does not see that aiohttp's cached properties are properties


def _keepalive_socket(address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    for level, option, value in _KEEPALIVE:
        opened.setsockopt(level, option, value)
    return opened
