"""Ask a backend over HTTP whether it lives: bounded in time, in bytes and in number."""

import ssl
from collections.abc import Mapping
from typing import Final, Self, cast

import anyio
import httpx
import msgspec
from anyio.abc import AsyncResource

from toolset.core.health import Outcome
from toolset.core.verdict import Candidate

BODY_LIMIT_BYTES: Final = 64 * 1024
_FAILURES: Final = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError)  # an SSLError is an OSError


class ProberOptions(msgspec.Struct, frozen=True):
    """The bounds of a probe.

    Attributes:
        timeout_s: For all of it: DNS, connect, TLS, headers and body, seconds.
        concurrency: Probes in flight at once.
        connect_to: Dial ``host:port`` at another ``host:port``.
    """

    timeout_s: float = 5.0
    concurrency: int = 32
    connect_to: Mapping[str, str] = {}


class HttpProber:
    """Probes over httpx; use it as an async context manager.

    Redirects are not followed, nothing is decompressed, no proxy variable of the environment counts, and the
    Service's cluster IP is dialled where it has one, so that DNS cannot lead elsewhere.
    """

    def __init__(self, options: ProberOptions) -> None:
        self._options = options
        self._limiter = anyio.CapacityLimiter(options.concurrency)
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - the deadline around the whole probe is stricter than any of httpx's
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            headers={"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "kubernaut-dynamic-toolset"},
        )

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def probe(self, candidate: Candidate) -> Outcome:
        """Return what one request found; never raises. Time begins once a slot is free."""
        async with self._limiter:
            with anyio.move_on_after(self._options.timeout_s):
                async with _Connections() as connections:
                    return await self._ask(candidate, connections)
            return Outcome(alive=False, detail=f"no answer within {self._options.timeout_s:g} s")

    async def _ask(self, candidate: Candidate, connections: "_Connections") -> Outcome:
        try:
            response = await self._client.send(self._request(candidate, connections), stream=True)
        except httpx.ConnectError as error:
            return Outcome(alive=False, detail=_connect_detail(error))
        except _FAILURES as error:
            return Outcome(alive=False, detail=f"request failed: {type(error).__name__}")
        try:
            return await _judge(response, candidate)
        except _FAILURES as error:
            return Outcome(alive=False, detail=f"answer broke: {type(error).__name__}")
        finally:
            await response.aclose()

    def _request(self, candidate: Candidate, connections: "_Connections") -> httpx.Request:
        host, port = self._dial(candidate)
        return self._client.build_request(
            "GET",
            httpx.URL(scheme=candidate.scheme, host=host, port=port, path=candidate.path + candidate.check.path),
            headers={"Host": f"{candidate.host}:{candidate.port}"},
            extensions={"sni_hostname": candidate.host, "trace": connections.note},
        )

    def _dial(self, candidate: Candidate) -> tuple[str, int]:
        moved = self._options.connect_to.get(f"{candidate.host}:{candidate.port}")
        if moved:
            host, _, port = moved.rpartition(":")
            return host, _port(port)
        return candidate.address or candidate.host, candidate.port


class _Connections:
    """Closes what a probe opened: httpcore leaves a socket open when a TLS handshake is cancelled."""

    def __init__(self) -> None:
        self._opened: list[AsyncResource] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            for stream in self._opened:
                await stream.aclose()

    async def note(self, name: str, info: Mapping[str, object]) -> None:
        """Hear what httpcore does: its ``trace`` extension."""
        if name == "connection.connect_tcp.complete":
            self._opened.append(cast("AsyncResource", info["return_value"]))


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise ValueError(f"{port} is no port")
    return port


def _connect_detail(error: BaseException) -> str:
    """Return why there is no connection; httpx says TLS failures with the same exception as refused ones."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "TLS failed: the certificate is not trusted"
        if isinstance(cause, ssl.SSLError):
            return "TLS failed"
        cause = cause.__cause__ or cause.__context__
    return "connection refused or host not found"


async def _judge(response: httpx.Response, candidate: Candidate) -> Outcome:
    """Read a bounded part of the body, so that a backend that dies while it answers counts as dead."""
    status, check = response.status_code, candidate.check
    if not (200 <= status < 300 or status in check.statuses):
        return Outcome(alive=False, detail=f"answered {status}")
    received, body = 0, bytearray()
    async for chunk in response.aiter_raw():
        received += len(chunk)
        if check.identity:
            body += chunk
        if received >= BODY_LIMIT_BYTES:
            break
    if check.identity.encode() not in body[:BODY_LIMIT_BYTES]:
        return Outcome(alive=False, detail=f"the answer does not tell of {candidate.product}", stranger=True)
    return Outcome(alive=True)
