"""`toolset status`: what the running service publishes, what it does not and why, and its problems."""

import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import anyio
import msgspec
from anyio.abc import ByteStream

from toolset.adapters.http.status_client import StatusClient, by_address, by_url
from toolset.adapters.kube.port_forward import port_forward
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.write.leases import KubeLeases
from toolset.commands.session import announce
from toolset.config.clients import is_in_cluster, transport
from toolset.config.options import lease_key, status_address
from toolset.config.settings import Settings
from toolset.core.status.snapshot import ServiceStatus, StatusSnapshot
from toolset.errors import ForbiddenError, NotFoundError, SettingsError, ToolsetError, UnavailableError
from toolset.model import Key

WATCH_S: Final = 2.0
NOT_FOUND: Final = "no running service found"


class Server(msgspec.Struct, frozen=True):
    """The address of the status, if it is known.

    Attributes:
        url: Its URL; empty to find the leader.
        token_file: The file of the bearer token; empty for none.
        ca_file: The file of the CA of its certificate; empty for those of the system.
    """

    url: str = ""
    token_file: str = ""
    ca_file: str = ""


NO_SERVER: Final = Server()


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes() if file else b""
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror})") from error


@asynccontextmanager
async def reached(settings: Settings, server: Server = NO_SERVER, pods: str = "") -> AsyncGenerator[StatusClient]:
    """Yield a client of the running service: at a URL, in this pod, or in the pod that holds the Lease.

    Args:
        settings: The Lease, and the port of the status.
        server: The address of the status.
        pods: The namespace of the pods; empty for that of the ConfigMap.

    Raises:
        ToolsetError: There is no running service, or it cannot be reached.
    """
    host, port = status_address(settings)
    if server.url:
        token, authority = _content(server.token_file), _content(server.ca_file)
        yield by_url(server.url, token.decode("ascii", "replace").strip(), authority or None)
    elif is_in_cluster(settings, dict(os.environ)):
        yield by_address(host, port)
    else:
        async with transport(settings, dict(os.environ)) as kube:
            await announce(kube)
            async with leader(kube, settings, pods) as client:
                yield client


@contextmanager
def _remedied() -> Generator[None]:
    """Add a remedy if there is no answer."""
    try:
        yield
    except (ForbiddenError, UnavailableError) as error:
        raise UnavailableError(
            f"{NOT_FOUND}: {error}; is `status.enabled` on, and may you `get` and `create` pods/portforward? "
            "`kubectl get pods -A -l app.kubernetes.io/name=kubernaut-dynamic-toolset` lists the pods, --pods names "
            "their namespace"
        ) from error


@asynccontextmanager
async def leader(kube: KubeTransport, settings: Settings, pods: str = "") -> AsyncGenerator[StatusClient]:
    """Yield a client of the pod that holds the Lease, through the API server.

    Raises:
        ToolsetError: The Lease has no holder, or cannot be read.
    """
    key = lease_key(settings)
    try:
        lease = await KubeLeases(kube, key).read()
    except ForbiddenError as error:
        raise UnavailableError(
            f"{NOT_FOUND}: Lease {key} may not be read ({error}); name the URL with --server"
        ) from error
    if lease is None or not lease.holder:
        raise UnavailableError(
            f"{NOT_FOUND}: no process holds Lease {key}. Name the namespace of the ConfigMap with --target-namespace; "
            "if the election is off, use `kubectl port-forward` and --server"
        )
    pod = Key(pods or key.namespace, lease.holder.rpartition("_")[0])
    _, port = status_address(settings)
    yield StatusClient(lambda: _forwarded(kube, pod, port), f"pod {pod}, port {port},")


@asynccontextmanager
async def _forwarded(kube: KubeTransport, pod: Key, port: int) -> AsyncGenerator[ByteStream]:
    try:
        async with port_forward(kube, pod, port) as stream:
            yield stream
    except NotFoundError as error:
        raise UnavailableError(f"there is no pod {pod}") from error


async def read(client: StatusClient) -> StatusSnapshot:
    """Return the whole status.

    Raises:
        ToolsetError: The service cannot be reached.
    """
    with _remedied():
        return await client.snapshot()


async def read_service(client: StatusClient, key: Key) -> ServiceStatus:
    """Return the status of one Service.

    Raises:
        ToolsetError: It is unknown, or the service cannot be reached.
    """
    with _remedied():
        return await client.service(key)


async def watch(client: StatusClient, show: Callable[[StatusSnapshot], None]) -> None:
    """Show the status now and after each change, until cancelled.

    Raises:
        ToolsetError: The service cannot be reached any more.
    """
    shown: tuple[object, ...] | None = None
    while True:
        found = await read(client)
        state = (found.summary.revision, found.summary.installation.identity, found.summary.problems)
        if state != shown:
            shown = state
            show(found)
        await anyio.sleep(WATCH_S)


async def service_now(kube: KubeTransport, settings: Settings, key: Key, within_s: float) -> ServiceStatus | None:
    """Return the leader's status of ``key``; ``None`` if it cannot be reached within ``within_s`` seconds."""
    with anyio.move_on_after(within_s):
        try:
            async with leader(kube, settings) as client:
                return await client.service(key)
        except ToolsetError:
            return None
    return None
