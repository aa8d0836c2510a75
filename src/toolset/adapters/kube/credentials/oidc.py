"""Renew the ID token of an OIDC user: the ``kubernetes`` package provides the protocol, this module TLS and errors."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from ssl import SSLContext
from typing import Final, Protocol, cast

import aiohttp
import anyio
import anyio.to_thread
import msgspec

from toolset.adapters.kube.credentials.jwt_claims import claims
from toolset.adapters.kube.credentials.kubeconfig_file import base64_decoded
from toolset.adapters.tls import client_context

TIMEOUT_S: Final = 30.0
_LEEWAY_S: Final = 10.0


class _Requestor(Protocol):
    _get_connector: Callable[[], aiohttp.TCPConnector]

    async def refresh_token(self, refresh_token: str) -> object: ...


class _Answer(msgspec.Struct, frozen=True):
    id_token: str = ""
    refresh_token: str | None = None


class _Unusable(Exception):  # noqa: N818 - a reason
    """The kubeconfig's settings for the issuer cannot be used."""


class Oidc:
    """ID tokens by refresh token. An issuer may replace that with every use; the newest one is kept in memory."""

    def __init__(self) -> None:
        self._newest: dict[str, Mapping[str, str]] = {}  # by the refresh token of the kubeconfig

    async def id_token(self, config: Mapping[str, str]) -> tuple[str, float]:
        """Return an ID token, and how long it is valid, seconds.

        Args:
            config: Of the kubeconfig's ``auth-provider``.

        Raises:
            ValueError: There is none; the message says why.
        """
        for name in ("idp-issuer-url", "client-id"):
            if not config.get(name):
                raise ValueError(f"oidc: {name} is not set")
        own = config.get("refresh-token", "")
        current = {**config, **self._newest.get(own, {})}
        token = current.get("id-token", "")
        if token and (left_s := claims(token.encode()).exp - time.time()) > _LEEWAY_S:
            return token, left_s
        if not own:
            raise ValueError("oidc: the ID token has expired, and there is no refresh-token")
        answer = await _refreshed(current)
        token = answer.id_token
        if not token:
            raise ValueError("oidc: the issuer gave no ID token")
        self._newest[own] = {"id-token": token, "refresh-token": answer.refresh_token or current["refresh-token"]}
        return token, claims(token.encode()).exp - time.time()


async def _refreshed(config: Mapping[str, str]) -> _Answer:
    """Ask the issuer for tokens."""
    try:
        requestor = await anyio.to_thread.run_sync(_requestor, config)
        with anyio.fail_after(TIMEOUT_S):
            return msgspec.convert(await requestor.refresh_token(config["refresh-token"]), _Answer)
    except _Unusable as error:
        raise ValueError(f"oidc: {error}") from error
    except Exception as error:  # what that package raises is not documented, and must not end the process
        raise ValueError(f"oidc: the issuer gave no token ({type(error).__name__})") from error


def _requestor(config: Mapping[str, str]) -> _Requestor:
    try:
        from kubernetes.aio.config.openid import OpenIDRequestor  # noqa: PLC0415 - 0.4 s of import, for OIDC only
    except ModuleNotFoundError as error:
        raise _Unusable("an ID token is renewed with the package kubernetes, which the image leaves out") from error

    tls = _context(config)
    requestor = cast(
        "_Requestor", OpenIDRequestor(config["client-id"], config.get("client-secret", ""), config["idp-issuer-url"])
    )
    requestor._get_connector = lambda: aiohttp.TCPConnector(ssl=tls)  # noqa: SLF001 - its own does not verify certificates
    return requestor


def _context(config: Mapping[str, str]) -> SSLContext:
    data, file = config.get("idp-certificate-authority-data", ""), config.get("idp-certificate-authority", "")
    try:
        return client_context(base64_decoded(data) if data else Path(file).read_bytes() if file else None)
    except (OSError, ValueError) as error:
        raise _Unusable("the CA of the issuer cannot be read") from error
