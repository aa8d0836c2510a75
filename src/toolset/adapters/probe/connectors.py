"""Connections to a backend: directly to its checked address, or through the API server's proxy."""

from collections.abc import Iterable, Mapping, Sequence
from ssl import SSLContext
from types import TracebackType
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx
import msgspec

from toolset.adapters.probe.address_guard import AddressGuard
from toolset.adapters.probe.error import NO_CONNECTION, ProbeError
from toolset.adapters.probe.loaded_config import LoadedHttpConfig
from toolset.adapters.probe.resolver import Resolver
from toolset.adapters.probe.transport import Dial
from toolset.core.candidate import Candidate
from toolset.core.health.thresholds import Failure

_HEADERS: Final = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "kubernaut-dynamic-toolset",
}
_OTHER_SCHEME: Final = (b"server gave HTTP response to HTTPS client", b"malformed HTTP ", b": EOF")
"""The message of Go's HTTP client, in a Status of the API server, for a backend that speaks the other scheme."""
_PORTS: Final = {"http": 80, "https": 443}


class Route(msgspec.Struct, frozen=True):
    """One request, ready to be sent.

    Attributes:
        request: With the extension ``dial``.
        host: The host that is reached; the number of concurrent probes per host is limited.
    """

    request: httpx.Request
    host: str


class Connector(Protocol):
    """Prepares requests to candidates.

    Attributes:
        reads_failures: Whether the body of a failure is needed for :meth:`objection`.
    """

    reads_failures: bool

    async def route(self, candidate: Candidate, path: str, config: LoadedHttpConfig) -> Route:
        """Return how ``path``, below the base path of ``candidate``, is requested.

        Raises:
            Fault: It cannot be requested.
        """
        ...

    def objection(self, status: int, body: bytes) -> ProbeError | None:
        """Return why an answer does not come from the backend; ``None`` if it does."""
        ...


class ProxyConfig(Protocol):
    """The access to the API server, as far as it is needed."""

    @property
    def base_url(self) -> str:
        """Scheme, host and port, without a trailing slash."""
        ...

    @property
    def tls(self) -> SSLContext | None:
        """``None`` for plain HTTP."""
        ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The authorization, if any, and the impersonation headers."""
        ...

    @property
    def server_name(self) -> str:
        """The name required in the certificate instead of the host; empty for the host."""
        ...


class ApiServer(Protocol):
    """Provides access to the API server; renewed inside the block of an async context manager."""

    async def __aenter__(self) -> object:
        """Start renewing it."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """Stop."""
        ...

    async def current(self) -> ProxyConfig:
        """Return it.

        Raises:
            Exception: There is none.
        """
        ...


class Direct:
    """Dials the Service's cluster IP, or what its name resolves to, once that has been checked."""

    reads_failures = False

    def __init__(self, guard: AddressGuard, resolver: Resolver, connect_to: Mapping[str, str]) -> None:
        """Create it.

        Args:
            guard: Refuses addresses.
            resolver: Looks up the names of Services without a cluster IP.
            connect_to: By ``host:port``, another ``host:port`` to dial, unchecked; for tests.
        """
        self._guard = guard
        self._resolver = resolver
        self._connect_to = connect_to

    async def route(self, candidate: Candidate, path: str, config: LoadedHttpConfig) -> Route:
        """Return how ``path``, below the base path of ``candidate``, is requested.

        Raises:
            Fault: It cannot be asked.
        """
        authority = f"{candidate.host}:{candidate.port}"
        if moved := self._connect_to.get(authority):
            addresses, port, host = *await self._moved(moved), candidate.host
        else:
            addresses, port = await self._checked(candidate), candidate.port
            host = addresses[0]
        tls = await config.tls() if candidate.scheme == "https" else None
        dial = Dial(addresses, port, tls, candidate.host.strip("[]"))
        headers = {**_HEADERS, **await config.headers(candidate), "Host": authority}
        return Route(
            _request(candidate.scheme, candidate.host, candidate.port, candidate.path + path, headers.items(), dial),
            host,
        )

    def objection(self, status: int, body: bytes) -> None:
        """Return ``None``: only the backend can answer."""
        del status, body

    async def _checked(self, candidate: Candidate) -> Sequence[str]:
        """Return the addresses of ``candidate``: either all may be dialled, or none is.

        One refused address rejects the whole name: readers of the ConfigMap resolve it again.
        """
        addresses = [candidate.address] if candidate.address else await self._resolver.addresses(candidate.host)
        if not addresses:
            raise ProbeError(Failure.REFUSED, NO_CONNECTION)
        for address in addresses:
            if kind := self._guard.objection(address):
                raise ProbeError(Failure.ADDRESS, f"its address may not be dialled: {kind}")
        return addresses

    async def _moved(self, place: str) -> tuple[Sequence[str], int]:
        host, _, port = place.rpartition(":")
        addresses = await self._resolver.addresses(host.strip("[]")) if host else ()
        if not addresses or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ProbeError(Failure.REFUSED, NO_CONNECTION)
        return addresses, int(port)


class ApiServerProxy:
    """Probes through the API server's proxy: for a service that runs outside the cluster.

    The API server removes the authorization before it forwards a request, and does not verify the certificates of
    backends, so neither a detector's headers nor its CA bundle counts.
    """

    reads_failures = True

    def __init__(self, api_server: ApiServer, resolver: Resolver) -> None:
        self._api_server = api_server
        self._resolver = resolver

    async def route(self, candidate: Candidate, path: str, config: LoadedHttpConfig) -> Route:
        """Return how ``path``, below the base path of ``candidate``, is requested.

        Raises:
            Fault: The API server cannot be asked.
        """
        del config
        try:
            access = await self._api_server.current()
        except Exception as error:  # without credentials, whatever the error, the backend cannot be probed
            raise ProbeError(Failure.OTHER, "there is no access to the API server") from error
        base = urlsplit(access.base_url)
        host, port = base.hostname or "", base.port or _PORTS.get(base.scheme, 443)
        addresses = await self._resolver.addresses(host)
        if not addresses:
            raise ProbeError(Failure.OTHER, "there is no access to the API server")
        key = candidate.key
        service = f"{candidate.scheme}:{key.name}:{candidate.port}"
        proxied = f"{base.path}/api/v1/namespaces/{key.namespace}/services/{service}/proxy{candidate.path}{path}"
        dial = Dial(addresses, port, access.tls, access.server_name or host)
        request = _request(base.scheme, host, port, proxied, (*_HEADERS.items(), *access.headers), dial)
        return Route(request, candidate.host)

    def objection(self, status: int, body: bytes) -> ProbeError | None:
        """Return why an answer is the API server's own, from its Status."""
        if status < 400 or not body.startswith(b'{"kind":"Status","apiVersion":"v1"'):
            return None
        if status in {401, 403}:
            return ProbeError(Failure.OTHER, f"the API server refuses services/proxy with {status}")
        if any(text in body for text in _OTHER_SCHEME):
            return ProbeError(Failure.PROTOCOL, "it does not speak the scheme that the API server was asked to use")
        return ProbeError(Failure.OTHER, f"the API server reached nothing there and answered {status}")


def _request(
    scheme: str, host: str, port: int, path: str, headers: Iterable[tuple[str, str]], dial: Dial
) -> httpx.Request:
    path, mark, query = path.partition("?")
    try:
        url = httpx.URL(scheme=scheme, host=host, port=port, path=path, query=query.encode() if mark else None)
        return httpx.Request("GET", url, headers=[*headers], extensions={"dial": dial})
    except (httpx.InvalidURL, ValueError) as error:
        raise ProbeError(Failure.PROTOCOL, "it cannot be asked for: its name or path is no HTTP") from error
