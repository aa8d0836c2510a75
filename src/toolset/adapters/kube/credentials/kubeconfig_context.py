"""One context of the kubeconfigs, accepted or rejected as client-go does."""

from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from toolset.adapters.kube.credentials.kubeconfig_file import Merged, Placed, base64_decoded
from toolset.adapters.kube.credentials.kubeconfig_schema import Cluster, Context, Exec, User
from toolset.adapters.kube.credentials.rest_config import Origin

T = TypeVar("T")
_SHOWN: Final = 8
"""How many contexts a message lists at most."""


class ChosenContext(msgspec.Struct, frozen=True):
    """A context, with the files that it names read.

    Attributes:
        origin: Its cluster and user, for people.
        base_url: Scheme, host and port, and perhaps a path, without a trailing slash.
        cluster: Its cluster.
        user: Its user; an empty one is anonymous.
        authority: Trusted CA certificates, in PEM; ``None`` for those of the system.
        certificate: The client certificate and its private key, both in PEM.
    """

    origin: Origin
    base_url: str
    cluster: Placed[Cluster]
    user: Placed[User]
    authority: bytes | None
    certificate: tuple[bytes, bytes] | None


def choose(merged: Merged, wanted: str) -> ChosenContext:
    """Return the context ``wanted``, or the current one if that is empty.

    Raises:
        ValueError: There is none, or it cannot be used.
    """
    name = wanted or merged.current_context
    if not name:
        raise ValueError("no context in it is current; name one with --context")
    if name not in merged.contexts:
        known = [f"`{each}`" for each in sorted(merged.contexts)]
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        raise ValueError(f"there is no context `{name}` in it, only {', '.join(known[:_SHOWN]) or 'none'}{more}")
    context = merged.contexts[name].entry
    cluster = _entry(merged.clusters, "cluster", context.cluster, name)
    user = _entry(merged.users, "user", context.user, name) if context.user else Placed(User(), Path())
    if problem := problem_of_cluster(cluster.entry) or problem_of_user(user.entry):
        raise ValueError(f"context `{name}`: {problem}")
    base_url = _base_url(cluster.entry.server)
    return ChosenContext(
        _origin(name, context, base_url, user.entry),
        base_url,
        cluster,
        user,
        _content(cluster.folder, cluster.entry.certificate_authority, cluster.entry.certificate_authority_data),
        _certificate(user),
    )


def problem_of_cluster(cluster: Cluster) -> str:
    """Return why client-go or this service rejects ``cluster``; empty if neither does."""
    has_authority = bool(cluster.certificate_authority or cluster.certificate_authority_data)
    problems = {
        "its cluster has no server": not cluster.server,
        "certificate-authority and certificate-authority-data are both set; remove one": cluster.certificate_authority
        and cluster.certificate_authority_data,
        "insecure-skip-tls-verify and a certificate-authority are both set; remove one": has_authority
        and cluster.insecure_skip_tls_verify,
        "proxy-url is not supported; name a cluster that is reached without a proxy": cluster.proxy_url,
    }
    return next((sentence for sentence, applies in problems.items() if applies), "")


def problem_of_user(user: User) -> str:
    """Return why client-go rejects ``user``; empty if it does not."""
    certificate = user.client_certificate or user.client_certificate_data
    problems = {
        "token and username are both set; remove one": (user.token or user.token_file)
        and (user.username or user.password),
        "client-certificate and client-certificate-data are both set; remove one": user.client_certificate
        and user.client_certificate_data,
        "client-key and client-key-data are both set; remove one": certificate
        and user.client_key
        and user.client_key_data,
        "its client-certificate has no client-key": certificate and not (user.client_key or user.client_key_data),
        "exec and auth-provider are both set; remove one": user.exec and user.auth_provider,
        "as-uid, as-groups and as-user-extra need `as`": (user.as_uid or user.as_groups or user.as_user_extra)
        and not user.as_user,
    }
    found = next((sentence for sentence, applies in problems.items() if applies), "")
    return found or (_problem_of_exec(user.exec) if user.exec else "")


def _problem_of_exec(plugin: Exec) -> str:
    problems = {
        "exec.command is not set": not plugin.command,
        "exec.apiVersion must be client.authentication.k8s.io/v1 or v1beta1": plugin.api_version
        not in {"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"},
        "exec.env has a variable without a name": any(not variable.name for variable in plugin.env),
        "exec.interactiveMode must be Never, IfAvailable or Always": plugin.interactive_mode
        not in {"Never", "IfAvailable", "Always"}
        and (plugin.interactive_mode or plugin.api_version.endswith("/v1")),
    }
    return next((sentence for sentence, applies in problems.items() if applies), "")


def _entry(entries: dict[str, Placed[T]], noun: str, name: str, context: str) -> Placed[T]:
    if name not in entries:
        raise ValueError(f"context `{context}`: there is no {noun} `{name}` in it")
    return entries[name]


def _base_url(server: str) -> str:
    """Return the URL that client-go makes of ``server``: without a scheme it is plain HTTP."""
    try:
        parts = urlsplit(server)
        if not parts.scheme or not parts.netloc:
            parts = urlsplit(f"http://{server}")._replace(query="", fragment="")
            valid = parts.path in {"", "/"}
        else:
            valid = parts.scheme in {"http", "https"}
        valid = valid and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, no IPv6 address
        valid, parts = False, urlsplit("")
    if not valid:
        raise ValueError("the server of its cluster must be a URL, as https://HOST:PORT")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _origin(name: str, context: Context, base_url: str, user: User) -> Origin:
    parts = urlsplit(base_url)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    identity = context.user or "anonymous"
    return Origin(f"{context.cluster} ({address})", name, f"{identity} as {user.as_user}" if user.as_user else identity)


def _certificate(user: Placed[User]) -> tuple[bytes, bytes] | None:
    entry = user.entry
    certificate = _content(user.folder, entry.client_certificate, entry.client_certificate_data)
    key = _content(user.folder, entry.client_key, entry.client_key_data) if certificate is not None else None
    return None if certificate is None or key is None else (certificate, key)


def _content(folder: Path, file: str, data: str) -> bytes | None:
    """Return the value of a pair of fields, of which one names a file; ``None`` if neither is set."""
    if data:
        return base64_decoded(data)
    if not file:
        return None
    try:
        return (folder / file).read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from error
