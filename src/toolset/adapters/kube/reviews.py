"""Ask the API server for this process's user and permissions; every authenticated user may do that."""

from typing import Final, TypeVar

import msgspec

from toolset.adapters.kube.decoding import decode
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.errors import UnavailableError

R = TypeVar("R")

_ACCESS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_IDENTITY: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class ResourceAttributes(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """One verb on one kind of thing, in the shape of the API.

    Attributes:
        verb: For example ``list``.
        group: The API group; empty for the core group.
        resource: In the plural.
        subresource: Below it; empty for the thing itself.
        namespace: Where; empty for every namespace.
        name: Of the one thing; empty for any.
    """

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class _AccessStatus(msgspec.Struct, frozen=True):
    allowed: bool = False


class _AccessReview(msgspec.Struct, frozen=True):
    status: _AccessStatus = _AccessStatus()


class _UserInfo(msgspec.Struct, frozen=True):
    username: str = ""


class _IdentityStatus(msgspec.Struct, frozen=True, rename="camel"):
    user_info: _UserInfo = _UserInfo()


class _IdentityReview(msgspec.Struct, frozen=True):
    status: _IdentityStatus = _IdentityStatus()


async def is_allowed(transport: KubeTransport, attributes: ResourceAttributes) -> bool:
    """Return whether this process may do that.

    Raises:
        ToolsetError: The API server cannot be asked.
    """
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await transport.send(Request("POST", _ACCESS, body=msgspec.json.encode(body)))
    return _decoded(answer, _AccessReview).status.allowed


async def whoami(transport: KubeTransport) -> str:
    """Return the user name that the API server has for this process; empty if it does not say.

    Raises:
        ToolsetError: The API server cannot be asked; NotFoundError before Kubernetes 1.28.
    """
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await transport.send(Request("POST", _IDENTITY, body=msgspec.json.encode(body)))
    return _decoded(answer, _IdentityReview).status.user_info.username


def _decoded(answer: bytes, kind: type[R]) -> R:
    try:
        return decode(msgspec.json.Decoder(kind), answer)
    except msgspec.DecodeError as error:
        raise UnavailableError(f"the review could not be decoded: {error}") from error
