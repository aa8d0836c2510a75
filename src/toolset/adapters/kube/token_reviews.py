"""Ask the API server for the user of a bearer token, and whether that user may read a path."""

from typing import Final

import msgspec

from toolset.adapters.kube.decoding import decode
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.errors import UnavailableError

_TOKEN: Final = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
_ACCESS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
TIMEOUT_S: Final = 5.0


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """The user of a token, in the shape of the API."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class _TokenStatus(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: User = User()


class _TokenReview(msgspec.Struct, frozen=True):
    status: _TokenStatus = _TokenStatus()


class _AccessStatus(msgspec.Struct, frozen=True):
    allowed: bool = False
    denied: bool = False


class _AccessReview(msgspec.Struct, frozen=True):
    status: _AccessStatus = _AccessStatus()


async def user_of(transport: KubeTransport, token: str) -> User | None:
    """Return the user of ``token``; ``None`` if the API server does not know it.

    Raises:
        ToolsetError: The API server cannot be asked.
    """
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = await transport.send(Request("POST", _TOKEN, body=msgspec.json.encode(body)), timeout_s=TIMEOUT_S)
    try:
        status = decode(msgspec.json.Decoder(_TokenReview), answer).status
    except msgspec.DecodeError as error:
        raise UnavailableError(f"the review could not be decoded: {error}") from error
    return status.user if status.authenticated and status.user.username else None


async def may_read(transport: KubeTransport, user: User, path: str) -> bool:
    """Return whether ``user`` may ``get`` the path ``path``, as a rule with `nonResourceURLs` grants it.

    Raises:
        ToolsetError: The API server cannot be asked.
    """
    spec = {
        "user": user.username,
        "uid": user.uid,
        "groups": user.groups,
        "extra": user.extra,
        "nonResourceAttributes": {"path": path, "verb": "get"},
    }
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = await transport.send(Request("POST", _ACCESS, body=msgspec.json.encode(body)), timeout_s=TIMEOUT_S)
    try:
        status = decode(msgspec.json.Decoder(_AccessReview), answer).status
    except msgspec.DecodeError as error:
        raise UnavailableError(f"the review could not be decoded: {error}") from error
    return status.allowed and not status.denied
