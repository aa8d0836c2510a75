"""One view over several stores, each of which follows one namespace."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from toolset.model import Key
from toolset.runtime.store import Handler, Registration, Store, Stored

V = TypeVar("V", bound=Stored)


class MultiNamespaceStore(Generic[V]):
    """What everyone but the reflectors sees of the stores; see :class:`~toolset.runtime.store.Reader`.

    Each store belongs to one reflector, so that a namespace that cannot be listed holds none of the others back from
    being followed.
    """

    def __init__(self, stores: Mapping[str, Store[V]]) -> None:
        """Make the view.

        Args:
            stores: By the namespace that each follows; the empty name follows all that have no store of their own.
        """
        self._stores = stores

    def get(self, key: Key) -> V | None:
        """Return the last seen object, or ``None``."""
        store = self._stores.get(key.namespace, self._stores.get(""))
        return store.get(key) if store is not None else None

    def snapshot(self) -> Mapping[Key, V]:
        """Return every object at this moment."""
        merged: dict[Key, V] = {}
        for store in self._stores.values():
            merged.update(store.snapshot())
        return MappingProxyType(merged)

    async def wait_synced(self) -> None:
        """Return once every store has a complete list."""
        for store in self._stores.values():
            await store.wait_synced()

    def subscribe(self, handler: Handler[V]) -> list[Registration[V]]:
        """Call ``handler`` for what is stored already, as initial, and for every later change in any store."""
        return [store.subscribe(handler) for store in self._stores.values()]
