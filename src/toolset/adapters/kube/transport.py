"""Requests to the API server: bytes in, bytes out, response codes mapped to this package's errors."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
import anyio
import msgspec
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from toolset.adapters.kube.body import BODY_LIMIT_BYTES, LineReader, Response, body_of, brief, read_whole
from toolset.adapters.kube.credentials.providers import Credentials
from toolset.adapters.kube.credentials.rest_config import Origin
from toolset.adapters.kube.status import error_of
from toolset.adapters.kube.wire import HttpWire, Request, Wire, new_session
from toolset.errors import UnavailableError

CONNECT_TIMEOUT_S: Final = 10.0
REQUEST_TIMEOUT_S: Final = 60.0
BEGIN_TIMEOUT_S: Final = 60.0
"""How long a stream may take to begin, seconds; the API server answers a watch immediately, before its first event."""

FETCH_TIMEOUT_S: Final = 600.0
"""Time limit of a response that arrives slowly, seconds."""
STATUS_LIMIT_BYTES: Final = 64 * 1024
WebSocket = aiohttp.ClientWebSocketResponse[bool]
_tracer: Final = trace.get_tracer("toolset")


class Reply(msgspec.Struct, frozen=True):
    """What came back.

    Attributes:
        body: The whole body.
        date: The server's ``Date`` header; empty if there is none.
    """

    body: bytes
    date: str


class KubeTransport:
    """One session with the API server; use it as an async context manager."""

    def __init__(
        self,
        credentials: Credentials,
        user_agent: str,
        on_answer: Callable[[str, int, float], None] = lambda _method, _code, _took_s: None,
        *,
        wire: Wire | None = None,
    ) -> None:
        """Create it.

        Args:
            credentials: The credentials.
            user_agent: The ``User-Agent``.
            on_answer: Receives the method, the code, and the seconds until the head of each response.
            wire: Carries the requests; ``None`` for HTTP connections.
        """
        self._credentials = credentials
        self._on_answer = on_answer
        self._user_agent = user_agent
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None
        self._wire = wire

    async def __aenter__(self) -> Self:
        """Open the session."""
        await self._stack.enter_async_context(self._credentials)
        if self._wire is not None:
            return self
        self._session = await self._stack.enter_async_context(new_session(self._user_agent))
        self._wire = HttpWire(self._session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Close the session and its connections."""
        return await self._stack.__aexit__(kind, error, trace)

    async def check_credentials(self) -> Origin:
        """Load the credentials; return their cluster and user.

        Raises:
            SettingsError: There are none.
        """
        return (await self._credentials.current()).origin

    async def send(self, request: Request, *, timeout_s: float = REQUEST_TIMEOUT_S) -> bytes:
        """Return the body of the answer; see :meth:`ask`."""
        return (await self.ask(request, timeout_s=timeout_s)).body

    async def ask(self, request: Request, *, timeout_s: float = REQUEST_TIMEOUT_S) -> Reply:
        """Return the answer; if a reconcile is traced, the request is a span of it.

        Raises:
            ToolsetError: As :func:`~toolset.adapters.kube.status.error_of` maps the answer's code, or
                UnavailableError when there was none.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        with _span(request) as span:
            async with self._answer(request, timeout, span=span) as response:
                body = await read_whole(response, BODY_LIMIT_BYTES)
                return Reply(body, response.headers.get("Date", ""))

    async def fetch(
        self,
        request: Request,
        *,
        limit_bytes: int,
        heard: Callable[[], None],
        idle_s: float = REQUEST_TIMEOUT_S,
    ) -> bytes:
        """Return the body of a large answer, which may take FETCH_TIMEOUT_S as long as data keeps arriving.

        Args:
            request: What to send.
            limit_bytes: Maximum size of the answer.
            heard: Called whenever a part of it arrives.
            idle_s: How long it may be silent, seconds.

        Raises:
            ToolsetError: As for :meth:`ask`.
        """
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S, sock_read=idle_s)
        async with self._answer(request, timeout) as response:
            return await read_whole(response, limit_bytes, heard)

    @asynccontextmanager
    async def lines(
        self, request: Request, *, idle_s: float, begin_s: float = BEGIN_TIMEOUT_S
    ) -> AsyncGenerator[LineReader]:
        """Open a stream of lines; leaving the block closes the connection.

        Args:
            request: What to send.
            idle_s: How long the stream may be silent, seconds.
            begin_s: How long it may take to begin, seconds.

        Raises:
            ToolsetError: As for :meth:`send`.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=idle_s)
        async with self._answer(request, timeout, begin_s) as response:
            try:
                yield LineReader(body_of(response))
            finally:
                response.close()

    @asynccontextmanager
    async def websocket(self, path: str, params: Mapping[str, str], protocol: str) -> AsyncGenerator[WebSocket]:
        """Open a WebSocket; leaving the block closes it.

        Args:
            path: Begins with ``/``.
            params: Query parameters.
            protocol: The subprotocol.

        Raises:
            ToolsetError: As for :meth:`send`.
        """
        if self._session is None:
            raise RuntimeError("the transport is used outside its context")
        access = await self._credentials.current()
        try:
            with anyio.fail_after(CONNECT_TIMEOUT_S):
                opened = await self._session.ws_connect(
                    access.base_url + path,
                    protocols=(protocol,),
                    params=dict(params),
                    headers=(*access.headers, ("Accept", "*/*")),  # a kubelet answers 406 to any other
                    ssl=access.tls if access.tls is not None else True,
                    server_hostname=access.server_name or None,
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 401:
                self._credentials.refused(access)
            raise error_of(error.status if error.status >= 300 else 502, b"", 0.0) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UnavailableError(f"the API server did not answer: {brief(error)}") from error
        async with opened:
            yield opened

    @asynccontextmanager
    async def _answer(
        self,
        request: Request,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own bound
        begin_s: float | None = None,
        span: Span = INVALID_SPAN,
    ) -> AsyncGenerator[Response]:
        if self._wire is None:
            raise RuntimeError("the transport is used outside its context")
        access = await self._credentials.current()
        if span.is_recording():
            span.set_attributes(_named(access.base_url + request.path))
        started = anyio.current_time()
        try:
            with anyio.fail_after(begin_s):
                response = await self._wire.send(access, request, timeout)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            late = isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError)
            raise UnavailableError(f"the API server did not answer: {brief(error)}", incomplete=late) from error
        span.set_attribute("http.response.status_code", response.status)
        if response.status >= 400:
            span.set_attribute("error.type", str(response.status))
        self._on_answer(request.method, response.status, anyio.current_time() - started)
        async with response:
            if response.status == 401:
                self._credentials.refused(access)
            if response.status >= 300:
                raise await _failure(response)
            yield response


def _span(request: Request) -> AbstractContextManager[Span]:
    """Return the span of ``request``, by OpenTelemetry's names for HTTP; a no-op outside of traced code."""
    if not trace.get_current_span().is_recording():
        return nullcontext(INVALID_SPAN)
    named = {"http.request.method": request.method}
    return _tracer.start_as_current_span(request.method, kind=SpanKind.CLIENT, attributes=named, record_exception=False)


def _named(url: str) -> dict[str, str | int]:
    server = urlsplit(url)
    port = server.port or (443 if server.scheme == "https" else 80)
    return {"url.full": url, "server.address": server.hostname or "", "server.port": port}


async def _failure(response: Response) -> Exception:
    body = b""
    try:
        content = body_of(response)
        while len(body) < STATUS_LIMIT_BYTES and (chunk := await content.readany()):
            body += chunk
    except (aiohttp.ClientError, OSError, TimeoutError, UnavailableError):
        body = b""
    return error_of(response.status, body, _retry_after_s(response.headers.get("Retry-After", "")))


def _retry_after_s(header: str) -> float:
    return float(header) if header.isdecimal() and len(header) < 6 else 0.0
