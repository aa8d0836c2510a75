"""The local copy of the cluster: one writer, many readers.

The writer is a reflector. A relist swaps the whole content in one step and then tells what changed,
also what vanished while nobody was watching; no reader ever sees half a list. Handlers run inside the
step that changed the store, so a handler that looks at the store sees what it was told about.
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
    """What a store asks of an object."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        ...

    @property
    def uid(self) -> str:
        """Tells apart two objects that had the same name one after the other."""
        ...

    @property
    def version(self) -> str:
        """The resource version; opaque but for order."""
        ...


V = TypeVar("V", bound=Stored)
V_co = TypeVar("V_co", bound=Stored, covariant=True)

SLOW_HANDLER_S: Final = 0.01
"""A handler holds up the watch and everything else on the loop; longer than this is worth a word, seconds."""


class Delta(msgspec.Struct, Generic[V], frozen=True):
    """One change of the store.

    Attributes:
        old: What was there; ``None`` for a new object.
        new: What is there now; ``None`` for one that is gone.
        initial: Part of the first complete list.
        own: The answer to a write of this process.
    """

    old: V | None
    new: V | None
    initial: bool = False
    own: bool = False


Handler = Callable[[Delta[V]], None]


class Registration(Generic[V]):
    """One handler's place at a store."""

    def __init__(self, handler: Handler[V], on_cancel: Callable[["Registration[V]"], None]) -> None:
        self.handler = handler
        self.is_active = True
        self._on_cancel = on_cancel

    def cancel(self) -> None:
        """Call the handler never again, not even for the rest of what is being told now."""
        self.is_active = False
        self._on_cancel(self)


class Reader(Protocol[V_co]):
    """What everyone but the reflector sees of a store. It may lag behind the API server."""

    def get(self, key: Key) -> V_co | None:
        """Return the last seen object, or ``None``."""
        ...

    def snapshot(self) -> Mapping[Key, V_co]:
        """Return every object at this moment; later changes do not show in it."""
        ...


class Store(Generic[V]):
    """The store as its reflector sees it; see the module docstring."""

    def __init__(
        self,
        on_handler_error: Callable[[Exception], None],
        *,
        on_slow_handler: Callable[[float], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Make an empty store.

        Args:
            on_handler_error: Told when a handler raises; the other handlers still run.
            on_slow_handler: Told for how long a handler ran that took more than 10 ms, seconds.
            clock: Measures that, seconds.
        """
        self._objects: dict[Key, V] = {}
        # Replaced as a whole, so that handlers may come and go while a change is being told.
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
        """The resource version up to which the server has been followed; empty before the first list."""
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
        """Return once a complete list has been stored and every handler has had it."""
        await self._synced.wait()

    def subscribe(self, handler: Handler[V]) -> Registration[V]:
        """Call ``handler`` for what is stored already, as initial, and for every later change.

        Handlers are synchronous: they map the change to keys and enqueue those.
        """
        registration = Registration(handler, self._forget)
        self._registrations = (*self._registrations, registration)
        for stored in list(self._objects.values()):
            self._tell((registration,), Delta(None, stored, initial=True))
        return registration

    def replace(self, objects: Iterable[V], version: str) -> None:
        """Swap the whole content at once; tell deletions, then updates, then additions.

        An object whose resource version is the same is not told again.
        """
        old, new = self._objects, {stored.key: stored for stored in objects}
        self._objects, self._version = new, version
        initial = not self._synced.is_set()
        self._synced.set()
        deltas = _difference(old, new, initial=initial)
        registrations = self._registrations  # a handler that joins on the way has been told the new content already
        for delta in deltas:
            self._tell(registrations, delta)

    def apply(self, stored: V) -> None:
        """Store an object the server sent; one that is older than what is known is ignored."""
        key = stored.key
        old = self._objects.get(key)
        if old is None or old.uid != stored.uid or is_newer(stored.version, old.version):
            self._objects[key] = stored
            self._tell(self._registrations, Delta(old, stored))
        self._version = stored.version

    def delete(self, stored: V) -> None:
        """Forget an object the server says is gone, unless a successor has its name already."""
        key = stored.key
        old = self._objects.get(key)
        if old is not None and old.uid == stored.uid:
            del self._objects[key]
            self._tell(self._registrations, Delta(old, None))
        self._version = stored.version

    def bookmark(self, version: str) -> None:
        """Note that nothing changed up to ``version``."""
        self._version = version

    def overlay(self, stored: V) -> None:
        """Lay the answer to an own write over the store, so that the next pass does not see stale data.

        It is refused when the watch is already past it: then the object may have been deleted since,
        and must not be resurrected.
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
    """Return what leads from ``old`` to ``new``: deletions, updates, additions."""
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
    """Tell whether one resource version is later than another.

    They are compared as numbers, as client-go does (``etcdObjectVersioner``); where that fails the
    answer is yes, which at worst costs one more pass.
    """
    try:
        return int(version) > int(than)
    except ValueError:
        return True
