"""Who owns which field: ``metadata.managedFields``, written by updates and by server-side apply.

The rules: https://kubernetes.io/docs/reference/using-api/server-side-apply/.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import orjson

from toolset.sim.shapes import Path, Shape, merged, walk, without
from toolset.sim.statuses import Object, conflicts

Owner: TypeAlias = tuple[str, str]
"""The manager, and ``Apply`` or ``Update``."""
Owners: TypeAlias = dict[Owner, frozenset[Path]]

_BARE: Final = frozenset({("f:apiVersion",), ("f:kind",), ("f:metadata",), ("f:spec",)})
_SYSTEM: Final = frozenset({"name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"})
_NOBODYS: Final = _BARE | {("f:metadata", f"f:{name}") for name in _SYSTEM}


def owners(content: Object) -> Owners:
    """Return who owns what in an object."""
    entries: list[Object] = content["metadata"].get("managedFields", [])
    return {
        (each["manager"], each["operation"]): frozenset(_paths(each.get("fieldsV1", {})))
        for each in entries
        if "manager" in each
    }


def updated(shape: Shape, live: Object, new: Object, manager: str) -> Owners:
    """Return who owns what after ``manager`` has written ``new`` over ``live``."""
    written, removed = _difference(shape, live, new)
    mine = (manager, "Update")
    known = owners(new) or owners(live)
    if not known and "uid" in live["metadata"]:
        return {}  # nobody began to keep the books
    left = {owner: fields - removed - (written if owner != mine else frozenset()) for owner, fields in known.items()}
    left[mine] = left.get(mine, frozenset()) | written
    return left


def applied(shape: Shape, live: Object, config: Object, manager: str, *, force: bool) -> tuple[Object, Owners]:
    """Return what becomes of ``live`` when ``manager`` applies ``config``, and who owns what then.

    Raises:
        Refused: Others own what would change, and ``force`` is not set.
    """
    mine = (manager, "Apply")
    known = owners(live)
    if not known and "uid" in live["metadata"]:
        known = {("before-first-apply", "Update"): _difference(shape, {}, live)[0]}
    wanted = frozenset(path for path, _, owned in walk(shape, config) if owned and not _is_nobodys(path))
    held = frozenset[Path]().union(wanted, *(fields for owner, fields in known.items() if owner != mine))
    dropped = {path for path in known.get(mine, ()) if not any(each[: len(path)] == path for each in held)}
    new: Object = without(shape, merged(shape, live, config), dropped)
    written, removed = _difference(shape, live, new)
    others = {owner: fields for owner, fields in known.items() if owner != mine}
    taken = {owner: fields & written for owner, fields in others.items() if fields & written}
    if taken and not force:
        version = live["apiVersion"]
        raise conflicts({_shown(owner, version): _texts(fields) for owner, fields in taken.items()})
    left = {owner: fields - written - removed for owner, fields in others.items()}
    return new, {**left, mine: wanted}


def entries(known: Owners, before: Iterable[Mapping[str, Any]], version: str, now: str) -> list[Object]:
    """Return ``known`` as ``managedFields`` has it; who owns the same as before keeps the time."""
    times = {(each.get("manager"), each.get("operation")): each for each in before}
    result: list[Object] = []
    for owner in sorted(known, key=lambda each: (each[1], each[0])):
        if not known[owner]:
            continue
        fields, old = _tree(known[owner]), times.get(owner, {})
        entry = {"manager": owner[0], "operation": owner[1], "apiVersion": version}
        entry["time"] = old.get("time", now) if old.get("fieldsV1") == fields else now
        result.append({**entry, "fieldsType": "FieldsV1", "fieldsV1": fields})
    return result


def _difference(shape: Shape, old: Object, new: Object) -> tuple[frozenset[Path], frozenset[Path]]:
    """Return the paths that were added or changed, and those that were removed."""
    before = {path: value for path, value, _ in walk(shape, old) if not _is_nobodys(path)}
    after = {path: value for path, value, _ in walk(shape, new) if not _is_nobodys(path)}
    written = {path for path, value in after.items() if path not in before or before[path] != value}
    return frozenset(written), frozenset(before.keys() - after.keys())


def _is_nobodys(path: Path) -> bool:
    return path in _NOBODYS or path[0] == "f:status"


def _paths(tree: Mapping[str, Any], at: Path = ()) -> Iterable[Path]:
    for step, below in tree.items():
        if step == ".":
            yield at
        elif not below:
            yield (*at, step)
        else:
            yield from _paths(below, (*at, step))


def _tree(paths: Iterable[Path]) -> Object:
    tree: Object = {}
    for path in sorted(paths):
        place = tree
        for step in path:
            place = place.setdefault(step, {})
        place["."] = {}
    return _pruned(tree)


def _pruned(tree: Object) -> Object:
    """Return the tree without the mark of an owned path where nothing is below it."""
    return {} if tree.keys() == {"."} else {step: _pruned(below) for step, below in tree.items()}


def _shown(owner: Owner, version: str) -> str:
    return f'"{owner[0]}" using {version}' if owner[1] == "Update" else f'"{owner[0]}"'


def _texts(fields: Iterable[Path]) -> list[str]:
    """Return the paths as people read them; at each level what has no parts comes first."""
    return [
        _text(path) for path in sorted(fields, key=lambda path: [*((1, step) for step in path[:-1]), (0, path[-1])])
    ]


def _text(path: Path) -> str:
    return "".join(f"[{_keys(step[2:])}]" if step[0] in "kv" else f".{step[2:]}" for step in path)


def _keys(step: str) -> str:
    if not re.match(r"\{", step):
        return f"={step}"
    return ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in orjson.loads(step).items())
