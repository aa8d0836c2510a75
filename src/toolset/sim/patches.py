"""Merge patches: JSON merge patch (RFC 7386), and strategic merge patch as sent by kubectl."""

from typing import Any, Final

from toolset.sim.statuses import Object, is_map

_ORDER: Final = "$setElementOrder/ports"


def merged(live: Any, patch: Any, *, strategic: bool = False) -> Any:
    """Return ``live`` after a patch: a null removes; a strategic one merges the ports of a Service one by one."""
    if not is_map(patch):
        return patch
    result: Object = dict(live) if is_map(live) else {}
    for name, change in patch.items():
        if change is None:
            result.pop(name, None)
        elif strategic and name in {"ports", _ORDER} and not isinstance(change, str):
            result["ports"] = _merged_ports(result.get("ports", []), patch)
        elif not name.startswith("$"):
            result[name] = merged(result.get(name), change, strategic=strategic) if is_map(change) else change
    return result


def _merged_ports(live: list[Object], patch: Object) -> list[Object]:
    """Return ``live`` after ``patch``, both keyed by number, in the order of the patch."""
    changes: list[Object] = patch.get("ports", [])
    ports = {each["port"]: each for each in live}
    for change in changes:
        ports[change["port"]] = {} if "$patch" in change else merged(ports.get(change["port"]), change)
    order = dict.fromkeys([*(each["port"] for each in patch.get(_ORDER, changes)), *ports])
    return [ports[number] for number in order if ports.get(number)]
