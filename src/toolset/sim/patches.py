"""Patches that say what to change: JSON merge patch (RFC 7386), strategic merge patch, JSON patch (RFC 6902)."""

from copy import deepcopy
from typing import Any, Final

from toolset.sim.shapes import Items, Record, Shape
from toolset.sim.statuses import Object, Refused, bad_request, is_list, is_map

MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
_NO_MAP: Final = "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"


def patched(shape: Shape, live: Object, patch: Any, content_type: str) -> Any:
    """Return ``live`` after a patch.

    Raises:
        Refused: The patch is not of its type, or does not fit.
    """
    if content_type != JSON_PATCH and not is_map(patch):
        raise bad_request(_NO_MAP)
    if content_type == MERGE:
        return merge_patch(live, patch)
    try:
        return json_patch(live, patch) if content_type == JSON_PATCH else strategic_patch(shape, live, patch)
    except (KeyError, TypeError, AttributeError) as error:
        raise bad_request(f"the patch does not fit: {error!r}") from error


def merge_patch(live: Any, patch: Any) -> Any:
    """Return ``live`` after a JSON merge patch: a null removes."""
    if not is_map(patch):
        return patch
    result: Object = dict(live) if is_map(live) else {}
    for name, change in patch.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), change)
    return result


def strategic_patch(shape: Shape | None, live: Any, patch: Any) -> Any:
    """Return ``live`` after a strategic merge patch: lists with a merge key are merged item by item."""
    if isinstance(shape, Items) and shape.merge_key and is_list(patch):
        return _merged_items(shape, live or [], patch, patch)
    if not is_map(patch) or not is_map(live):
        return patch
    if patch.get("$patch") == "replace":
        return {name: each for name, each in patch.items() if name != "$patch"}
    result: Object = dict(live) if is_map(live) else {}
    for name, change in patch.items():
        of = shape.fields.get(name) if isinstance(shape, Record) else None
        if change is None:
            result.pop(name, None)
        elif isinstance(of, Items) and of.merge_key and is_list(change):
            order = patch.get(f"$setElementOrder/{name}", change)
            result[name] = _merged_items(of, result.get(name, []), change, order)
        elif not name.startswith("$"):
            result[name] = strategic_patch(of, result.get(name), change)
    return result


def _merged_items(shape: Items, live: list[Object], patch: list[Object], order: list[Object]) -> list[Object]:
    key = shape.merge_key
    items = {each[key]: each for each in live}
    for change in patch:
        if change.get("$patch") == "delete":
            items.pop(change[key], None)
        else:
            items[change[key]] = strategic_patch(shape.of, items.get(change[key]), change)
    places = {each[key]: place for place, each in enumerate(live)}
    ordered = [each[key] for each in order if each[key] in items]
    rest = [name for name in items if name not in ordered]
    result: list[Object] = []
    while ordered or rest:  # what only the server has keeps its place before what the server has after it
        first = rest and (not ordered or places[rest[0]] < places.get(ordered[0], -1))
        result.append(items[(rest if first else ordered).pop(0)])
    return result


def json_patch(live: Object, operations: Any) -> Object:
    """Return ``live`` after a JSON patch; ``add``, ``replace``, ``remove`` and ``test`` are all that kubectl sends.

    Raises:
        Refused: A path is not there, or a test fails.
    """
    result = deepcopy(live)
    for each in operations:
        *parents, last = [step.replace("~1", "/").replace("~0", "~") for step in each["path"].split("/")[1:]]
        try:
            _operate(_place(result, parents), last, each["op"], each.get("value"))
        except (KeyError, IndexError, ValueError, TypeError) as error:
            text = "the server rejected our request due to an error in our request"
            raise Refused(422, "Invalid", text, {}) from error
    return result


def _place(value: Any, steps: list[str]) -> Any:
    for step in steps:
        value = value[int(step)] if is_list(value) else value[step]
    return value


def _operate(place: Any, last: str, operation: str, value: Any) -> None:
    index: Any = (len(place) if last == "-" else int(last)) if is_list(place) else last
    if operation == "add" and is_list(place):
        place.insert(index, value)
    elif operation == "test":
        if place[index] != value:
            raise ValueError(last)
    elif operation == "add":
        place[index] = value
    else:
        del place[index]
        if operation == "replace":
            _operate(place, last, "add", value)
