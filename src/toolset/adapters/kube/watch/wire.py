"""The shapes of the wire: lists, watch lines and Status errors, decoded in one step."""

from typing import Generic, TypeVar

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

T = TypeVar("T")

END_OF_LIST = "k8s.io/initial-events-end"
_INVALID = frozenset({400, 405, 406, 413, 415, 422})
_TOO_LARGE = "Too large resource version"


class SketchObject(msgspec.Struct, frozen=True, gc=False):
    """The object of a :class:`Sketch`."""

    kind: str = ""


class Sketch(msgspec.Struct, frozen=True, gc=False):
    """What a watch line that nobody expected can still be asked."""

    type: str
    object: SketchObject = msgspec.field(default_factory=SketchObject)


class ListMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """``metadata`` of a list."""

    resource_version: str = ""
    next_token: str = msgspec.field(default="", name="continue")


class ObjectList(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list."""

    kind: str = ""
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: tuple[T, ...] | None = None


class _Line(msgspec.Struct, Generic[T], frozen=True, tag_field="type", gc=False):
    object: T


class Added(_Line[T], Generic[T], frozen=True, tag="ADDED", gc=False):
    """A watch line for a new object."""


class Modified(_Line[T], Generic[T], frozen=True, tag="MODIFIED", gc=False):
    """A watch line for a changed object."""


class Removed(_Line[T], Generic[T], frozen=True, tag="DELETED", gc=False):
    """A watch line for an object that is gone."""


class BookmarkLine(msgspec.Struct, frozen=True, tag="BOOKMARK", tag_field="type", gc=False):
    """A watch line that moves the resource version."""

    object: "MarkObject"


class WatchError(msgspec.Struct, frozen=True, tag="ERROR", tag_field="type", gc=False):
    """A watch line that ends the stream."""

    object: "Status"


class MarkMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """``metadata`` of a bookmark."""

    resource_version: str = ""
    annotations: dict[str, str] = {}


class MarkObject(msgspec.Struct, frozen=True, gc=False):
    """The object of a bookmark."""

    metadata: MarkMeta = msgspec.field(default_factory=MarkMeta)


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
    """How the API server says that something went wrong."""

    kind: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    details: Details | None = None


_STATUS = msgspec.json.Decoder(Status)


def error_of(code: int, body: bytes, retry_after_s: float) -> ToolsetError:
    """Return the error that an answer means; a body that is no Status (a proxy's page) is not repeated."""
    try:
        status = decode(_STATUS, body)
    except msgspec.DecodeError:
        status = Status()
    if status.kind != "Status":
        status = Status(message="no Status in the answer")
    return error_from(status, code, retry_after_s)


def error_from(status: Status, code: int, retry_after_s: float = 0.0) -> ToolsetError:
    """Return the error that ``status`` means, read as an answer with ``code``."""
    message = f"the API server answered {code} {status.reason}: {status.message[:256]}"
    retry_after_s = retry_after_s or (status.details.retry_after_seconds if status.details else 0.0)
    if code in {401, 403}:
        return ForbiddenError(message)
    if code == 409:
        return ConflictError(message)
    if code == 410 or _version_too_large(status):
        return OutOfSyncError(message, version_unusable=True)
    if code in {0, 500}:  # 0: an ERROR line that says no code
        return OutOfSyncError(message)
    if code == 404:
        return NotFoundError(message)
    if code in _INVALID:
        return InvalidError(message)
    return UnavailableError(message, retry_after_s=retry_after_s, throttled=code == 429)


def _version_too_large(status: Status) -> bool:
    causes = status.details.causes if status.details else ()
    return _TOO_LARGE in status.message or any(cause.reason == "ResourceVersionTooLarge" for cause in causes)
