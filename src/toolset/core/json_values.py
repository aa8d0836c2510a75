"""JSON values, their leaves, merge patches (RFC 7386), and values in messages."""

from collections.abc import Iterator
from typing import Final, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Document: TypeAlias = dict[str, Json]
Path: TypeAlias = tuple[str, ...]
QUOTED_LIMIT: Final = 40


def merged(target: Json, patch: Json) -> Json:
    """Return ``target`` after the merge patch ``patch`` (RFC 7386); neither is modified."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def merged_map(target: Document, patch: Document) -> Document:
    """Return the map ``target`` after a merge patch that is a map too."""
    result = merged(target, patch)
    assert isinstance(result, dict)  # noqa: S101 - a map merged with a map
    return result


def leaves(node: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Yield every leaf value in ``node``, including empty maps and lists, with its path."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, (*path, name))
    elif isinstance(node, list) and node:
        for position, value in enumerate(node):
            yield from leaves(value, (*path, str(position)))
    else:
        yield path, node


def quoted(value: object) -> str:
    """Return ``value`` as a message repeats it; empty if it is empty, longer than QUOTED_LIMIT, or no scalar."""
    if not isinstance(value, bool | int | float | str):
        return ""
    words = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{words}`" if 0 < len(words) <= QUOTED_LIMIT else ""
