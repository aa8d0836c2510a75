"""The versioned objects of the cluster: lists in pages, a bounded log of changes, and the events of watches."""

from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Final

import anyio

from toolset.sim.kinds import Place
from toolset.sim.statuses import Object, Refused

LOG_SIZE: Final = 10_000
RESTS: Final = 100  # of paged lists that are remembered


class Store:
    """All objects, and their last changes.

    Attributes:
        version: The version of the last change.
        changed: Set by the next change.
        listener: Receives each change: its place, and the watch event.
    """

    def __init__(self, log_size: int = LOG_SIZE) -> None:
        self.version = 1
        self.changed = anyio.Event()
        self.listener: Callable[[Place, Object], None] = lambda _place, _event: None
        self._objects: dict[Place, Object] = {}
        self._log: deque[tuple[int, Place, Object]] = deque(maxlen=log_size)
        self._forgotten = 0
        self._rests: dict[str, tuple[int, list[Object]]] = {}

    def get(self, place: Place) -> Object | None:
        """Return the current object."""
        return self._objects.get(place)

    def all_in(self, place: Place) -> list[Object]:
        """Return the objects of a namespace or a kind, by namespace and name."""
        found = [each for each in self._objects if place.has(each)]
        return [self._objects[each] for each in sorted(found, key=lambda each: (each.namespace, each.name))]

    def put(self, place: Place, content: Object) -> Object:
        """Store ``content`` under a new version; return what is stored."""
        stored = self._objects[place] = self._note("MODIFIED" if self.get(place) else "ADDED", place, content)
        return stored

    def drop(self, place: Place) -> Object:
        """Remove an object; return it with the version of its deletion."""
        return self._note("DELETED", place, self._objects.pop(place))

    def compact(self) -> None:
        """Remove every version except the current one, like etcd after five minutes."""
        self._log.clear()
        self._rests.clear()
        self._forgotten = self.version

    def page(self, place: Place, limit: int, token: str) -> Object:
        """Return ``metadata`` and ``items`` of a list: the current one, or the rest of the one that ``token`` names.

        Raises:
            Refused: That list is no longer stored.
        """
        if token and token not in self._rests:
            raise Refused(410, "Expired", "The provided continue parameter is too old")
        version, found = self._rests[token] if token else (self.version, self.all_in(place))
        metadata: Object = {"resourceVersion": str(version)}
        if 0 < limit < len(found):
            rest = found[limit:]
            following = f"{place.kind.plural}/{place.namespace}/{version}/{len(rest)}"
            metadata |= {"continue": following, "remainingItemCount": len(rest)}
            self._rests = {**dict([*self._rests.items()][1 - RESTS :]), following: (version, rest)}
        return {"metadata": metadata, "items": found[:limit] if limit else found}

    def events(self, place: Place, after: int) -> list[Object]:
        """Return the events for watches at version ``after``; an ERROR, which ends them, if some are missing."""
        if after < self._forgotten:
            expired = Refused(410, "Expired", f"too old resource version: {after} ({self._forgotten})")
            return [{"type": "ERROR", "object": expired.status}]
        news = [*takewhile(lambda change: change[0] > after, reversed(self._log))]
        return [event for _, where, event in reversed(news) if place.has(where)]

    def _note(self, change: str, place: Place, content: Object) -> Object:
        self.version += 1
        content = {**content, "metadata": {**content["metadata"], "resourceVersion": str(self.version)}}
        if len(self._log) == self._log.maxlen:
            self._forgotten = self._log[0][0]
        event: Object = {"type": change, "object": content}
        self._log.append((self.version, place, event))
        self.listener(place, event)
        self.changed.set()
        self.changed = anyio.Event()
        return content
