"""The API server as a reflector sees it: one that plays a script, and one that keeps the server's promises."""

import math
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from toolset.errors import ForbiddenError, InvalidError, OutOfSyncError, ToolsetError, UnavailableError
from toolset.model import Key
from toolset.runtime.listwatch import PAGE_SIZE, Applied, Bookmark, Deleted, Event, EventStream, Page, Skipped


class Thing(msgspec.Struct, frozen=True):
    """The least that a store can hold."""

    name: str
    version: str
    uid: str = "u1"

    @property
    def key(self) -> Key:
        """Its name, in a namespace that is always the same."""
        return Key("default", self.name)


class Pause(msgspec.Struct, frozen=True):
    """The server is silent for this many seconds."""

    seconds: float


class Arriving(msgspec.Struct, frozen=True):
    """A part of a list arrives after this many seconds."""

    seconds: float


SILENCE = Pause(math.inf)

Step: TypeAlias = Sequence[Applied[Thing] | Deleted[Thing] | Bookmark | Skipped] | Pause | ToolsetError
Script: TypeAlias = Sequence[Step] | ToolsetError | Pause


class Asked(msgspec.Struct, frozen=True):
    """One request that arrived."""

    verb: Literal["list", "watch", "stream list"]
    version: str
    token: str = ""


class ScriptedListerWatcher:
    """Answers with what the test wrote down, in order; a watch beyond the script stays open and silent.

    A stream is the steps of its life, after which the server ends it; an error or a pause in place of the
    steps is what happens to the request before there is a stream.
    """

    def __init__(
        self, *, lists: Iterable[Page[Thing] | Exception | Pause | Arriving] = (), streams: Iterable[Script] = ()
    ) -> None:
        self._lists = deque(lists)
        self._streams = deque(streams)
        self.open_streams = 0
        self.asked: list[Asked] = []
        self.asked_at: list[float] = []
        self.limits: list[int] = []

    async def list(self, *, version: str, token: str, limit: int, heard: Callable[[], None]) -> Page[Thing]:
        """Answer with the next list of the script."""
        self._note(Asked("list", version, token), limit)
        await checkpoint()
        answer = self._lists.popleft()
        while isinstance(answer, Pause | Arriving):
            await anyio.sleep(answer.seconds)
            if isinstance(answer, Arriving):
                heard()
            answer = self._lists.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @asynccontextmanager
    async def watch(self, *, version: str, stream_list: bool) -> AsyncGenerator[EventStream[Thing]]:
        """Open the next stream of the script."""
        self._note(Asked("stream list" if stream_list else "watch", version))
        script = self._streams.popleft() if self._streams else [SILENCE]
        if isinstance(script, ToolsetError):
            raise script
        if isinstance(script, Pause):
            await anyio.sleep(script.seconds)
            script = ()
        self.open_streams += 1
        try:
            yield _ScriptedStream(script)
        finally:
            self.open_streams -= 1

    def _note(self, asked: Asked, limit: int = 0) -> None:
        self.asked.append(asked)
        self.limits.append(limit)
        self.asked_at.append(anyio.current_time())


class _ScriptedStream:
    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = deque(steps)

    async def next(self) -> Sequence[Event[Thing]]:
        await checkpoint()
        while self._steps:
            step = self._steps.popleft()
            if isinstance(step, ToolsetError):
                raise step
            if not isinstance(step, Pause):
                return step
            await anyio.sleep(step.seconds)
        return ()


FaultKind = Literal[
    "refuse", "throttle", "forbid", "error", "expire", "cannot stream",  # instead of an answer
    "break", "close", "spoil", "compact", "silence",  # after some events
]  # fmt: skip


class Fault(msgspec.Struct, frozen=True):
    """What goes wrong with one request.

    Attributes:
        kind: What goes wrong.
        after: How many events a stream carries before that.
    """

    kind: FaultKind
    after: int = 0


class FakeServer:
    """An API server for :class:`Thing`, as bad as it is allowed to be.

    It keeps these promises: versions rise with every change; a watch reports every change after its version, in
    order, once; a version that was compacted or that is yet to come is refused; a list at a version is not
    older than that, but no newer than it must be; all pages of a list are of one version, which only the
    first page may be asked by.
    """

    idle_s = 60.0  # after which an adapter gives a silent stream up

    def __init__(self, *, page_size: int = 2, chunk_size: int = 3, streams_lists: bool = True) -> None:
        self.faults: deque[Fault] = deque()  # one for each request
        self.meanwhile: deque[Callable[[], None]] = deque()  # one after each page or chunk
        self._page_size = page_size
        self._chunk_size = chunk_size
        self._streams_lists = streams_lists
        self._version = self._compacted = 100
        self._uids = 0
        self._history: dict[int, dict[str, Thing]] = {100: {}}
        self._log: list[tuple[int, Event[Thing]]] = []
        self._changed = anyio.Event()
        self._streams: list[_ServerStream] = []

    @property
    def things(self) -> dict[Key, Thing]:
        """The truth."""
        return {thing.key: thing for thing in self._now().values()}

    def put(self, name: str) -> None:
        """Create or update a thing."""
        known = self._now().get(name)
        if known is None:
            self._uids += 1
        thing = Thing(name, str(self._version + 1), known.uid if known else f"u{self._uids}")
        self._change(self._now() | {name: thing}, Applied(thing))

    def remove(self, name: str) -> None:
        """Delete a thing if it is there."""
        known = self._now().get(name)
        if known is not None:
            rest = {other: thing for other, thing in self._now().items() if other != name}
            self._change(rest, Deleted(msgspec.structs.replace(known, version=str(self._version + 1))))

    def bookmark(self) -> None:
        """Send every watch its version."""
        self._tell(Bookmark(str(self._version)))

    def send_stranger(self) -> None:
        """Send every watch an unknown event."""
        self._tell(Skipped("type STRANGE"))

    def compact(self) -> None:
        """Forget how things came to be what they are."""
        self._compacted = self._version

    def go_on(self) -> None:
        """Do the next of what happens meanwhile."""
        if self.meanwhile:
            self.meanwhile.popleft()()

    def interrupt(self, fault: Fault) -> None:
        """Let something happen to the streams that are open."""
        for stream in self._streams:
            stream.interrupt(fault)
        self._wake()

    async def list(
        self, *, version: str, token: str, limit: int = PAGE_SIZE, heard: Callable[[], None] = lambda: None
    ) -> Page[Thing]:
        """Return one page; of this server's own size, which a server may choose below ``limit``."""
        await checkpoint()
        if (fault := self._next_fault()) is not None:
            _refuse(fault, stream_list=False)
            raise UnavailableError("the connection broke")
        if token and version:
            raise AssertionError("only the first page may be asked by version")
        revision, start = self._position(version, token)
        things = list(self._history[revision].values())
        end = start + min(self._page_size, limit)
        following = f"{revision} {end}" if end < len(things) else ""
        self.go_on()
        heard()
        return Page(things[start:end], str(revision), following)

    @asynccontextmanager
    async def watch(self, *, version: str, stream_list: bool) -> AsyncGenerator[EventStream[Thing]]:
        """Open a stream."""
        await checkpoint()
        fault = self._next_fault()
        if fault is not None:
            _refuse(fault, stream_list=stream_list)
        if stream_list and not self._streams_lists:
            raise InvalidError("sendInitialEvents is forbidden")
        if not version and not stream_list:
            raise AssertionError("a watch has to say where it starts")
        start = int(version or 0)
        if start > self._version or (start < self._compacted and not stream_list):
            raise OutOfSyncError("the version cannot be had", version_unusable=True)
        stream = _ServerStream(self, None if stream_list else start, fault)
        self._streams.append(stream)
        try:
            yield stream
        finally:
            self._streams.remove(stream)

    def after(self, position: int) -> tuple[Sequence[Event[Thing]], int]:
        """Return what is in the log beyond ``position``, and where it ends."""
        return [event for _, event in self._log[position:]], len(self._log)

    async def wait_changed(self) -> None:
        """Wait for the log to grow, or for an interruption."""
        await self._changed.wait()

    @property
    def version(self) -> str:
        """How far it is."""
        return str(self._version)

    def position_after(self, version: int) -> int:
        """Return where in the log ``version`` ends."""
        return sum(1 for revision, _ in self._log if revision <= version)

    @property
    def chunk_size(self) -> int:
        """How many events arrive at once at most."""
        return self._chunk_size

    def _now(self) -> dict[str, Thing]:
        return self._history[self._version]

    def _change(self, things: dict[str, Thing], event: Event[Thing]) -> None:
        self._version += 1
        self._history[self._version] = things
        self._tell(event)

    def _tell(self, event: Event[Thing]) -> None:
        self._log.append((self._version, event))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _next_fault(self) -> Fault | None:
        return self.faults.popleft() if self.faults else None

    def _position(self, version: str, token: str) -> tuple[int, int]:
        if token:
            revision, _, start = token.partition(" ")
            if int(revision) < self._compacted:
                raise OutOfSyncError("the token has expired", version_unusable=True)
            return int(revision), int(start)
        if version and int(version) > self._version:
            raise OutOfSyncError("the version is too large", version_unusable=True)
        return (max(int(version), self._compacted) if version else self._version), 0


class _ServerStream:
    """A stream; a fault happens to it once it has carried enough events."""

    def __init__(self, server: FakeServer, start: int | None, fault: Fault | None) -> None:
        self._server = server
        self._pending: list[Event[Thing]] = []
        self._list_ends_in = 0  # chunks, the last of which comes after what changed meanwhile
        if start is None:
            start = int(server.version)
            self._pending += [Applied(thing) for thing in server.things.values()]
            self._list_ends_in = 2 if self._pending else 1
        self._position = server.position_after(start)
        self._fault = fault
        self._left = math.inf if fault is None else fault.after

    async def next(self) -> Sequence[Event[Thing]]:
        await checkpoint()
        self._collect()
        with anyio.move_on_after(self._server.idle_s) as patience:
            while not self._pending and self._left > 0:
                await self._server.wait_changed()
                self._collect()
        if patience.cancelled_caught:
            raise UnavailableError("the stream fell silent", silent=True)
        if self._fault is not None and self._left <= 0:
            return await self._fail(self._fault)
        size = int(min(self._server.chunk_size, self._left))
        chunk, self._pending = self._pending[:size], self._pending[size:]
        self._left -= len(chunk)
        self._server.go_on()
        return chunk

    def _collect(self) -> None:
        events, self._position = self._server.after(self._position)
        self._pending.extend(events)
        if self._list_ends_in:
            self._list_ends_in -= 1
            if not self._list_ends_in:
                self._pending.append(Bookmark(self._server.version, initial_end=True))

    def interrupt(self, fault: Fault) -> None:
        self._fault, self._left = fault, fault.after

    async def _fail(self, fault: Fault) -> Sequence[Event[Thing]]:
        if fault.kind == "break":
            raise UnavailableError("the connection broke")
        if fault.kind == "spoil":
            raise OutOfSyncError("a line cannot be read")
        if fault.kind == "compact":
            raise OutOfSyncError("the version was compacted", version_unusable=True)
        if fault.kind == "silence":
            await anyio.sleep(self._server.idle_s)
            raise UnavailableError("the stream fell silent", silent=True)
        return ()


def _refuse(fault: Fault, *, stream_list: bool) -> None:
    errors: dict[FaultKind, ToolsetError] = {
        "refuse": UnavailableError("connection refused"),
        "throttle": UnavailableError("too many requests", retry_after_s=5.0, throttled=True),
        "forbid": ForbiddenError("forbidden"),
        "error": OutOfSyncError("internal error"),
        "expire": OutOfSyncError("too old resource version", version_unusable=True),
    }
    if fault.kind in errors:
        raise errors[fault.kind]
    if fault.kind == "cannot stream" and stream_list:
        raise InvalidError("sendInitialEvents is forbidden")
