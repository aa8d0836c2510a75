"""The protocol between a reflector and a server: lists in pages, watches in events."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from toolset.runtime.store import Stored

V = TypeVar("V", bound=Stored)

PAGE_SIZES: Final = (500, 50, 10)
"""Page sizes in objects; the smaller ones are used after a page that was too slow or too large."""
PAGE_SIZE: Final = PAGE_SIZES[0]


class Applied(msgspec.Struct, Generic[V], frozen=True, gc=False):
    """The object was added or changed."""

    stored: V


class Deleted(msgspec.Struct, Generic[V], frozen=True, gc=False):
    """The object was deleted; ``stored`` is its last state, with the version of the deletion."""

    stored: V


class Bookmark(msgspec.Struct, frozen=True, gc=False):
    """Nothing changed up to ``version``.

    Attributes:
        version: The resource version.
        initial_end: Whether it marks the end of a streamed list.
    """

    version: str
    initial_end: bool = False


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """An event of an unknown type or kind, without information about the objects.

    Attributes:
        what: What it was.
    """

    what: str


Event = Applied[V] | Deleted[V] | Bookmark | Skipped


class Page(msgspec.Struct, Generic[V], frozen=True):
    """A part of a list.

    Attributes:
        items: The objects.
        version: The resource version of the whole list.
        next_token: Where the next page begins; empty on the last one.
    """

    items: Sequence[V]
    version: str
    next_token: str = ""


class EventStream(Protocol[V]):
    """An open watch."""

    async def next(self) -> Sequence["Event[V]"]:
        """Return the events that have arrived, at least one; empty if the server ended the stream.

        Raises:
            UnavailableError: The stream broke or fell silent, or the server throttles; resume.
            OutOfSyncError: The server sent an error or something undecodable; list again.
        """
        ...


class ListerWatcher(Protocol[V]):
    """The two API calls a reflector needs."""

    async def list(self, *, version: str, token: str, limit: int, heard: Callable[[], None]) -> Page[V]:
        """Return one page of the list; all of it if ``version`` is given.

        Args:
            version: Not older than this; empty for a consistent read.
            token: ``next_token`` of the previous page; empty for the first.
            limit: Maximum number of objects per page.
            heard: Called whenever a part of the response arrives.

        Raises:
            ToolsetError: As for :meth:`EventStream.next`, or ForbiddenError.
        """
        ...

    def watch(self, *, version: str, stream_list: bool) -> AbstractAsyncContextManager[EventStream[V]]:
        """Open the stream of events after ``version``; leaving the block closes it.

        Args:
            version: Where to start.
            stream_list: Ask for the list first, as events, ended by a bookmark.

        Raises:
            ToolsetError: As for :meth:`list`; InvalidError if the server cannot stream lists.
        """
        ...
