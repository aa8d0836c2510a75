"""The API server without a transport: maps a request to an answer or to the first events of a watch."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec
import orjson

from toolset.sim.core_events import CORE_EVENTS, core_events
from toolset.sim.discovery import DOCUMENTS
from toolset.sim.kinds import EVENT, KINDS, Kind, Place
from toolset.sim.statuses import Object, Refused, is_map
from toolset.sim.store import Store
from toolset.sim.tables import TABLE, as_table
from toolset.sim.writing import Writer

_APPLY: Final = "application/apply-patch+yaml"
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_TYPES: Final = {"application/json", "application/merge-patch+json", _APPLY, _STRATEGIC}
_PATH: Final = re.compile(r"/(?:api|apis/([^/]+))/v1(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?")


class Call(msgspec.Struct, frozen=True):
    """A request over any transport; ``body`` is empty if there is none, ``agent`` and ``accept`` are headers."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    content_type: str = "application/json"
    agent: str = "unknown"
    body: bytes = b""
    accept: str = ""

    @property
    def is_watch(self) -> bool:
        """Whether it asks for a stream."""
        return self.query.get("watch") in {"1", "true"}

    @property
    def wants_table(self) -> bool:
        """Whether it asks for tables instead of objects."""
        return TABLE in self.accept


class Api:
    """Answers calls about a store."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    def answer(self, call: Call) -> tuple[int, Object]:
        """Return the code and the content; refusals and malformed requests are answers too."""
        try:
            if document := DOCUMENTS.get(call.path):
                return 200, document
            if found := CORE_EVENTS.fullmatch(call.path):
                return 200, core_events(self._list(Place(EVENT, found[1] or ""), call.query), call.query)
            code, content = self._answer(call, place := place_of(call.path), _body(call) if call.body else {})
            return code, as_table(place.kind, content, self._writer.now()) if call.wants_table else content
        except Refused as refused:
            return refused.code, refused.status
        except (KeyError, ValueError, msgspec.ValidationError) as error:
            return 400, Refused(400, "BadRequest", f"the request cannot be read: {error!r}").status

    def watch(self, call: Call) -> tuple[Place, int, list[Object]]:
        """Return the place of a watch, the version at which it starts, and its first events.

        Raises:
            Refused: As the API server would refuse it.
        """
        place = selected(place_of(call.path), call.query)
        return place, self._store.version, self._first_events(place, call.query)

    def _answer(self, call: Call, place: Place, body: Object) -> tuple[int, Object]:
        manager = call.query.get("fieldManager") or call.agent.split("/")[0]
        match call.method, bool(place.name):
            case "GET", False:
                return 200, self._list(selected(place, call.query), call.query)
            case "POST", False:
                return 201, self._writer.create(place, body, manager)
            case "GET", True:
                return 200, self._writer.existing(place)
            case "PUT", True:
                return 200, self._writer.replace(place, body, manager)
            case "PATCH", True if call.content_type == _APPLY:
                done, new = self._writer.apply(place, body, manager, force=call.query.get("force") == "true")
                return 201 if new else 200, done
            case "PATCH", True:
                strategic = call.content_type == _STRATEGIC
                return 200, self._writer.patch(place, body, manager, strategic=strategic)
            case "DELETE", True:
                return 200, self._writer.delete(place)
            case _:
                raise Refused(
                    405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {}
                )

    def _list(self, place: Place, query: Mapping[str, str]) -> Object:
        asked, limit = int(query.get("resourceVersion") or "0"), int(query.get("limit") or "0")
        if asked > self._store.version:
            causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
            text = f"Timeout: Too large resource version: {asked}, current: {self._store.version}"
            raise Refused(504, "Timeout", text, {"causes": causes, "retryAfterSeconds": 1})
        found = self._store.page(place, limit, query.get("continue", ""))
        items = [{name: each[name] for name in each.keys() - {"kind", "apiVersion"}} for each in found["items"]]
        return {"kind": f"{place.kind.name}List", "apiVersion": place.kind.version, **found, "items": items}

    def _first_events(self, place: Place, query: Mapping[str, str]) -> list[Object]:
        since, stream = query.get("resourceVersion") or "0", query.get("sendInitialEvents") == "true"
        if since != "0" and not stream:
            return self._store.events(place, int(since))
        events: list[Object] = [{"type": "ADDED", "object": each} for each in self._store.all_in(place)]
        end = {"annotations": {"k8s.io/initial-events-end": "true"}}
        return [*events, bookmark(place.kind, self._store.version, **end)] if stream else events


def place_of(path: str) -> Place:
    """Return what a path names.

    Raises:
        Refused: There is no such place.
    """
    found = _PATH.fullmatch(path)
    for kind in KINDS:
        if found and (kind.group, kind.plural) == (found[1] or "", found[3]):
            return Place(kind, found[2] or "", found[4] or "")
    raise Refused(404, "NotFound", "the server could not find the requested resource", {})


def selected(place: Place, query: Mapping[str, str]) -> Place:
    """Return the part of ``place`` that a field selector names.

    Raises:
        Refused: The selector is not supported.
    """
    selector = query.get("fieldSelector", "")
    name = selector.removeprefix("metadata.name=")
    if (selector and name == selector) or "labelSelector" in query:
        raise Refused(400, "BadRequest", "of selectors there is only fieldSelector=metadata.name=NAME here")
    return msgspec.structs.replace(place, name=name)


def bookmark(kind: Kind, version: int, **metadata: object) -> Object:
    """Return the bookmark of ``version``."""
    sent = {"resourceVersion": str(version), **metadata}
    return {"type": "BOOKMARK", "object": {"kind": kind.name, "apiVersion": kind.version, "metadata": sent}}


def _body(call: Call) -> Object:
    if call.content_type not in _TYPES:
        raise Refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format", {})
    if not is_map(body := orjson.loads(call.body)):
        raise ValueError("it is no JSON object")
    return body
