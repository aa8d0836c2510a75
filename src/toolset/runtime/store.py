"""The local copy of the cluster: one writer, many readers.

The writer is a reflector. A relist replaces the whole content atomically and then reports the changes,
including deletions that happened without a watch; no reader ever sees a partial list. Handlers run in the
step that changed the store, so a handler that reads the store sees the change it handles.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from types import MappingProxyType
from typing import Final, Generic, Protocol, TypeVar

import anyio
import msgspec

from toolset.model import Key


class Stored(Protocol):
    """What a store requires of an object."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        ...

    @property
    def uid(self) -> str:
        """Distinguishes successive objects with the same name."""
        ...

    @property
    def version(self) -> str:
        """The resource version; opaque except for its order."""
        ...


V = TypeVar("V", bound=Stored)
V_co = TypeVar("V_co", bound=Stored, covariant=True)

SLOW_HANDLER_S: Final = 0.01
"""A handler blocks the watch and the event loop; a longer duration than this is reported, seconds."""


class Delta(msgspec.Struct, Generic[V], frozen=True):
    """One change of the store.

    Attributes:
        old: The previous object; ``None`` for a new one.
        new: The current object; ``None`` for a deleted one.
        initial: Part of the first complete list.
        own: The response to a write of this process.
    """

    old: V | None
    new: V | None
    initial: bool = False
    own: bool = False


Handler = Callable[[Delta[V]], None]


class Registration(Generic[V]):
    """One handler's registration."""

    def __init__(self, handler: Handler[V], on_cancel: Callable[["Registration[V]"], None]) -> None:
        self.handler = handler
        self.is_active = True
        self._on_cancel = on_cancel

    def cancel(self) -> None:
        """Never call the handler again, not even for the rest of the current changes."""
        self.is_active = False
        self._on_cancel(self)


class Reader(Protocol[V_co]):
    """The readers' view of a store. It may lag behind the API server."""

    def get(self, key: Key) -> V_co | None:
        """Return the last seen object, or ``None``."""
        ...

    def snapshot(self) -> Mapping[Key, V_co]:
        """Return every current object; later changes do not affect the result."""
        ...


class Store(Generic[V]):
    """The writer's view of the store; see the module docstring."""

    def __init__(
        self,
        on_handler_error: Callable[[Exception], None],
        *,
        on_slow_handler: Callable[[float], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Create an empty store.

        Args:
            on_handler_error: Called when a handler raises; the other handlers still run.
            on_slow_handler: Receives the duration of a handler that took more than 10 ms, seconds.
            clock: The clock for that, seconds.
        """
        self._objects: dict[Key, V] = {}
        # Replaced as a whole, so that handlers may be added and removed during notifications.
        self._registrations: tuple[Registration[V], ...] = ()
        self._on_handler_error = on_handler_error
        self._on_slow_handler = on_slow_handler
        self._clock = clock
        self._synced = anyio.Event()
        self._version = ""

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._objects)

    @property
    def version(self) -> str:
        """The resource version up to which the store is in sync; empty before the first list."""
        return self._version

    @property
    def is_synced(self) -> bool:
        """Whether a complete list has been stored."""
        return self._synced.is_set()

    def get(self, key: Key) -> V | None:
        """Return the last seen object, or ``None``."""
        return self._objects.get(key)

    def snapshot(self) -> Mapping[Key, V]:
        """Return every object at this moment."""
        return MappingProxyType(dict(self._objects))

    async def wait_synced(self) -> None:
        """Return once a complete list has been stored and every handler has processed it."""
        await self._synced.wait()

    def subscribe(self, handler: Handler[V]) -> Registration[V]:
        """Call ``handler`` for what is already stored, as initial, and for every later change.

        Handlers are synchronous: they map the change to keys and enqueue them.
        """
        registration = Registration(handler, self._forget)
        self._registrations = (*self._registrations, registration)
        for stored in list(self._objects.values()):
            self._tell((registration,), Delta(None, stored, initial=True))
        return registration

    def replace(self, objects: Iterable[V], version: str) -> None:
        """Replace the whole content atomically; report deletions, then updates, then additions.

        An object with an unchanged resource version is not reported again.
        """
        old, new = self._objects, {stored.key: stored for stored in objects}
        self._objects, self._version = new, version
        initial = not self._synced.is_set()
        self._synced.set()
        deltas = _difference(old, new, initial=initial)
        registrations = self._registrations  # a handler that is added meanwhile already has the new content
        for delta in deltas:
            self._tell(registrations, delta)

    def apply(self, stored: V) -> None:
        """Store an object from the server; one that is older than the stored one is ignored."""
        key = stored.key
        old = self._objects.get(key)
        if old is None or old.uid != stored.uid or is_newer(stored.version, old.version):
            self._objects[key] = stored
            self._tell(self._registrations, Delta(old, stored))
        self._version = stored.version

    def delete(self, stored: V) -> None:
        """Remove an object that the server deleted, unless a successor already has its name."""
        key = stored.key
        old = self._objects.get(key)
        if old is not None and old.uid == stored.uid:
            del self._objects[key]
            self._tell(self._registrations, Delta(old, None))
        self._version = stored.version

    def bookmark(self, version: str) -> None:
        """Record that nothing changed up to ``version``."""
        self._version = version

    def overlay(self, stored: V) -> None:
        """Overlay the response to a write of this process, so that the next reconcile does not see stale data.

        It is ignored if the watch is already past it: the object may have been deleted since, and must not
        reappear.
        """
        if is_newer(stored.version, self._version):
            key = stored.key
            old = self._objects.get(key)
            if old is None or old.uid != stored.uid or is_newer(stored.version, old.version):
                self._objects[key] = stored
                self._tell(self._registrations, Delta(old, stored, own=True))

    def _forget(self, registration: Registration[V]) -> None:
        self._registrations = tuple(known for known in self._registrations if known is not registration)

    def _tell(self, registrations: Iterable[Registration[V]], delta: Delta[V]) -> None:
        for registration in registrations:
            if not registration.is_active:
                continue
            started = self._clock()
            try:
                registration.handler(delta)
            except Exception as error:  # noqa: BLE001 - one bad handler must not stop the watch
                self._on_handler_error(error)
            if (took_s := self._clock() - started) > SLOW_HANDLER_S:
                self._on_slow_handler(took_s)


def _difference(old: Mapping[Key, V], new: Mapping[Key, V], *, initial: bool) -> Iterable[Delta[V]]:
    """Return the changes from ``old`` to ``new``: deletions, updates, additions."""
    if not old:
        return [Delta(None, stored, initial=initial) for stored in new.values()]
    updated: list[Delta[V]] = []
    added: list[Delta[V]] = []
    for key, stored in new.items():
        was = old.get(key)
        if was is None:
            added.append(Delta(None, stored, initial=initial))
        elif was.version != stored.version or was.uid != stored.uid:
            updated.append(Delta(was, stored))
    return chain([Delta(gone, None) for key, gone in old.items() if key not in new], updated, added)


def is_newer(version: str, than: str) -> bool:
    """Return whether one resource version is later than another.

    They are compared as numbers, as in client-go (``etcdObjectVersioner``); if that fails the answer is
    yes, which at worst costs one more reconcile.
    """
    try:
        return int(version) > int(than)
    except ValueError:
        return True
