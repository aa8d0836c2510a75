"""The Status object of the Kubernetes API, and its error."""

from typing import Final

import msgspec

from toolset.adapters.kube.decoding import decode
from toolset.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    OutOfSyncError,
    ToolsetError,
    UnavailableError,
)

_INVALID: Final = frozenset({400, 405, 406, 413, 415, 422})
_TOO_LARGE: Final = "Too large resource version"
_GATEWAY_TIMEOUT: Final = 504


class Cause(msgspec.Struct, frozen=True, gc=False):
    """One of the causes in a Status."""

    reason: str = ""
    message: str = ""
    field: str = ""


class Details(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The details of a Status."""

    causes: tuple[Cause, ...] = ()
    retry_after_seconds: float = 0.0


class Status(msgspec.Struct, frozen=True, gc=False):
    """The API server's report of a failure."""

    kind: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    details: Details | None = None


_STATUS = msgspec.json.Decoder(Status)


def error_of(code: int, body: bytes, retry_after_s: float) -> ToolsetError:
    """Return the error for a response; a body that is not a Status (a proxy's page) is not repeated."""
    try:
        status = decode(_STATUS, body)
    except msgspec.DecodeError:
        status = Status()
    if status.kind != "Status":
        status = Status(message="no Status in the answer")
    return error_from(status, code, retry_after_s)


def error_from(status: Status, code: int, retry_after_s: float = 0.0) -> ToolsetError:
    """Return the error for ``status``, in a response with ``code``."""
    message = f"the API server answered {code} {status.reason}: {status.message[:256]}"
    if code == 401:
        message += "; the credentials are expired, revoked, or of another cluster"
    retry_after_s = retry_after_s or (status.details.retry_after_seconds if status.details else 0.0)
    if code in {401, 403}:
        return ForbiddenError(message, retry_after_s=retry_after_s)
    if code == 409:
        return ConflictError(message, retry_after_s=retry_after_s)
    if code == 410 or _version_too_large(status):
        return OutOfSyncError(message, retry_after_s=retry_after_s, version_unusable=True)
    if code in {0, 500}:  # 0: an ERROR line without a code
        return OutOfSyncError(message, retry_after_s=retry_after_s)
    if code == 404:
        return NotFoundError(message)
    if code in _INVALID:
        return InvalidError(message)
    return UnavailableError(
        message, retry_after_s=retry_after_s, throttled=code == 429, incomplete=code == _GATEWAY_TIMEOUT
    )


def _version_too_large(status: Status) -> bool:
    causes = status.details.causes if status.details else ()
    return _TOO_LARGE in status.message or any(cause.reason == "ResourceVersionTooLarge" for cause in causes)
