"""Read a kubeconfig with the ``kubernetes`` package: exec plugins, OIDC, client certificates, token files."""

import math
import os
import ssl
from collections.abc import Container
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, Protocol, cast

import aiohttp
import anyio
import anyio.to_thread
import yaml

from toolset.adapters.kube.credentials.rest_config import RestConfig
from toolset.errors import SettingsError

REREAD_S: Final = 60.0
"""How often the file and what it names are read again, seconds (client-go: token files every minute)."""

PLUGIN_TIMEOUT_S: Final = 120.0
"""Long enough for a person to log in where a plugin asks for it, seconds."""

_LEEWAY_S: Final = 10.0
"""Credentials are renewed so long before they expire, and not more often than this, seconds (client-go: 10 s)."""

_COSTLY: Final = ("exec", "auth-provider")
"""Users whose credentials are made and not just read: they are made again when they expire or are refused."""

_PROMISES: Final = ("exec", "auth-provider", "token", "tokenFile", "username", "client-certificate")

_BROKEN_FILE: Final = (OSError, ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError, aiohttp.ClientError)
"""What the ``kubernetes`` package lets out where a kubeconfig, or an OIDC issuer's answer, is not as it expects."""


class _Loaded(Protocol):
    """What is read of a kubernetes Configuration."""

    host: str
    proxy: str | None
    tls_server_name: str | None
    ssl_ca_cert: str | None
    cert_file: str | None
    key_file: str | None
    verify_ssl: bool

    async def auth_settings(self) -> dict[str, dict[str, str]]: ...


class Kubeconfig:
    """One context of a kubeconfig, to be read again and again; a TLS context is made anew only for other files."""

    def __init__(self, path: str, context: str) -> None:
        """Make it.

        Args:
            path: The file; empty means ``KUBECONFIG``, else ``~/.kube/config``.
            context: A context in it; empty means its current one.
        """
        self._path = path
        self._context = context
        self._tls_files: tuple[bytes, ...] = ()
        self._tls: ssl.SSLContext | None = None

    async def load(self) -> tuple[RestConfig, float]:
        """Return the access, and for how long it is good, seconds.

        Raises:
            SettingsError: The file is missing or not valid, or gives no credentials.
        """
        place = self._path or os.environ.get("KUBECONFIG") or "~/.kube/config"
        if not await anyio.to_thread.run_sync(_exists, place):
            raise SettingsError(f"{place}: there is no such file; name a kubeconfig with --kubeconfig")
        from kubernetes.aio import config  # noqa: PLC0415 - 0.4 s of import, needed for kubeconfigs only
        from kubernetes.aio.client import Configuration  # noqa: PLC0415 - as above

        loaded = cast("_Loaded", Configuration())
        try:
            with anyio.fail_after(PLUGIN_TIMEOUT_S):
                loader = await config.load_kube_config(  # pyright: ignore[reportUnknownMemberType]  # the package has no types here
                    config_file=place,
                    context=self._context or None,
                    client_configuration=loaded,
                    persist_config=False,
                )
            tls = await anyio.to_thread.run_sync(self._context_for, loaded)
        except (config.ConfigException, *_BROKEN_FILE) as error:
            raise SettingsError(f"{place}: {_sentence(error)}; name another file with --kubeconfig") from error
        if loaded.proxy:
            raise SettingsError(f"{place}: proxy-url is not supported; name a cluster that is reached without a proxy")
        made = cast("dict[str, object]", vars(loader))
        user = cast("Container[str] | None", made["_user"]) or ()
        headers = await _headers(loaded)
        if not headers and not loaded.cert_file:
            _refuse_to_be_anonymous(place, user)
        expiry = cast("datetime | None", made.get("exec_plugin_expiry"))
        return RestConfig(loaded.host.rstrip("/"), tls, headers, loaded.tls_server_name or ""), _good_for_s(
            user, expiry
        )

    def _context_for(self, loaded: _Loaded) -> ssl.SSLContext | None:
        if not loaded.host.startswith("https"):
            return None
        names = (loaded.ssl_ca_cert, loaded.cert_file, loaded.key_file)
        files = (str(loaded.verify_ssl).encode(), *(Path(name).read_bytes() if name else b"" for name in names))
        if self._tls is None or files != self._tls_files:
            self._tls, self._tls_files = _client_context(loaded), files
        return self._tls


async def _headers(loaded: _Loaded) -> dict[str, str]:
    settings = await loaded.auth_settings()
    headers = {auth["key"]: auth["value"].strip() for auth in settings.values() if auth["in"] == "header"}
    return {name: value for name, value in headers.items() if value not in {"", "Bearer"} and value.isprintable()}


def _refuse_to_be_anonymous(place: str, user: Container[str]) -> None:
    """Raise where the file promises credentials that nobody got; the loader only logs what went wrong."""
    if "exec" in user:
        raise SettingsError(f"{place}: the exec plugin gave no credentials; run it by hand to see why")
    if any(promise in user for promise in _PROMISES):
        raise SettingsError(f"{place}: the user has no credentials that can be sent; look at its token or tokenFile")


def _good_for_s(user: Container[str], expiry: datetime | None) -> float:
    if expiry is not None:
        left_s = (expiry - datetime.now(timezone.utc)).total_seconds()
        return max(left_s - _LEEWAY_S, _LEEWAY_S)
    return math.inf if any(costly in user for costly in _COSTLY) else REREAD_S


def _client_context(loaded: _Loaded) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=loaded.ssl_ca_cert)
    if loaded.cert_file:
        context.load_cert_chain(loaded.cert_file, loaded.key_file)
    if not loaded.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _exists(files: str) -> bool:
    return any(Path(file).expanduser().exists() for file in files.split(os.pathsep))


def _sentence(error: BaseException) -> str:
    if isinstance(error, TypeError | AttributeError | KeyError):
        return "this is no kubeconfig"
    return " ".join(str(error).split()) or type(error).__name__
