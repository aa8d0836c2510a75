"""Who we are to the API server, and how it proves who it is."""

import base64
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import anyio
import anyio.to_thread
import msgspec

from toolset.adapters.kube.credentials.kubeconfig import REREAD_S, Kubeconfig
from toolset.adapters.kube.credentials.renewal import Renewal
from toolset.adapters.kube.credentials.rest_config import RestConfig
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

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Credentials(Protocol):
    """Where access comes from."""

    async def current(self) -> RestConfig:
        """Return the access to use now; cheap.

        Raises:
            SettingsError: There is none.
            UnavailableError: It was refused, and there is no other yet.
        """
        ...

    def refused(self, value: RestConfig) -> None:
        """Take note that the API server answered 401 to ``value``, so that a later request asks anew."""
        ...


class InClusterCredentials(Renewal[RestConfig]):
    """The mounted ServiceAccount, read again every minute; a file that is empty or gone keeps the last good one."""

    def __init__(
        self,
        host: str,
        port: str,
        directory: Path = SERVICE_ACCOUNT,
        *,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        """Make it.

        Args:
            host: Of the API server; an IPv6 address without brackets.
            port: Of the API server.
            directory: Where token and CA are mounted.
            clock: Tells the time, seconds.
        """
        super().__init__(self._mounted, clock)
        bracketed = f"[{host}]" if ":" in host else host
        self._base_url = f"https://{bracketed}:{port}"
        self._directory = directory
        self._known: RestConfig | None = None
        self._authority = b""  # of what is known

    async def _mounted(self) -> tuple[RestConfig, float]:
        # a mount may hang; then the thread is left to itself, and so it changes nothing here
        known, self._authority = await anyio.to_thread.run_sync(
            self._read, self._known, self._authority, abandon_on_cancel=True
        )
        self._known = known
        return known, REREAD_S

    def _read(self, known: RestConfig | None, known_authority: bytes) -> tuple[RestConfig, bytes]:
        token = _token(_content(self._directory / "token"))
        headers = {"Authorization": f"Bearer {token}"} if token else (known.headers if known else None)
        authority = _content(self._directory / "ca.crt").strip()
        tls = known.tls if known else None
        if authority and authority != known_authority:
            tls = _context(authority) or tls
        if headers is None or tls is None:
            raise SettingsError(
                f"{self._directory}: no ServiceAccount token and CA to read; "
                "mount them, or name a kubeconfig with --kubeconfig"
            )
        return RestConfig(self._base_url, tls, headers), authority or known_authority


class KubeconfigCredentials(Renewal[RestConfig]):
    """A kubeconfig file, read again every minute; what a plugin made, when it expires or is refused."""

    def __init__(self, path: str, context: str, *, clock: Callable[[], float] = anyio.current_time) -> None:
        """Make it.

        Args:
            path: The file; empty means ``KUBECONFIG``, else ``~/.kube/config``.
            context: A context in it; empty means its current one.
            clock: Tells the time, seconds.
        """
        super().__init__(Kubeconfig(path, context).load, clock)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _token(content: bytes) -> str:
    """Return the token; empty where the file is half written or holds what no header may."""
    token = content.strip().decode("ascii", "replace")
    return token if token.isascii() and token.isprintable() and " " not in token else ""


def _context(authority: bytes) -> ssl.SSLContext | None:
    try:
        return ssl.create_default_context(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return None


class _Claims(msgspec.Struct, frozen=True):
    """What is read of a token."""

    sub: str = ""


def service_account(directory: Path = SERVICE_ACCOUNT) -> str:
    """Return who the mounted token is for, ``system:serviceaccount:NAMESPACE:NAME``; empty when it does not say."""
    _, _, rest = _content(directory / "token").strip().partition(b".")
    payload = rest.partition(b".")[0]
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)), type=_Claims)
    except (ValueError, msgspec.DecodeError):
        return ""
    return claims.sub
