"""Read the JSON API of a running service: one request per connection, however that is opened."""

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

import anyio
import h11
import msgspec
from anyio.abc import ByteStream
from typing_extensions import override

from toolset.adapters.http.api import BASE, PAGE_LIMIT, Failed, ServicePage, Toolsets
from toolset.adapters.tls import client_context
from toolset.core.status.snapshot import ServiceStatus, StatusSnapshot, Summary
from toolset.errors import ForbiddenError, InvalidError, NotFoundError, SettingsError, ToolsetError, UnavailableError
from toolset.model import Key

TIMEOUT_S: Final = 10.0
BODY_LIMIT_BYTES: Final = 16 * 2**20
_BROKEN: Final = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)

_ERRORS: Final[dict[int, type[ToolsetError]]] = {401: ForbiddenError, 403: ForbiddenError, 404: NotFoundError}

Connect = Callable[[], AbstractAsyncContextManager[ByteStream]]
T = TypeVar("T")


class StatusClient:
    """Reads the status; each method raises UnavailableError if there is no answer."""

    def __init__(self, connect: Connect, place: str, host: str = "localhost", token: str = "") -> None:
        """Create it.

        Args:
            connect: Opens a connection.
            place: The destination, for people.
            host: The host of the requests.
            token: The bearer token; empty for none.
        """
        self._connect = connect
        self.place = place
        self._host = host
        self._token = token

    async def snapshot(self) -> StatusSnapshot:
        """Return the whole status, page by page.

        Raises:
            ToolsetError: There is no answer, or it is not of this API.
        """
        summary = await self._get("status", Summary)
        documents = await self._get("toolsets", Toolsets)
        page = await self._get(f"services?limit={PAGE_LIMIT}", ServicePage)
        services = [*page.services]
        while page.next is not None:
            page = await self._get(f"services?limit={PAGE_LIMIT}&continue={page.next}", ServicePage)
            services += page.services
        return StatusSnapshot(
            summary=summary, services=tuple(services), services_omitted=page.omitted, documents=documents.documents
        )

    async def service(self, key: Key) -> ServiceStatus:
        """Return the status of one Service.

        Raises:
            NotFoundError: It is unknown.
            ToolsetError: There is no answer, or it is not of this API.
        """
        return await self._get(f"services/{quote(key.namespace, safe='')}/{quote(key.name, safe='')}", ServiceStatus)

    async def _get(self, path: str, kind: type[T]) -> T:
        try:
            with anyio.fail_after(TIMEOUT_S):
                async with self._connect() as stream:
                    status, body = await self._ask(stream, f"{BASE}/{path}")
        except TimeoutError as error:
            raise UnavailableError(f"{self.place} did not answer within {TIMEOUT_S:g} s") from error
        except (h11.RemoteProtocolError, *_BROKEN) as error:
            raise UnavailableError(f"{self.place} did not answer: {str(error) or type(error).__name__}") from error
        try:
            if status != 200:
                sentence = msgspec.json.decode(body, type=Failed).error
                raise _ERRORS.get(status, InvalidError)(sentence)
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise InvalidError(f"what {self.place} answers ({status}) is no status of this service") from error

    async def _ask(self, stream: ByteStream, target: str) -> tuple[int, bytes]:
        """Send one GET; return the status code and the body."""
        parser = h11.Connection(h11.CLIENT)
        headers = [("Host", self._host), ("Accept", "application/json"), ("Connection", "close")]
        headers += [("Authorization", f"Bearer {self._token}")] if self._token else []
        head = parser.send(h11.Request(method="GET", target=target, headers=headers)) or b""
        await stream.send(head + (parser.send(h11.EndOfMessage()) or b""))
        status, body = 0, b""
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                parser.receive_data(await _received(stream))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            if len(body) > BODY_LIMIT_BYTES:
                raise anyio.BrokenResourceError("it sends too much")
        return status, body


def by_url(url: str, token: str = "", authority: bytes | None = None) -> StatusClient:
    """Return a client for the service at ``url``, for example ``http://127.0.0.1:8081``.

    Args:
        url: Its scheme, host and port.
        token: The bearer token; empty for none. It is sent over TLS only.
        authority: Trusted CA certificates, in PEM; ``None`` for those of the system.

    Raises:
        SettingsError: The URL is not valid, a token would be sent in the clear, or the authority is not valid.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port = "", 0
    if parts.scheme not in {"http", "https"} or not host or parts.path.strip("/") or parts.query:
        raise SettingsError(f"`{url}` is not the address of a status server: write it as `http://127.0.0.1:8081`")
    if token and parts.scheme != "https":
        raise SettingsError(f"`{url}`: a token is sent over https only")
    try:
        tls = client_context(authority) if parts.scheme == "https" else None
    except ValueError as error:
        raise SettingsError(f"the authority for {url}: {error}") from error
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return StatusClient(lambda: _Tcp(host, port, tls), place, parts.netloc.rpartition("@")[2], token)


def by_address(host: str, port: int) -> StatusClient:
    """Return a client for the service that listens at ``host`` and ``port`` of this machine."""
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return StatusClient(lambda: _Tcp(host, port), place)


class _Tcp(AbstractAsyncContextManager[ByteStream]):
    """A TCP connection."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._stream: ByteStream | None = None

    @override
    async def __aenter__(self) -> ByteStream:
        if self._tls is None:
            self._stream = await anyio.connect_tcp(self._host, self._port)
        else:
            self._stream = await anyio.connect_tcp(
                self._host, self._port, ssl_context=self._tls, tls_standard_compatible=False
            )
        return self._stream

    @override
    async def __aexit__(self, *_: object) -> None:
        if self._stream is not None:
            await anyio.aclose_forcefully(self._stream)


async def _received(stream: ByteStream) -> bytes:
    try:
        return await stream.receive(65536)
    except anyio.EndOfStream:
        return b""
