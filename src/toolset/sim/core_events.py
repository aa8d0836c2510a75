"""Events of the core group, which `kubectl describe` lists: the same objects under older names of their fields."""

import re
from collections.abc import Mapping
from typing import Final

from toolset.sim.statuses import Object, Refused

CORE_EVENTS: Final = re.compile(r"/api/v1(?:/namespaces/([^/]+))?/events")
"""The path of a list; its group is the namespace."""
_SELECTED: Final = "involvedObject."


def core_events(content: Object, query: Mapping[str, str]) -> Object:
    """Return a list of Events of the group ``events.k8s.io`` as the core group has it.

    Args:
        content: The list.
        query: Of the request; its field selector may name fields of the involved object.

    Raises:
        Refused: The selector names another field.
    """
    wanted = _selector(query.get("fieldSelector", ""))
    items = [_as_core(each) for each in content["items"]]
    kept = [each for each in items if wanted.items() <= each["involvedObject"].items()]
    return {**content, "apiVersion": "v1", "items": kept}


def _selector(text: str) -> dict[str, str]:
    pairs = [each.partition("=") for each in text.split(",") if each]
    if not all(name.startswith(_SELECTED) for name, _, _ in pairs):
        raise Refused(400, "BadRequest", f"of selectors there is only {_SELECTED}NAME=VALUE here", {})
    return {name.removeprefix(_SELECTED): value.removeprefix("=") for name, _, value in pairs}


def _as_core(event: Object) -> Object:
    names = {"regarding": "involvedObject", "note": "message", "reportingController": "reportingComponent"}
    given = {names.get(name, name): each for name, each in event.items()}
    return {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "reportingInstance": "", **given}
