"""Probe backends over HTTP: bounded in time, bytes and number."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import anyio
import httpx
import msgspec

from toolset.adapters.probe.address_guard import AddressGuard
from toolset.adapters.probe.connectors import ApiServer, ApiServerProxy, Connector, Direct, Route
from toolset.adapters.probe.error import ProbeError, is_exhaustion
from toolset.adapters.probe.host_limiter import HostLimiter
from toolset.adapters.probe.limits import BODY_LIMIT_BYTES, PER_HOST, PIECES_LIMIT
from toolset.adapters.probe.loaded_config import LoadedHttpConfig
from toolset.adapters.probe.resolver import Resolver
from toolset.adapters.probe.transport import Transport
from toolset.core.candidate import Candidate, HealthCheck
from toolset.core.health.http_config import HttpConfig
from toolset.core.health.proof import UNAUTHORIZED, backend_id, is_challenge, is_proven, wants_tenant
from toolset.core.health.search import Search
from toolset.core.health.thresholds import DEFERRED, EXHAUSTED, Failure, Outcome
from toolset.model import Key


class StaticConfig(msgspec.Struct, frozen=True):
    """How one static backend is reached.

    Attributes:
        http_config: Its TLS, headers and statuses.
        allowed_ranges: Address ranges that it may have although probes refuse them.
    """

    http_config: HttpConfig
    allowed_ranges: tuple[str, ...] = ()


class ProberOptions(msgspec.Struct, frozen=True):
    """The bounds of a probe.

    Attributes:
        timeout_s: Time limit of a whole probe: DNS, connect, TLS, headers and body, seconds.
        concurrency: Maximum number of concurrent probes.
        connect_to: Dial ``host:port`` at another ``host:port``, unchecked; for tests.
        refused_ranges: Address ranges that are not dialled, in addition to those that never are.
        http_configs: By product, how its candidates are reached.
        prefix: The annotation prefix, which remedies name.
        static: By key, how static backends are reached: always directly, and without the config of a product.
    """

    timeout_s: float = 5.0
    concurrency: int = 32
    connect_to: Mapping[str, str] = {}
    refused_ranges: tuple[str, ...] = ()
    http_configs: Mapping[str, HttpConfig] = {}
    prefix: str = "kubernaut.io"
    static: Mapping[Key, StaticConfig] = {}


class _Access(msgspec.Struct, frozen=True):
    """How a candidate is reached, and what is sent to it."""

    connector: Connector
    config: LoadedHttpConfig


class HttpProber:
    """Probes over httpx; holds nothing open between probes: every connection ends with its probe.

    Redirects are not followed, nothing is decompressed, proxy variables of the environment are ignored, and the
    Service's cluster IP is dialled if it has one, so that DNS cannot point elsewhere.
    """

    def __init__(
        self,
        options: ProberOptions,
        *,
        api_server: ApiServer | None = None,
        guard: AddressGuard | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        """Create it.

        Args:
            options: The bounds.
            api_server: Probe through its proxy; ``None`` probes directly.
            guard: Refuses addresses; ``None`` for the one of the options.
            resolver: Resolves names; ``None`` for the system's.
        """
        self._options = options
        resolver = resolver or Resolver()
        self._api_server = api_server
        self._connector: Connector = (
            ApiServerProxy(api_server, resolver)
            if api_server
            else Direct(guard or AddressGuard(options.refused_ranges), resolver, options.connect_to)
        )
        self._http_configs = {
            product: LoadedHttpConfig(http_configs) for product, http_configs in options.http_configs.items()
        }
        self._default_config = LoadedHttpConfig(HttpConfig())
        self._static = {
            key: _Access(
                Direct(
                    guard or AddressGuard(options.refused_ranges, each.allowed_ranges), resolver, options.connect_to
                ),
                LoadedHttpConfig(each.http_config),
            )
            for key, each in options.static.items()
        }
        self._transport = Transport()
        self._limiter = anyio.CapacityLimiter(options.concurrency)
        self._host_limiter = HostLimiter(PER_HOST)

    async def __aenter__(self) -> Self:
        """Start to renew the access to the API server, if probes go through it."""
        if self._api_server is not None:
            await self._api_server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Stop the renewal; nothing else is open, because every connection ends with its probe."""
        return None if self._api_server is None else await self._api_server.__aexit__(kind, error, trace)

    async def probe(self, candidate: Candidate) -> Outcome:
        """Return the outcome of one probe; never raises. The time limit starts once a slot is free.

        The variant in the candidate's URL is requested first, others only if its answer leads to them.
        """
        async with self._limiter:
            search = Search(candidate, self._options.prefix)
            with anyio.move_on_after(self._options.timeout_s) as deadline:
                try:
                    await self._ask(search, deadline)
                except (ProbeError, OSError, RuntimeError, MemoryError) as error:
                    search.met(_outcome(error))
            if deadline.cancelled_caught:
                detail = f"no answer within {self._options.timeout_s:g} s"
                search.met(Outcome(alive=False, detail=detail, failure=Failure.TIMEOUT))
            return search.outcome()

    async def _ask(self, search: Search, deadline: anyio.CancelScope) -> None:
        candidate = search.candidate
        access = self._access(candidate)
        route = await access.connector.route(candidate, candidate.check.path, access.config)
        async with self._host_limiter.one_of_few(route.host, deadline, self._options.timeout_s) as came:
            if not came:
                search.met(DEFERRED)
                return
            while True:
                outcome = await self._request(route, search.candidate, access)
                if outcome.alive and not outcome.unauthorized and candidate.health_path:
                    outcome = await self._ask_health_path(search.candidate, access, outcome)
                search.met(outcome)
                if not search.advance():
                    return
                route = await access.connector.route(search.candidate, candidate.check.path, access.config)

    async def _request(self, route: Route, candidate: Candidate, access: _Access) -> Outcome:
        try:
            response = await self._transport.handle_async_request(route.request)
            try:
                return await _judge(response, candidate, access)
            finally:
                await response.aclose()
        except ProbeError as error:
            return _outcome(error)

    async def _ask_health_path(self, candidate: Candidate, access: _Access, proven: Outcome) -> Outcome:
        """Request the health path of its annotation from a backend that is ``proven``."""
        plain = msgspec.structs.replace(candidate, check=HealthCheck(candidate.health_path))
        route = await access.connector.route(plain, candidate.health_path, access.config)
        outcome = await self._request(route, plain, access)
        if outcome.alive:
            return proven
        detail = f"{outcome.detail}, at the health path of its annotation"
        return Outcome(alive=False, detail=detail, failure=outcome.failure)  # no status: it leads to no other variant

    def _access(self, candidate: Candidate) -> _Access:
        config = self._http_configs.get(candidate.product, self._default_config)
        return self._static.get(candidate.key) or _Access(self._connector, config)


async def _judge(response: httpx.Response, candidate: Candidate, access: _Access) -> Outcome:
    """Read a bounded part of the body, so that a backend that dies while it answers counts as dead."""
    status, check = response.status_code, candidate.check
    is_good = 200 <= status < 300
    is_alive = is_good or status in access.config.statuses(check.statuses)
    asks_for_login = status in UNAUTHORIZED and not is_alive
    reads = is_alive or asks_for_login or access.connector.reads_failures
    body = await _read(response) if reads else b""
    if objection := access.connector.objection(status, body):
        return msgspec.structs.replace(objection.outcome(), status=status)
    if asks_for_login and is_challenge(check, body, response.headers.get_list("WWW-Authenticate")):
        return Outcome(alive=True, status=status, unauthorized=True, wants_tenant=wants_tenant(body))
    if not is_alive:
        return Outcome(alive=False, detail=f"answered {status}", failure=Failure.STATUS, status=status)
    check_of_status = check if is_good else msgspec.structs.replace(check, fields=())  # an error has no such fields
    if not is_proven(check_of_status, body, is_cut=len(body) >= BODY_LIMIT_BYTES):
        detail = f"the answer does not identify {candidate.product}"
        return Outcome(alive=False, detail=detail, identity_mismatch=True, failure=Failure.IDENTITY, status=status)
    return Outcome(alive=True, status=status, backend_id=backend_id(check, body))


def _outcome(error: Exception) -> Outcome:
    """Return the outcome of a probe that ended with ``error``; raise it again if it is a bug."""
    if is_exhaustion(error):
        return EXHAUSTED
    if isinstance(error, ProbeError):
        return error.outcome()
    raise error


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    pieces = 0
    async for piece in response.aiter_raw():
        body += piece
        pieces += 1
        if len(body) >= BODY_LIMIT_BYTES or pieces >= PIECES_LIMIT:
            break
    return bytes(body[:BODY_LIMIT_BYTES])
