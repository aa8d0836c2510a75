"""The messages of the list and watch API, as msgspec decodes them."""

from typing import Generic, TypeVar

import msgspec

from toolset.adapters.kube.status import Status

T = TypeVar("T")

END_OF_LIST = "k8s.io/initial-events-end"


class SketchObject(msgspec.Struct, frozen=True, gc=False):
    """The object of a :class:`Sketch`."""

    kind: str = ""


class Sketch(msgspec.Struct, frozen=True, gc=False):
    """The fields that are read of an unexpected watch line."""

    type: str
    object: SketchObject = msgspec.field(default_factory=SketchObject)


class ListMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """``metadata`` of a list."""

    resource_version: str = ""
    next_token: str = msgspec.field(default="", name="continue")


class ObjectList(msgspec.Struct, frozen=True):
    """One page of a list; its objects are not decoded yet."""

    kind: str = ""
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: tuple[msgspec.Raw, ...] | None = None


class _Line(msgspec.Struct, Generic[T], frozen=True, tag_field="type", gc=False):
    object: T


class Added(_Line[T], Generic[T], frozen=True, tag="ADDED", gc=False):
    """A watch line for a new object."""


class Modified(_Line[T], Generic[T], frozen=True, tag="MODIFIED", gc=False):
    """A watch line for a changed object."""


class Removed(_Line[T], Generic[T], frozen=True, tag="DELETED", gc=False):
    """A watch line for a deleted object."""


class BookmarkLine(msgspec.Struct, frozen=True, tag="BOOKMARK", tag_field="type", gc=False):
    """A watch line that moves the resource version."""

    object: "MarkObject"


class WatchError(msgspec.Struct, frozen=True, tag="ERROR", tag_field="type", gc=False):
    """A watch line that ends the stream."""

    object: Status


class MarkMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """``metadata`` of a bookmark."""

    resource_version: str = ""
    annotations: dict[str, str] = {}


class MarkObject(msgspec.Struct, frozen=True, gc=False):
    """The object of a bookmark."""

    metadata: MarkMeta = msgspec.field(default_factory=MarkMeta)
