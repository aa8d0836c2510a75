"""The objects of the cluster by version: lists of now and of before, a bounded log of changes, watches that read it."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import Final, TypeAlias

import msgspec
import orjson

from toolset.sim.kinds import Kind
from toolset.sim.statuses import Object, Refused, bad_request, expired, not_a_number, version_too_large

LOG_SIZE: Final = 10_000
Place: TypeAlias = tuple[str, str]
"""The resource, and namespace and name as etcd orders them."""
Matches: TypeAlias = Callable[[Object], bool]
_TOO_OLD: Final = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter, or use the continue token in this response to retrieve "
    "the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that "
    "were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
)


class Change(msgspec.Struct, frozen=True):
    """One write; ``old`` is missing for a new object, ``new`` for a deleted one."""

    version: int
    place: Place
    old: Object | None
    new: Object | None


class Page(msgspec.Struct, frozen=True):
    """Which part of a list is wanted.

    Attributes:
        limit: At most so many; 0 for all.
        token: Where the page before ended.
        version: A resource version; empty for now.
        match: ``Exact`` or ``NotOlderThan``; empty for the server's own rule.
    """

    limit: int = 0
    token: str = ""
    version: str = ""
    match: str = ""


class Store:
    """All objects, and their last changes.

    Attributes:
        version: Of the last change.
        on_change: Called after each change.
    """

    def __init__(self, log_size: int = LOG_SIZE) -> None:
        self.version = 1
        self.on_change: Callable[[], None] = lambda: None
        self._objects: dict[Place, Object] = {}
        self._log: deque[Change] = deque(maxlen=log_size)
        self._forgotten = 0

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object as it is now."""
        return self._objects.get(place(kind, namespace, name))

    def put(self, kind: Kind, content: Object) -> Object:
        """Store ``content`` under a new version; return what is stored."""
        self.version += 1
        content = _with_version(content, self.version)
        at = place(kind, content["metadata"].get("namespace", ""), content["metadata"]["name"])
        self._note(at, content)
        self._objects[at] = content
        self.on_change()
        return content

    def drop(self, at: Place) -> Object:
        """Forget an object; return it with the version of its deletion."""
        self.version += 1
        self._note(at, None)
        gone = _with_version(self._objects.pop(at), self.version)
        self.on_change()
        return gone

    def compact(self) -> None:
        """Forget every version but the current one, as etcd does after five minutes."""
        self._log.clear()
        self._forgotten = self.version

    def all_in(self, namespace: str) -> list[Place]:
        """Return the places of what is in a namespace."""
        return [at for at in self._objects if at[1].startswith(f"{namespace}/")]

    def page(self, kind: Kind, namespace: str, matches: Matches, page: Page) -> Object:
        """Return ``items`` and ``metadata`` of a list.

        Raises:
            Refused: The version is forgotten, or not there yet, or makes no sense.
        """
        start, version = self._begin(page)
        prefix = f"{namespace}/" if namespace else ""
        objects = self._as_of(version)
        at = sorted(each for each in objects if each[0] == kind.plural and each[1].startswith(prefix))
        found = [each for each in at if each[1] >= start and matches(objects[each])]
        limited = 0 < page.limit < len(found) and page.version != "0"
        metadata: Object = {"resourceVersion": str(version)}
        if limited:
            token = _token(version, found[page.limit][1])
            metadata |= {"continue": token, "remainingItemCount": len(found) - page.limit}
        chosen = found[: page.limit] if limited else found
        return {"metadata": metadata, "items": [objects[each] for each in chosen]}

    def changes(self, after: int) -> list[Change]:
        """Return the changes after a version, oldest first.

        Raises:
            Refused: They are not all known any more.
        """
        if after < self._forgotten:
            raise expired(f"too old resource version: {after} ({self._forgotten})")
        return list(takewhile(lambda each: each.version > after, reversed(self._log)))[::-1]

    def known(self, version: str) -> int:
        """Return ``version`` as a number.

        Raises:
            Refused: It is none, or higher than any.
        """
        if not version.isdecimal():
            raise bad_request(f"invalid resource version: resourceVersion: {not_a_number(version)}")
        if int(version) > self.version:
            raise version_too_large(int(version), self.version)
        return int(version)

    def _begin(self, page: Page) -> tuple[str, int]:
        if page.token:
            return self._resumed(page)
        version = self.known(page.version or "0")
        exact = page.match == "Exact" or (page.limit and version and not page.match)
        if exact and version < self._forgotten:
            raise expired("The resourceVersion for the provided list is too old.")
        return "", version if exact else self.version

    def _resumed(self, page: Page) -> tuple[str, int]:
        try:
            token: Mapping[str, str | int] = orjson.loads(bytes.fromhex(page.token))
            start, version = str(token["start"]), int(token["rv"])
        except (ValueError, KeyError, TypeError) as error:
            raise bad_request(f"invalid continue token: {error}") from error
        if page.version not in {"", "0"}:
            raise bad_request("specifying resource version is not allowed when using continue")
        if version < self._forgotten:
            if version >= 0:
                raise expired(_TOO_OLD, {"continue": _token(-1, start)})
            version = self.version  # the client takes an inconsistent list
        return start, version

    def _as_of(self, version: int) -> dict[Place, Object]:
        """Return the objects of a version, which is now but for lists in pages."""
        objects = dict(self._objects)
        for change in reversed(self.changes(version)):
            if change.old is None:
                del objects[change.place]
            else:
                objects[change.place] = change.old
        return objects

    def _note(self, at: Place, new: Object | None) -> None:
        if len(self._log) == self._log.maxlen:
            self._forgotten = self._log[0].version
        self._log.append(Change(self.version, at, self._objects.get(at), new))


class Watch:
    """One watch: where it stands in the log, and what it lets through."""

    def __init__(self, store: Store, kind: Kind, namespace: str, matches: Matches, after: int) -> None:
        self._store = store
        self._kind = kind
        self._prefix = f"{namespace}/" if namespace else ""
        self._matches = matches
        self.version = after

    def take(self) -> list[Object]:
        """Return the events since the last call; an ERROR, which ends the watch, when some are forgotten."""
        try:
            changes = self._store.changes(self.version)
        except Refused as refused:
            return [{"type": "ERROR", "object": refused.body}]
        self.version = max(self.version, self._store.version)
        return [event for change in changes if (event := self._event(change)) is not None]

    def _event(self, change: Change) -> Object | None:
        if change.place[0] != self._kind.plural or not change.place[1].startswith(self._prefix):
            return None
        was = change.old if change.old is not None and self._matches(change.old) else None
        now = change.new if change.new is not None and self._matches(change.new) else None
        if now is not None:
            return {"type": "ADDED" if was is None else "MODIFIED", "object": now}
        if was is None:
            return None
        return {"type": "DELETED", "object": _with_version(was, change.version)}


def place(kind: Kind, namespace: str, name: str) -> Place:
    """Return where an object is."""
    return kind.plural, f"{namespace}/{name}"


def _token(version: int, start: str) -> str:
    return orjson.dumps({"rv": version, "start": start}).hex()


def _with_version(content: Object, version: int) -> Object:
    return {**content, "metadata": {**content["metadata"], "resourceVersion": str(version)}}


def selection(kind: Kind, field_selector: str, label_selector: str) -> Matches:
    """Return what tells whether an object is selected.

    Raises:
        Refused: A selector is not understood.
    """
    fields = [_requirement(each, "invalid selector: '{}'; can't understand '{}'") for each in _split(field_selector)]
    labels = [_requirement(each, "") for each in _split(label_selector)]
    for name, _, _ in fields:
        if name not in {"metadata.name", "metadata.namespace"}:
            raise bad_request(kind.selectable.replace("{}", name))

    def matches(content: Object) -> bool:
        metadata: Object = content["metadata"]
        own: Mapping[str, str] = metadata.get("labels", {})
        return all(_holds(each, metadata.get(each[0].removeprefix("metadata."))) for each in fields) and all(
            _holds(each, own.get(each[0])) for each in labels
        )

    return matches


def _split(selector: str) -> Iterable[str]:
    return [each.strip() for each in selector.split(",")] if selector else []


def _requirement(text: str, refusal: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"(!?)([\w./-]+)\s*(?:(==?|!=)\s*([\w./-]*))?", text)
    if found is None or (refusal and not found[3]):
        raise bad_request(refusal.replace("{}", text) or f"unable to parse requirement: {text}")
    return found[2], found[3] or (found[1] or "exists"), found[4] or ""


def _holds(requirement: tuple[str, str, str], value: str | None) -> bool:
    _, operator, wanted = requirement
    if operator in {"exists", "!"}:
        return (value is not None) == (operator == "exists")
    return (value == wanted) == (operator != "!=")
