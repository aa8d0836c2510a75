"""Keep a store equal to the server's list, through every kind of disconnection.

What follows which failure:

- A stream that ends or breaks, a refused connection, 429, 502, 503, 504: resume from the last version, after
  a delay. After ten starts in a row that failed, list once, because the version itself may be the cause.
- 410, 500, an undecodable line, an unknown error: list again. Never resume, since a deletion may have been
  missed. The list names the last version seen, so that it cannot go back in time; if the server refuses that
  version, the next list is a consistent one.
- The first list is streamed (WatchList) where the server can, bounded in time; two failures of that and it is
  fetched in pages, for an hour.

The version advances only after the store has applied the event.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

import anyio
import msgspec

from toolset.errors import InvalidError, OutOfSyncError, ToolsetError, UnavailableError
from toolset.model import Key
from toolset.runtime.backoff import Backoff
from toolset.runtime.listwatch import Applied, Bookmark, Deleted, Event, EventStream, ListerWatcher
from toolset.runtime.store import Store, Stored

V = TypeVar("V", bound=Stored)

SHORT_WATCH_S: Final = 1.0  # client-go: a watch that ends sooner without an event counts as a failure
MAX_RESUMES: Final = 10
STREAM_LIST_STRIKES: Final = 2
STREAM_LIST_PAUSE_S: Final = 3600.0


class ReflectorObserver(Protocol):
    """What a reflector tells about itself."""

    def listed(self, items: int, took_s: float, reason: str) -> None:
        """A complete list is in the store."""

    def watch_ended(self, events: int, took_s: float) -> None:
        """A watch ended, for whatever reason."""

    def failed(self, error: ToolsetError, retry_in_s: float) -> None:
        """An attempt failed; the next one follows in ``retry_in_s`` seconds."""


class ReflectorOptions(msgspec.Struct, frozen=True):
    """The constants of a reflector.

    Attributes:
        backoff: The delays between failed attempts.
        calm_s: Without a failure for this long the delays start afresh, seconds (client-go: 2 min).
        stream_list_timeout_s: How long a streamed list may take, seconds; client-go has no bound.
    """

    backoff: Backoff = Backoff()
    calm_s: float = 120.0
    stream_list_timeout_s: float = 60.0


class Reflector(Generic[V]):
    """Lists, watches, resumes and lists again; see the module docstring."""

    def __init__(
        self,
        source: ListerWatcher[V],
        store: Store[V],
        observer: ReflectorObserver,
        *,
        jitter: Callable[[], float],
        options: ReflectorOptions = ReflectorOptions(),
    ) -> None:
        self._source = source
        self._store = store
        self._observer = observer
        self._jitter = jitter
        self._options = options
        self._list_reason = "start"  # why the next attempt has to list; empty when it can resume
        self._version_usable = True
        self._failures = 0
        self._failed_at = 0.0
        self._unreachable = False
        self._failed_resumes = 0
        self._strikes = 0
        self._stream_list_after = 0.0
        self._heard_at = 0.0

    @property
    def heard_at(self) -> float:
        """When the server last answered, on the clock of ``anyio``; 0 before the first time."""
        return self._heard_at

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self._attempt()
            except ToolsetError as error:
                delay_s = self._after_failure(error)
                self._observer.failed(error, delay_s)
                await anyio.sleep(delay_s)

    async def _attempt(self) -> None:
        """List if need be, then follow one watch to its end."""
        if self._list_reason:
            if anyio.current_time() >= self._stream_list_after:
                return await self._stream_list()
            await self._paged_list()
        async with self._source.watch(version=self._store.version, stream_list=False) as stream:
            self._heard_at = anyio.current_time()
            await self._follow(stream, anyio.current_time())
        return None

    async def _stream_list(self) -> None:
        """Take the list from the watch itself, and follow the same stream from there on."""
        started = anyio.current_time()
        opened = filled = False
        try:
            with anyio.fail_after(self._options.stream_list_timeout_s) as bound:
                async with self._source.watch(version=self._known_version(), stream_list=True) as stream:
                    opened, self._heard_at = True, anyio.current_time()
                    objects, version, early = await self._fill(stream)
                    self._publish(list(objects.values()), version, started)
                    filled, self._strikes = True, 0
                    bound.deadline = math.inf
                    await self._follow(stream, started, early)
        except (TimeoutError, InvalidError, UnavailableError, OutOfSyncError) as error:
            unreachable = isinstance(error, UnavailableError) and not opened
            if filled or unreachable:  # neither says anything against streaming
                raise
            self._strike(error)

    async def _fill(self, stream: EventStream[V]) -> tuple[dict[Key, V], str, Sequence[Event[V]]]:
        """Fold events up to the bookmark that ends the list; nothing is published before it.

        Also return what came in one chunk with that bookmark, but after it.
        """
        objects: dict[Key, V] = {}
        while events := await stream.next():
            self._heard_at = anyio.current_time()
            for position, event in enumerate(events):
                match event:
                    case Applied(stored):
                        objects[stored.key] = stored
                    case Deleted(stored):
                        objects.pop(stored.key, None)
                    case Bookmark(version, initial_end=True):
                        return objects, version, events[position + 1 :]
                    case _:  # a bookmark on the way
                        pass
        raise UnavailableError("the streamed list ended before its last bookmark")

    def _strike(self, error: Exception) -> None:
        """Judge a streamed list that failed; after enough of that, lists are paged for a while."""
        if isinstance(error, UnavailableError) and error.throttled:
            raise error
        if isinstance(error, OutOfSyncError) and error.version_unusable:
            raise error
        self._strikes += STREAM_LIST_STRIKES if isinstance(error, InvalidError) else 1
        if self._strikes >= STREAM_LIST_STRIKES:
            self._strikes = 0
            self._stream_list_after = anyio.current_time() + STREAM_LIST_PAUSE_S
        if isinstance(error, InvalidError):
            return
        if isinstance(error, TimeoutError):
            raise UnavailableError("the streamed list did not end in time") from error
        raise error

    async def _paged_list(self) -> None:
        started = anyio.current_time()
        version, token, items = self._known_version(), "", list[V]()
        while True:
            page = await self._source.list(version=version, token=token)
            self._heard_at = anyio.current_time()
            items.extend(page.items)
            if not page.next_token:
                break
            version, token = "", page.next_token
        self._publish(items, page.version, started)

    def _publish(self, items: Sequence[V], version: str, started: float) -> None:
        if not version:
            raise OutOfSyncError("the server sent a list without a resource version")
        self._store.replace(items, version)
        reason, self._list_reason = self._list_reason, ""
        self._version_usable = True
        self._failed_resumes = 0
        self._observer.listed(len(items), anyio.current_time() - started, reason)

    async def _follow(self, stream: EventStream[V], started: float, early: Sequence[Event[V]] = ()) -> None:
        count = 0
        events = early
        try:
            while events or (events := await stream.next()):
                self._heard_at = anyio.current_time()
                self._failed_resumes = 0
                count += len(events)
                for event in events:
                    self._handle(event)
                events = ()
        finally:
            self._observer.watch_ended(count, anyio.current_time() - started)
        if not count and anyio.current_time() - started < SHORT_WATCH_S:
            raise UnavailableError("the server ended the watch at once")
        self._failed_resumes = 0

    def _handle(self, event: Event[V]) -> None:
        if not (event.version if isinstance(event, Bookmark) else event.stored.version):
            raise OutOfSyncError("the server sent an event without a resource version")
        match event:
            case Applied(stored):
                self._store.apply(stored)
            case Deleted(stored):
                self._store.delete(stored)
            case _:
                self._store.bookmark(event.version)

    def _known_version(self) -> str:
        return self._store.version if self._version_usable else ""

    def _after_failure(self, error: ToolsetError) -> float:
        """Decide how to go on; return the delay before the next attempt, seconds."""
        now = anyio.current_time()
        answered = isinstance(error, OutOfSyncError) and self._unreachable
        self._unreachable = isinstance(error, UnavailableError)
        if answered or now - self._failed_at > self._options.calm_s:  # the server is back: do not make it wait
            self._failures = 0
        self._failed_at = now
        self._failures += 1
        floor_s = 0.0
        if isinstance(error, OutOfSyncError):
            self._list_reason = "expired" if error.version_unusable else "out of sync"
            self._version_usable = self._version_usable and not error.version_unusable
        elif not self._list_reason:
            self._failed_resumes += 1
            if self._failed_resumes >= MAX_RESUMES:
                self._list_reason = "cannot resume"
        if isinstance(error, UnavailableError):
            floor_s = error.retry_after_s
        return max(floor_s, self._options.backoff.delay_s(self._failures, self._jitter))
