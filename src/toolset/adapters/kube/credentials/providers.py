"""Credentials for the API server, and how its certificate is verified."""

import ssl
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

import anyio
import anyio.to_thread

from toolset.adapters.kube.credentials.jwt_claims import claims
from toolset.adapters.kube.credentials.kubeconfig import REREAD_S, Kubeconfig
from toolset.adapters.kube.credentials.renewal import Loaded, Renewal
from toolset.adapters.kube.credentials.rest_config import Origin, RestConfig
from toolset.adapters.tls import client_context
from toolset.errors import SettingsError

__all__ = [
    "REREAD_S",
    "SERVICE_ACCOUNT",
    "Credentials",
    "InClusterCredentials",
    "KubeconfigCredentials",
    "RestConfig",
    "service_account",
]

T = TypeVar("T")

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Credentials(Protocol):
    """Provides access; renewed inside the block of an async context manager."""

    async def __aenter__(self) -> Self:
        """Start renewing it."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """Stop."""
        ...

    async def current(self) -> RestConfig:
        """Return the access to use now; cheap.

        Raises:
            SettingsError: There is none.
            UnavailableError: It was refused or has ended, and there is no other yet.
        """
        ...

    def refused(self, value: RestConfig) -> None:
        """Note that the API server answered 401 to ``value``, so that a later request gets new credentials."""
        ...


class InClusterCredentials(Renewal[RestConfig]):
    """The mounted ServiceAccount, read every minute; if a file is empty or missing, the last good one stays."""

    def __init__(
        self,
        host: str,
        port: str,
        directory: Path = SERVICE_ACCOUNT,
        *,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        """Create it.

        Args:
            host: Of the API server; an IPv6 address without brackets.
            port: Of the API server.
            directory: Where token and CA are mounted.
            clock: Returns the time, seconds.
        """
        super().__init__(self._mounted, clock)
        bracketed = f"[{host}]" if ":" in host else host
        self._base_url = f"https://{bracketed}:{port}"
        self._directory = directory
        self._known: RestConfig | None = None
        self._authority = b""  # of the last known files

    async def _mounted(self) -> Loaded[RestConfig]:
        # a mount may hang; then the thread is abandoned, so it changes nothing here
        known, self._authority = await anyio.to_thread.run_sync(
            self._read, self._known, self._authority, abandon_on_cancel=True
        )
        self._known = known
        return Loaded(known, REREAD_S)

    def _read(self, known: RestConfig | None, known_authority: bytes) -> tuple[RestConfig, bytes]:
        """Return the access and its authority; a file that cannot be read keeps its last known content."""
        last_token = None if known is None else (known.headers, known.origin)
        last_trust = None if known is None else (known_authority, known.tls)
        headers, origin = _kept(self._token, last_token)
        authority, tls = _kept(lambda: self._trust(known, known_authority), last_trust)
        return RestConfig(self._base_url, tls, headers, origin=origin), authority

    def _token(self) -> tuple[tuple[tuple[str, str], ...], Origin]:
        file = self._directory / "token"
        token = _content(file).strip().decode("ascii", "replace")
        if not token.isascii() or not token.isprintable() or not token or " " in token:  # it may be half written
            raise ValueError(f"{file}: this is no token")
        identity = claims(token.encode()).sub or "the mounted ServiceAccount"
        return (("Authorization", f"Bearer {token}"),), Origin(self._base_url, "in-cluster", identity)

    def _trust(self, known: RestConfig | None, known_authority: bytes) -> tuple[bytes, ssl.SSLContext | None]:
        file = self._directory / "ca.crt"
        authority = _content(file)
        if known is not None and authority == known_authority:
            return known_authority, known.tls
        try:
            return authority, client_context(authority)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error


class KubeconfigCredentials(Renewal[RestConfig]):
    """A kubeconfig file, read every minute; a plugin's credentials are renewed when they expire or are refused."""

    def __init__(self, path: str, context: str, *, clock: Callable[[], float] = anyio.current_time) -> None:
        """Create it.

        Args:
            path: The file; empty means ``KUBECONFIG``, else ``~/.kube/config``.
            context: A context in it; empty means its current one.
            clock: Returns the time, seconds.
        """
        super().__init__(Kubeconfig(path, context).load, clock)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file}: it cannot be read ({error.strerror})") from error


def _kept(read: Callable[[], T], last: T | None) -> T:
    """Return the result of ``read``; if that fails, the last good value."""
    try:
        return read()
    except ValueError as error:
        if last is None:
            raise SettingsError(
                f"{error}; mount the token and the CA of a ServiceAccount, or name a kubeconfig with --kubeconfig"
            ) from error
        return last


def service_account(directory: Path = SERVICE_ACCOUNT) -> str:
    """Return the mounted token's user, ``system:serviceaccount:NAMESPACE:NAME``; empty if it does not say."""
    try:
        return claims((directory / "token").read_bytes()).sub
    except OSError:
        return ""
