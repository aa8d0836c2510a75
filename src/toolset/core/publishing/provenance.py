"""Determine for each field in a document whether it was discovered or set by an admin."""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from toolset.core.json_values import Document, Json, Path, leaves

Origin = Literal["discovered", "overridden", "removed"]


class Field(msgspec.Struct, frozen=True):
    """One field of a document.

    Attributes:
        document: The key of the document in the ConfigMap.
        path: Its path.
        value: Its value; for a removed field the previous one.
        origin: Its origin.
    """

    document: str
    path: Path
    value: Json
    origin: Origin


def trace(
    plain: Mapping[str, Document], final: Mapping[str, Document], patches: Mapping[str, Document]
) -> tuple[Field, ...]:
    """Return the origin of each field, document by document.

    Args:
        plain: The documents without overrides.
        final: The documents with them.
        patches: The merge patches of documents; a field in one is the admin's even if both values are the same.
    """
    found: list[Field] = []
    for key in sorted(plain.keys() | final.keys()):
        found += _fields(key, plain.get(key, {}), final.get(key, {}), patches.get(key, {}))
    return tuple(found)


def _fields(key: str, plain: Document, final: Document, patch: Document) -> Iterator[Field]:
    before, after = dict(leaves(plain)) if plain else {}, dict(leaves(final)) if final else {}
    set_by_admin = {path for path, _ in leaves(patch)} if patch else set[Path]()
    for path, value in after.items():
        same = path in before and before[path] == value and path not in set_by_admin
        yield Field(key, path, value, "discovered" if same else "overridden")
    for path, value in before.items():
        if path not in after:
            yield Field(key, path, value, "removed")
