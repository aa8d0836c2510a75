"""Who we are to the API server, and how it proves who it is."""

import math
import os
import ssl
from collections.abc import Container
from pathlib import Path
from typing import Final, Protocol, cast

import anyio
import anyio.to_thread
import msgspec
import yaml

from toolset.errors import SettingsError

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
REREAD_S: Final = 60.0
"""How often a mounted token and CA are read again, seconds (client-go: every minute)."""


_BROKEN_FILE: Final = (OSError, ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError)
"""What the ``kubernetes`` package lets out where a kubeconfig has another shape than it expects."""


class Access(msgspec.Struct, frozen=True):
    """What one request needs.

    Attributes:
        base_url: Scheme, host and port, without a trailing slash.
        tls: The TLS context; ``None`` for plain HTTP.
        headers: With the authorization, if there is any.
    """

    base_url: str
    tls: ssl.SSLContext | None
    headers: dict[str, str]


class Credentials(Protocol):
    """Where access comes from."""

    async def current(self) -> Access:
        """Return the access to use now; cheap.

        Raises:
            SettingsError: There is none.
        """
        ...

    def refused(self) -> None:
        """Take note that the API server answered 401, so that the next request asks anew."""
        ...


class InClusterCredentials:
    """The mounted ServiceAccount, read again every minute; a file that is empty or gone keeps the last good one."""

    def __init__(self, host: str, port: str, directory: Path = SERVICE_ACCOUNT) -> None:
        bracketed = f"[{host}]" if ":" in host else host
        self._base_url = f"https://{bracketed}:{port}"
        self._directory = directory
        self._authority = b""
        self._access: Access | None = None
        self._read_at = 0.0

    async def current(self) -> Access:
        """Return the access to use now.

        Raises:
            SettingsError: There never was a token or a CA to read.
        """
        now = anyio.current_time()
        if self._access is None or now - self._read_at >= REREAD_S:
            self._read_at = now
            self._access = await anyio.to_thread.run_sync(self._read)
        return self._access

    def refused(self) -> None:
        """Read again at the next request."""
        self._read_at = -math.inf

    def _read(self) -> Access:
        known = self._access
        token = _token(_content(self._directory / "token"))
        headers = {"Authorization": f"Bearer {token}"} if token else (known.headers if known else None)
        authority = _content(self._directory / "ca.crt").strip()
        tls = known.tls if known else None
        if authority and authority != self._authority:
            tls = _context(authority) or tls
            self._authority = authority
        if headers is None or tls is None:
            raise SettingsError(
                f"{self._directory}: no ServiceAccount token and CA to read; "
                "mount them, or name a kubeconfig with --kubeconfig"
            )
        return Access(self._base_url, tls, headers)


class KubeconfigCredentials:
    """A kubeconfig file, loaded by the ``kubernetes`` package: exec plugins, OIDC, client certificates, token files."""

    def __init__(self, path: str, context: str) -> None:
        """Make it.

        Args:
            path: The file; empty means ``KUBECONFIG``, else ``~/.kube/config``.
            context: A context in it; empty means its current one.
        """
        self._path = path
        self._context = context
        self._access: Access | None = None

    async def current(self) -> Access:
        """Return the access to use now.

        Raises:
            SettingsError: The file is missing or not valid.
        """
        if self._access is None:
            self._access = await self._load()
        return self._access

    def refused(self) -> None:
        """Load again at the next request: the token of an exec plugin or of a file may have ended."""
        self._access = None

    async def _load(self) -> Access:
        from kubernetes.aio import config  # noqa: PLC0415 - 0.4 s of import, needed for kubeconfigs only
        from kubernetes.aio.client import Configuration  # noqa: PLC0415 - as above

        place = self._path or os.environ.get("KUBECONFIG") or "~/.kube/config"
        if not await anyio.to_thread.run_sync(_exists, place):
            raise SettingsError(f"{place}: there is no such file; name a kubeconfig with --kubeconfig")
        loaded = Configuration()
        try:
            loader = await config.load_kube_config(  # pyright: ignore[reportUnknownMemberType]  # the package has no types here
                config_file=place,
                context=self._context or None,
                client_configuration=loaded,
                persist_config=False,
            )
            base_url = str(loaded.host).rstrip("/")
            tls = await anyio.to_thread.run_sync(_client_context, loaded) if base_url.startswith("https") else None
        except (config.ConfigException, *_BROKEN_FILE) as error:
            raise SettingsError(f"{place}: {_sentence(error)}; name another file with --kubeconfig") from error
        settings = cast("dict[str, dict[str, str]]", await loaded.auth_settings())
        headers = {auth["key"]: auth["value"] for auth in settings.values() if auth["in"] == "header"}
        user = cast("Container[str] | None", vars(loader)["_user"])
        if (
            not headers and not loaded.cert_file and user is not None and "exec" in user
        ):  # the loader only logs what went wrong
            raise SettingsError(f"{place}: the exec plugin gave no credentials; run it by hand to see why")
        return Access(base_url, tls, headers)


class _TlsFiles(Protocol):
    """What of a kubernetes Configuration makes a TLS context."""

    ssl_ca_cert: str | None
    ca_cert_data: str | bytes | None
    cert_file: str | None
    key_file: str | None
    verify_ssl: bool


def _client_context(files: _TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.ssl_ca_cert, cadata=files.ca_cert_data)
    if files.cert_file:
        context.load_cert_chain(files.cert_file, files.key_file)
    if not files.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _exists(files: str) -> bool:
    return any(Path(file).expanduser().exists() for file in files.split(os.pathsep))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _token(content: bytes) -> str:
    """Return the token; empty where the file is half written or holds what no header may."""
    token = content.strip().decode("ascii", "replace")
    return token if token.isascii() and token.isprintable() and " " not in token else ""


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _context(authority: bytes) -> ssl.SSLContext | None:
    try:
        return ssl.create_default_context(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return None
