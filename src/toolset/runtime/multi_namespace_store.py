"""One view of several stores, each of which follows one namespace."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from toolset.model import Key
from toolset.runtime.store import Handler, Registration, Store, Stored

V = TypeVar("V", bound=Stored)


class MultiNamespaceStore(Generic[V]):
    """The readers' view of the stores; see :class:`~toolset.runtime.store.Reader`.

    Each store belongs to one reflector, so that a namespace that cannot be listed does not block the others.
    """

    def __init__(self, stores: Mapping[str, Store[V]]) -> None:
        """Create the view.

        Args:
            stores: By the namespace that each follows; the empty name follows all namespaces without a separate store.
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
        """Call ``handler`` for what is already stored, as initial, and for every later change in any store."""
        return [store.subscribe(handler) for store in self._stores.values()]
