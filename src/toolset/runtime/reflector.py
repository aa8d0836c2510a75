"""Keep a store in sync with the server's list, through every kind of disconnection.

Reactions to failures:

- A stream that ends or breaks, a refused connection, a rejected request (403, 429, 502, 503, 504), 429 in the
  stream: resume from the last version, after a delay. After ten consecutive failed starts, list once, because the
  version itself may be the cause.
- Watches without any data, not even a bookmark, although the server sends bookmarks: after two, which is longer than
  two bookmarks take, a consistent list in pages. The version may be one that a restored server has not reached, or
  an intermediary may drop the stream. For a server that has sent no bookmark yet, the limit is ten, and silence is
  no failure: without WatchList it sends bookmarks only of kinds that have changed since it started.
- 410, 500, an undecodable line, any other error in the stream: list again. Never resume, since a deletion may have
  been missed. The list names the last version seen, so that it cannot go back in time; if the server rejects that
  version, the next list is a consistent one.
- The first list is streamed (WatchList) if the server supports it, bounded in time and in silence; after two failures
  it is fetched in pages, for an hour. When the token of a page has expired, the list is fetched in one piece, not older
  than its first page. A list in one piece that is too slow or too large is requested in pages, and such a page in
  smaller ones.
- An event of an unknown type or kind is counted and skipped.

Callers that need the *current* state, and not that of the watch, use :meth:`Reflector.refresh`; callers that only
suspect stale data use :meth:`Reflector.relist`.

The version advances only after the store has applied the event. All reflectors together start at most five watches
per second, whatever the server does.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Final, Generic, TypeVar

import anyio
import msgspec

from toolset.errors import InvalidError, OutOfSyncError, ToolsetError, UnavailableError
from toolset.model import Key
from toolset.runtime.backoff import Backoff, TokenBucket
from toolset.runtime.listwatch import Applied, Bookmark, Deleted, Event, EventStream, ListerWatcher, Skipped
from toolset.runtime.observers import NoWatchObserver, ReflectorObserver, WatchObserver
from toolset.runtime.recovery import Recovery
from toolset.runtime.store import Store, Stored

V = TypeVar("V", bound=Stored)

SHORT_WATCH_S: Final = 1.0  # client-go: a watch that ends sooner without an event counts as a failure
NO_VERSION: Final = "the server sent an event without a resource version"


def watch_starts() -> TokenBucket:
    """Return a rate limit for starting watches; all reflectors of a process share one."""
    return TokenBucket(rate_per_s=5.0, burst=10)


class ReflectorOptions(msgspec.Struct, frozen=True):
    """The constants of a reflector.

    Attributes:
        backoff: The delays between failed attempts.
        calm_s: Time without a failure after which the delays restart, seconds (client-go: 2 min).
        stream_list_timeout_s: Time limit of a streamed list, seconds; client-go has none.
        stream_list_silence_s: How long a streamed list may be silent, from the request on, seconds. A server that
            limits concurrent requests answers within 15 s (API Priority and Fairness: a quarter of the time limit of a
            request).
    """

    backoff: Backoff = Backoff()
    calm_s: float = 120.0
    stream_list_timeout_s: float = 60.0
    stream_list_silence_s: float = 20.0


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
        starts: TokenBucket | None = None,
        watch_observer: WatchObserver | None = None,
    ) -> None:
        """Create a reflector that has listed nothing yet.

        Args:
            source: The server.
            store: Kept in sync with the server; its only other writer overlays own writes.
            observer: Notified of lists, watches and failures.
            jitter: Returns a number in [0, 1).
            options: The constants.
            starts: Shared with the other reflectors of the process; its own if omitted.
            watch_observer: Notified of misbehaviour of the server.
        """
        self._source = source
        self._store = store
        self._observer = observer
        self._watch_observer: WatchObserver = watch_observer or NoWatchObserver()
        self._starts = starts or watch_starts()
        self._recovery = Recovery(options.backoff, options.calm_s, jitter)
        self._options = options
        self._heard_at = 0.0
        self._sends_bookmarks = False
        self._attempted_at = 0.0
        self._listed = anyio.Event()
        self._attempting: anyio.CancelScope | None = None

    @property
    def heard_at(self) -> float:
        """When the server last sent data, on the clock of ``anyio``; 0 before the first time.

        Opening a watch counts too if the server has never sent a bookmark: a quiet one sends nothing else.
        """
        return self._heard_at

    @property
    def attempted_at(self) -> float:
        """When a request was last sent, on the clock of ``anyio``; 0 before the first time.

        While the reflector is healthy, this or :attr:`heard_at` is never longer ago than the maximum silence of a watch
        plus the maximum delay, however unhealthy the server is.
        """
        return self._attempted_at

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            with anyio.CancelScope() as self._attempting:
                try:
                    await self._attempt()
                except ToolsetError as error:
                    delay_s = self._recovery.delay_after(error)
                    self._observer.failed(error, delay_s)
                    await anyio.sleep(delay_s)

    async def refresh(self) -> None:
        """List again, and return once the store contains the server's state at some time after this call.

        An open watch is closed, because it may be permanently silent. :meth:`run` must be running; this does not return
        while the server cannot be listed.
        """
        demand = self.relist()
        while not self._recovery.is_met(demand):
            await self._listed.wait()

    def relist(self) -> int:
        """List again as soon as possible, without waiting for it; return the number of the request."""
        demand = self._recovery.demand()
        if self._attempting is not None:
            self._attempting.cancel()
        return demand

    async def _attempt(self) -> None:
        """List if necessary, then follow one watch to its end."""
        if self._recovery.list_reason:
            self._recovery.begins_list()
            if self._recovery.may_stream_list:
                return await self._stream_list()
            await self._paged_list()
        await self._wait_for_start()
        async with self._source.watch(version=self._store.version, stream_list=False) as stream:
            if not self._sends_bookmarks:
                self._hear()
            await self._follow(stream, anyio.current_time())
        return None

    async def _wait_for_start(self) -> None:
        wait_s = self._starts.reserve_s()
        if wait_s:
            await anyio.sleep(wait_s)
        self._attempted_at = anyio.current_time()

    async def _stream_list(self) -> None:
        """Read the list from the watch itself, and then follow the same stream."""
        await self._wait_for_start()
        started = anyio.current_time()
        latest, asked = started + self._options.stream_list_timeout_s, self._known_version()
        opened = filled = False
        try:
            with anyio.fail_after(self._options.stream_list_silence_s) as bound:
                async with self._source.watch(version=asked, stream_list=True) as stream:
                    opened = True
                    objects, version, early = await self._fill(stream, bound, latest)
                    self._publish(objects.values(), version, started, streamed=True)
                    filled = True
                    bound.deadline = math.inf
                    del objects  # the store has them now
                    await self._follow(stream, started, early)
        except (TimeoutError, InvalidError, UnavailableError, OutOfSyncError) as error:
            unreachable = isinstance(error, UnavailableError) and not opened
            if filled or unreachable:  # neither is evidence against streaming
                raise
            if self._recovery.strike(error, asked):
                self._watch_observer.streaming_given_up(error)
            if isinstance(error, TimeoutError):
                raise UnavailableError("the streamed list fell silent or did not end in time") from error
            if not isinstance(error, InvalidError):  # after which the list is paged immediately
                raise

    async def _fill(
        self, stream: EventStream[V], bound: anyio.CancelScope, latest: float
    ) -> tuple[dict[Key, V], str, Sequence[Event[V]]]:
        """Collect events up to the bookmark that ends the list; nothing is stored before it.

        Also return the events after that bookmark in the same chunk. Data moves the deadline of ``bound`` up to
        ``latest``.
        """
        objects: dict[Key, V] = {}
        while events := await stream.next():
            self._hear()
            bound.deadline = min(latest, self._heard_at + self._options.stream_list_silence_s)
            for position, event in enumerate(events):
                match event:
                    case Applied(stored):
                        objects[stored.key] = stored
                    case Deleted(stored):
                        objects.pop(stored.key, None)
                    case Bookmark(version, initial_end=True):
                        self._sends_bookmarks = True
                        return objects, version, events[position + 1 :]
                    case Skipped(what):
                        self._watch_observer.skipped(what)
                    case _:  # an intermediate bookmark
                        pass
        raise UnavailableError("the streamed list ended before its last bookmark")

    async def _paged_list(self) -> None:
        started = anyio.current_time()
        version, token, items = self._known_version(), "", list[V]()
        first_version, in_one_piece = "", False
        while True:
            self._attempted_at = anyio.current_time()
            try:
                page = await self._source.list(
                    version=version, token=token, limit=self._recovery.page_size, heard=self._hear
                )
            except UnavailableError as error:
                if error.incomplete:
                    self._recovery.incomplete(paged=not version)
                raise
            except OutOfSyncError as error:
                if in_one_piece or not (token and error.version_unusable):
                    raise
                version, token, items, in_one_piece = first_version, "", [], True
                continue
            self._hear()
            items.extend(page.items)
            if not page.next_token:
                break
            first_version = first_version if token else page.version
            version, token = "", page.next_token
        self._publish(items, page.version, started, streamed=False)

    def _publish(self, items: Collection[V], version: str, started: float, *, streamed: bool) -> None:
        if not version:
            raise OutOfSyncError("the server sent a list without a resource version")
        self._store.replace(items, version)
        reason = self._recovery.listed(streamed=streamed)
        self._listed.set()
        self._listed = anyio.Event()
        self._observer.listed(len(items), anyio.current_time() - started, reason)

    async def _follow(self, stream: EventStream[V], started: float, early: Sequence[Event[V]] = ()) -> None:
        count = 0
        events = early
        try:
            while events or (events := await stream.next()):
                self._hear()
                for event in events:
                    if self._handle(event):
                        count += 1
                events = ()
        except UnavailableError as error:
            if not error.silent or self._sends_bookmarks:
                raise
            # A server that has sent no bookmark may have nothing to say, and the next watch starts at once.
        finally:
            took_s = anyio.current_time() - started
            self._judge(count, took_s)
            self._observer.watch_ended(count, took_s)
        if not count and took_s < SHORT_WATCH_S:
            raise UnavailableError("the server ended the watch at once")

    def _judge(self, count: int, took_s: float) -> None:
        """Evaluate a watch that delivered ``count`` events in ``took_s`` seconds."""
        if count:
            self._recovery.heard()
        elif took_s >= SHORT_WATCH_S:
            self._recovery.silent(took_s, sends_bookmarks=self._sends_bookmarks)
        if count or took_s >= SHORT_WATCH_S:
            self._recovery.resumed()

    def _hear(self) -> None:
        self._heard_at = anyio.current_time()

    def _handle(self, event: Event[V]) -> bool:
        """Apply an event to the store; return whether it was an event for the store."""
        match event:
            case Skipped(what):
                self._watch_observer.skipped(what)
                return False
            case Bookmark(version):
                if not version:
                    raise OutOfSyncError(NO_VERSION)
                self._sends_bookmarks = True
                self._store.bookmark(version)
            case _:
                if not event.stored.version:
                    raise OutOfSyncError(NO_VERSION)
                change = self._store.apply if isinstance(event, Applied) else self._store.delete
                change(event.stored)
        return True

    def _known_version(self) -> str:
        return self._store.version if self._recovery.version_usable else ""
