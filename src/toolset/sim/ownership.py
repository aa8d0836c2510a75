"""Field ownership: ``metadata.managedFields``, written by updates and by server-side apply.

The rules: https://kubernetes.io/docs/reference/using-api/server-side-apply/. A list is atomic.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from toolset.sim.kinds import Kind
from toolset.sim.shapes import with_defaults
from toolset.sim.statuses import Object, Refused, is_map

Path: TypeAlias = tuple[str, ...]
Owner: TypeAlias = tuple[str, str]
"""The manager, and ``Apply`` or ``Update``."""
Owners: TypeAlias = dict[Owner, frozenset[Path]]

_ATOMIC: Final = frozenset({("spec", "selector"), ("regarding",), ("related",)})
_BARE: Final = frozenset({(), ("apiVersion",), ("kind",), ("spec",)})


def updated(known: Owners, live: Object, new: Object, manager: str) -> Owners:
    """Return the owners after ``manager`` has written ``new`` over ``live``; ``known`` are the previous ones."""
    written, removed = _difference(live, new)
    left = {owner: fields - removed - written for owner, fields in known.items()}
    mine = (manager, "Update")
    return {**left, mine: known.get(mine, frozenset()) - removed | written}


def applied(
    known: Owners, kind: Kind, live: Object, config: Object, manager: str, *, force: bool
) -> tuple[Object, Owners]:
    """Return ``live`` after ``manager`` applies ``config``, and the owners.

    Raises:
        Refused: Others own fields that would change, and ``force`` is not set.
    """
    mine = (manager, "Apply")
    others = {owner: fields for owner, fields in known.items() if owner != mine}
    wanted = _fields(config)
    parents = {path[:-1] for path in wanted}
    named = frozenset(path for path in wanted if _is_owned(path) and path not in parents)
    held = {part for fields in (named, *others.values()) for path in fields for part in _prefixes(path)}
    dropped = known.get(mine, frozenset()) - held
    left = {path: each for path, each in {**_fields(live), **wanted}.items() if dropped.isdisjoint(_prefixes(path))}
    new = with_defaults(kind, _built(left))
    written, removed = _difference(live, new)
    if (taken := [(owner, path) for owner in others for path in others[owner] & written]) and not force:
        raise _conflict(kind, sorted(taken))
    return new, {**{owner: fields - written - removed for owner, fields in others.items()}, mine: named}


def entries(known: Owners, version: str) -> list[Object]:
    """Return ``known`` as ``managedFields``."""
    entry = {"apiVersion": version, "fieldsType": "FieldsV1"}
    return [
        {"manager": manager, "operation": operation, **entry, "fieldsV1": _tree(paths)}
        for (manager, operation), paths in sorted(known.items())
        if paths
    ]


def _fields(value: Any, at: Path = ()) -> dict[Path, Any]:
    """Return the value at each path, parents first; a map with content is an empty map there."""
    if not is_map(value) or at in _ATOMIC:
        return {at: value}
    fields: dict[Path, Any] = {at: {}}
    for name, each in value.items():
        fields |= _fields(each, (*at, name))
    return fields


def _built(fields: Mapping[Path, Any]) -> Object:
    """Return the object from the result of :func:`_fields`."""
    made: dict[Path, Any] = {(): {}}
    for path, value in fields.items():
        if path:
            made[path] = made[path[:-1]][path[-1]] = {} if value == {} else value
    return dict(made[()])


def _difference(before: Object, after: Object) -> tuple[frozenset[Path], frozenset[Path]]:
    """Return the paths that were added or changed, and those that were removed."""
    old, new = _fields(_ownable(before)), _fields(_ownable(after))
    written = {path for path in new if path not in old or old[path] != new[path]}
    return frozenset(filter(_is_owned, written)), frozenset(filter(_is_owned, old.keys() - new.keys()))


def _ownable(content: Object) -> Object:
    """Return ``content`` without most of what :func:`_is_owned` excludes, such as ``managedFields`` themselves."""
    metadata = content.get("metadata", {})
    owned = {name: metadata[name] for name in ("labels", "annotations") if name in metadata}
    return {name: each for name, each in {**content, "metadata": owned}.items() if name != "status"}


def _is_owned(path: Path) -> bool:
    if path[:1] == ("metadata",):
        return path[1:2] in {("labels",), ("annotations",)}
    return path not in _BARE and path[0] != "status"


def _prefixes(path: Path) -> Iterator[Path]:
    return (path[: length + 1] for length in range(len(path)))


def _tree(paths: Iterable[Path]) -> Object:
    tree: Object = {}
    for path in sorted(sorted(paths), key=len, reverse=True):
        at = tree
        for name in path:
            at = at.setdefault(f"f:{name}", {})
        if at:  # longer paths came first
            at["."] = {}
    return tree


def _conflict(kind: Kind, taken: Iterable[tuple[Owner, Path]]) -> Refused:
    conflicts = [
        (f'conflict with "{manager}"{f" using {kind.version}" if operation == "Update" else ""}', f".{'.'.join(path)}")
        for (manager, operation), path in taken
    ]
    text = f"Apply failed with {len(conflicts)} conflict{'s' if len(conflicts) > 1 else ''}: "
    text += "\n".join(f"{conflict}: {field}" for conflict, field in conflicts)
    causes = [{"reason": "FieldManagerConflict", "message": conflict, "field": field} for conflict, field in conflicts]
    return Refused(409, "Conflict", text, {"causes": causes})
