"""The local copy of the cluster: one writer, many readers.

The writer is a reflector. A relist swaps the whole content in one step and then tells what changed,
also what vanished while nobody was watching; no reader ever sees half a list. Handlers run inside the
step that changed the store, so a handler that looks at the store sees what it was told about.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

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


class Delta(msgspec.Struct, Generic[V], frozen=True):
    """One change of the store.

    Attributes:
        old: What was there; ``None`` for a new object.
        new: What is there now; ``None`` for one that is gone.
        initial: Part of the first complete list.
    """

    old: V | None
    new: V | None
    initial: bool = False


Handler = Callable[[Delta[V]], None]


class Reader(Protocol[V_co]):
    """What everyone but the reflector sees of a store. It may lag behind the API server."""

    def get(self, key: Key) -> V_co | None:
        """Return the last seen object, or ``None``."""
        ...

    def snapshot(self) -> Mapping[Key, V_co]:
        """Return every object at this moment; later changes do not show in it."""
        ...

    @property
    def is_synced(self) -> bool:
        """Whether a complete list has been stored."""
        ...


class Store(Generic[V]):
    """The store as its reflector sees it; see the module docstring."""

    def __init__(self, on_handler_error: Callable[[Exception], None]) -> None:
        """Make an empty store.

        Args:
            on_handler_error: Told when a handler raises; the other handlers still run.
        """
        self._objects: dict[Key, V] = {}
        self._handlers: list[Handler[V]] = []
        self._on_handler_error = on_handler_error
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
        """Return once :meth:`replace` has run."""
        await self._synced.wait()

    def subscribe(self, handler: Handler[V]) -> None:
        """Call ``handler`` for what is stored already, as initial, and for every later change.

        Handlers are synchronous: they map the change to keys and enqueue those.
        """
        self._handlers.append(handler)
        for stored in self._objects.values():
            self._tell([handler], Delta(None, stored, initial=True))

    def replace(self, objects: Iterable[V], version: str) -> None:
        """Swap the whole content at once; tell deletions, then updates, then additions.

        An object whose resource version is the same is not told again.
        """
        old, self._objects = self._objects, {stored.key: stored for stored in objects}
        self._version = version
        initial = not self._synced.is_set()
        self._synced.set()
        self._tell_all(Delta(gone, None) for key, gone in old.items() if key not in self._objects)
        changed = [(old.get(key), new) for key, new in self._objects.items()]
        self._tell_all(
            Delta(was, new)
            for was, new in changed
            if was is not None and (was.version, was.uid) != (new.version, new.uid)
        )
        self._tell_all(Delta(None, new, initial=initial) for was, new in changed if was is None)

    def apply(self, stored: V) -> None:
        """Store an object the server sent; one that is older than what is known is ignored."""
        old = self._objects.get(stored.key)
        if old is None or old.uid != stored.uid or is_newer(stored.version, old.version):
            self._objects[stored.key] = stored
            self._tell(self._handlers, Delta(old, stored))
        self._version = stored.version

    def delete(self, stored: V) -> None:
        """Forget an object the server says is gone, unless a successor has its name already."""
        old = self._objects.get(stored.key)
        if old is not None and old.uid == stored.uid:
            del self._objects[stored.key]
            self._tell(self._handlers, Delta(old, None))
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
            old = self._objects.get(stored.key)
            if old is None or old.uid != stored.uid or is_newer(stored.version, old.version):
                self._objects[stored.key] = stored
                self._tell(self._handlers, Delta(old, stored))

    def _tell_all(self, deltas: Iterable[Delta[V]]) -> None:
        for delta in list(deltas):
            self._tell(self._handlers, delta)

    def _tell(self, handlers: Iterable[Handler[V]], delta: Delta[V]) -> None:
        for handler in handlers:
            try:
                handler(delta)
            except Exception as error:  # noqa: BLE001 - one bad handler must not stop the watch
                self._on_handler_error(error)


def is_newer(version: str, than: str) -> bool:
    """Tell whether one resource version is later than another.

    They are compared as numbers, as client-go does (``etcdObjectVersioner``); where that fails the
    answer is yes, which at worst costs one more pass.
    """
    try:
        return int(version) > int(than)
    except ValueError:
        return True
