"""Serve the status according to the settings: address, TLS, and authentication."""

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import anyio

from toolset import __version__
from toolset.adapters.http.agent_endpoint import MISSING, AgentEndpoint, MissingEndpoint
from toolset.adapters.http.api import StatusSource
from toolset.adapters.http.authentication import Authenticator, Decision
from toolset.adapters.http.health import MetricsExposition
from toolset.adapters.http.status_server import StatusServer
from toolset.adapters.kube.token_reviews import may_read, user_of
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.server_certificate import ServerCertificate
from toolset.config.options import status_address
from toolset.config.settings import Settings
from toolset.errors import SettingsError

PREFIX: Final = "/toolset-status"
_log: Final = logging.getLogger("toolset")


@asynccontextmanager
async def serving(
    settings: Settings, source: StatusSource, kube: KubeTransport, metrics: MetricsExposition
) -> AsyncGenerator[StatusServer | None]:
    """Serve the status inside the block; yield the server, or ``None`` if it is disabled or cannot be served.

    The service works without it: what it publishes matters more.

    Args:
        settings: Address and authentication.
        source: The status.
        kube: The session for token reviews.
        metrics: Returns the exposition for ``/metrics``.
    """
    server: StatusServer | None = None
    async with AsyncExitStack() as stack:
        if settings.status.enabled:
            host, port = status_address(settings)
            try:
                server = _server(settings, source, kube, metrics)
                certificate = _certificate(settings)
                tls = certificate.context if certificate is not None else None
                await stack.enter_async_context(server.serve(host, port, tls))
            except (OSError, SettingsError) as error:
                server, certificate = None, None
                why = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
                extra = {"address": settings.status.listen, "error": why}
                _log.warning("status not served: change the settings below status", extra=extra)
            else:
                address = f"{settings.status.listen.rpartition(':')[0]}:{server.port}"
                _log.info("status served", extra={"address": address, "auth": settings.status.auth})
            if certificate is not None:
                await stack.enter_async_context(_following(certificate))
        yield server


def _server(settings: Settings, source: StatusSource, kube: KubeTransport, metrics: MetricsExposition) -> StatusServer:
    async def review(token: str, path: str) -> Decision:
        user = await user_of(kube, token)
        if user is None:
            return "unknown"
        return "allowed" if await may_read(kube, user, reviewed(path)) else "forbidden"

    authenticator = Authenticator(review) if settings.status.auth == "kubernetes" else None
    exposed = metrics if settings.status.metrics else None
    return StatusServer(source, __version__, authenticator, exposed, _agents(settings, source))


def _agents(settings: Settings, source: StatusSource) -> AgentEndpoint | None:
    """Return the endpoint for agents; its package is an extra, and loaded only if the settings enable it."""
    if not settings.status.mcp:
        return None
    try:
        from toolset.adapters.http.mcp_endpoint import McpEndpoint  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        _log.error("mcp not served", extra={"error": MISSING, "missing": error.name})
        return MissingEndpoint()
    return McpEndpoint(source, __version__)


def reviewed(path: str) -> str:
    """Return the path of the access review for a request of ``path``.

    It is below a separate prefix: every authenticated user may get `/api/*` of the API server, by the ClusterRole
    `system:discovery`, and that must not grant access to the status. `/metrics` is the path in Prometheus' roles.
    """
    return path if path == "/metrics" else f"{PREFIX}{path}"


def _certificate(settings: Settings) -> ServerCertificate | None:
    status = settings.status
    return ServerCertificate(status.tls_cert_file, status.tls_key_file) if status.tls_cert_file else None


@asynccontextmanager
async def _following(certificate: ServerCertificate) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(certificate.run)
        yield
        group.cancel_scope.cancel()
