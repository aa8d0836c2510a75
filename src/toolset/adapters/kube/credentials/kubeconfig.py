"""Credentials and cluster access from a kubeconfig, resolved as kubectl does."""

import base64
import os
import ssl
from typing import Final
from urllib.parse import quote

import anyio
import anyio.to_thread
import msgspec

from toolset.adapters.kube.credentials.exec_plugin import ExecPlugin
from toolset.adapters.kube.credentials.kubeconfig_context import ChosenContext, choose
from toolset.adapters.kube.credentials.kubeconfig_file import REMEDY, Placed, read
from toolset.adapters.kube.credentials.kubeconfig_schema import User
from toolset.adapters.kube.credentials.oidc import Oidc
from toolset.adapters.kube.credentials.renewal import Loaded, ending
from toolset.adapters.kube.credentials.rest_config import RestConfig
from toolset.adapters.tls import client_context, show_certificate
from toolset.errors import SettingsError

REREAD_S: Final = 60.0
"""How often the file and the files it names are read again, seconds (client-go: token files every minute)."""

_HEADER_NAME: Final = "!#$&'*+-.^_`|~"
"""What the name of a header may contain apart from letters and digits; ``%`` is escaped too."""


class _Proof(msgspec.Struct, frozen=True):
    """The credentials that authenticate this process."""

    authorization: str = ""
    certificate: tuple[bytes, bytes] | None = None
    made_for_s: float | None = None  # only of what is made and not just read


class Kubeconfig:
    """One context of a kubeconfig, read repeatedly; a new TLS context is made only if the content changed."""

    def __init__(self, path: str, context: str) -> None:
        """Create it.

        Args:
            path: The file; empty means ``KUBECONFIG``, else ``~/.kube/config``.
            context: A context in it; empty means its current one.
        """
        self._path = path
        self._context = context
        self._oidc = Oidc()
        self._tls_of: object = None
        self._tls: ssl.SSLContext | None = None

    async def load(self) -> Loaded[RestConfig]:
        """Return the access, and how long it is valid.

        Raises:
            SettingsError: The file is missing or not valid, or gives no credentials.
        """
        # a mount may hang; then the thread is abandoned
        merged = await anyio.to_thread.run_sync(read, self._path, dict(os.environ), abandon_on_cancel=True)
        try:
            chosen = await anyio.to_thread.run_sync(choose, merged, self._context, abandon_on_cancel=True)
            return await self._access(chosen)
        except ValueError as error:
            raise SettingsError(f"{merged.place}: {error}; {REMEDY}") from error

    async def _access(self, chosen: ChosenContext) -> Loaded[RestConfig]:
        impersonation = _impersonation(chosen.user.entry)
        if chosen.base_url.startswith("http:"):  # kubectl: no secret is sent over an unencrypted connection
            return Loaded(RestConfig(chosen.base_url, None, impersonation, origin=chosen.origin), REREAD_S)
        proof = await self._proof(chosen)
        tls = await anyio.to_thread.run_sync(self._context_for, chosen, proof.certificate)
        authorization = (("Authorization", _header(proof.authorization)),) if proof.authorization else ()
        access = RestConfig(
            chosen.base_url,
            tls,
            authorization + impersonation,
            chosen.cluster.entry.tls_server_name,
            chosen.origin,
        )
        if proof.made_for_s is None:
            return Loaded(access, REREAD_S)
        return ending(access, proof.made_for_s)

    async def _proof(self, chosen: ChosenContext) -> _Proof:
        """Return the credentials, in client-go's order: those in the files, then a plugin, then an issuer."""
        user, folder, certificate = chosen.user.entry, chosen.user.folder, chosen.certificate
        authorization = await anyio.to_thread.run_sync(_written, chosen.user, abandon_on_cancel=True)
        if user.exec and not authorization and not certificate:
            plugin = ExecPlugin(user.exec, folder, chosen.cluster.entry, chosen.authority or b"")
            status = await plugin.run()
            shown = (status.client_certificate_data.encode(), status.client_key_data.encode())
            bearer = f"Bearer {status.token}" if status.token else ""
            return _Proof(bearer, shown if status.client_key_data else None, status.lives_s())
        if user.auth_provider and not authorization:
            if user.auth_provider.name != "oidc":
                raise ValueError("of auth-providers only oidc is supported; use an exec plugin")
            token, lives_s = await self._oidc.id_token(user.auth_provider.config)
            return _Proof(f"Bearer {token}", certificate, lives_s)
        return _Proof(authorization, certificate)

    def _context_for(self, chosen: ChosenContext, certificate: tuple[bytes, bytes] | None) -> ssl.SSLContext:
        verify = not chosen.cluster.entry.insecure_skip_tls_verify
        made_of = (verify, chosen.authority, certificate)
        if self._tls is None or made_of != self._tls_of:
            context = client_context(chosen.authority, verify=verify)
            if certificate is not None:
                show_certificate(context, *certificate)
            self._tls, self._tls_of = context, made_of
        return self._tls


def _written(user: Placed[User]) -> str:
    """Return the authorization in the files: the token of ``tokenFile`` before ``token``."""
    entry = user.entry
    if entry.token_file:
        try:
            found = (user.folder / entry.token_file).read_text("utf-8").strip()
        except (OSError, ValueError):
            found = ""
        if not found and not entry.token:
            raise ValueError(f"its tokenFile {entry.token_file} is missing or empty")
        return f"Bearer {found or entry.token}"
    if entry.token:
        return f"Bearer {entry.token}"
    if entry.username or entry.password:
        return "Basic " + base64.b64encode(f"{entry.username}:{entry.password}".encode()).decode()
    return ""


def _impersonation(user: User) -> tuple[tuple[str, str], ...]:
    """Return the impersonation headers."""
    if not user.as_user:
        return ()
    extra = [
        (f"Impersonate-Extra-{quote(name, safe=_HEADER_NAME)}", value)
        for name, values in user.as_user_extra.items()
        for value in values
    ]
    groups = [("Impersonate-Group", group) for group in user.as_groups]
    uid = [("Impersonate-Uid", user.as_uid)] if user.as_uid else []
    return tuple((name, _header(value)) for name, value in (("Impersonate-User", user.as_user), *uid, *groups, *extra))


def _header(value: str) -> str:
    """Return ``value``; raise ValueError if it is not printable, which no header may hold."""
    if not value.isprintable():
        raise ValueError("the user has credentials that cannot be sent: check its token or tokenFile")
    return value
