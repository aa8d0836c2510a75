"""Shapes of objects, and what follows from a shape: what fits, who can own what, how two objects become one.

A path is a tuple of steps as ``managedFields`` writes them: ``f:NAME``, ``k:{KEYS}`` for an item known by its keys,
``v:VALUE`` for an item of a set.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec
import orjson

from toolset.sim.statuses import is_list, is_map

Path: TypeAlias = tuple[str, ...]


class Leaf(msgspec.Struct, frozen=True):
    """A value without parts.

    Attributes:
        types: What it may be.
        keep: Whether an empty one is kept.
        pattern: What a text looks like.
    """

    types: tuple[type, ...] = (str,)
    keep: bool = False
    pattern: str = ""


class Record(msgspec.Struct, frozen=True):
    """Fields with names of their own; an atomic one is owned as a whole."""

    fields: Mapping[str, "Shape"]
    atomic: bool = False
    keep: bool = False


class Table(msgspec.Struct, frozen=True):
    """Texts by any name."""

    of: Leaf = Leaf()
    atomic: bool = False


class Items(msgspec.Struct, frozen=True):
    """A list: of items known by ``keys`` (with their defaults), a set, or atomic.

    Attributes:
        of: The shape of an item.
        keys: What tells items apart for server-side apply.
        merge_key: What tells items apart for a strategic merge patch; such a patch replaces the list when empty.
        unique: Whether it is a set.
    """

    of: "Shape"
    keys: Mapping[str, object] = {}
    merge_key: str = ""
    unique: bool = False


Shape: TypeAlias = Leaf | Record | Table | Items
C = TypeVar("C", list[Any], dict[str, Any])


class MisfitError(ValueError):
    """A value has a wrong type."""


def fitted(shape: Shape, value: Any, where: str, *, empty: bool = False) -> Any:
    """Return ``value`` without what the shape does not know, without nulls, and without what is empty unless wanted.

    Raises:
        MisfitError: A value has a wrong type.
    """
    if isinstance(shape, Leaf):
        if type(value) not in shape.types or (shape.pattern and not re.fullmatch(shape.pattern, str(value))):
            raise MisfitError(f"json: cannot unmarshal {value!r} into {where}")
        return value
    if isinstance(shape, Items):
        return [fitted(shape.of, each, where, empty=empty) for each in _typed(list, value, where)]
    parts = _typed(dict, value, where).items()
    if isinstance(shape, Table):
        return {name: "" if each is None else fitted(shape.of, each, f"{where}.{name}") for name, each in parts}
    known = [(name, shape.fields[name], each) for name, each in parts if name in shape.fields and each is not None]
    fits = [(name, of, fitted(of, each, f"{where}.{name}", empty=empty)) for name, of, each in known]
    return {name: each for name, of, each in fits if each or empty or (isinstance(of, Leaf | Record) and of.keep)}


def blank(shape: Record) -> dict[str, Any]:
    """Return what is always there."""
    return {name: blank(of) for name, of in shape.fields.items() if isinstance(of, Record) and of.keep}


def _typed(container: type[C], value: Any, where: str) -> C:
    if not isinstance(value, container):
        raise MisfitError(f"json: cannot unmarshal {value!r} into {where}")
    return value


def walk(shape: Shape, value: Any, at: Path = ()) -> Iterator[tuple[Path, Any, bool]]:
    """Yield each path in ``value``, what is there (nothing for what has parts), and whether an apply owns it."""
    parts = _parts(shape, value)
    if at:
        yield at, value if parts is None else None, not parts or at[-1][0] in "kv"
    for step, of, each in parts or ():
        yield from walk(of, each, (*at, step))


def merged(shape: Shape, live: Any, config: Any) -> Any:
    """Return ``live`` with ``config`` laid over it, as a server-side apply does."""
    mine, theirs = _parts(shape, live), _parts(shape, config)
    if mine is None or theirs is None:
        return config
    old = {step: each for step, _, each in mine}
    new = {step: merged(of, old.get(step), each) for step, of, each in theirs}
    return _built(shape, {**old, **new})


def without(shape: Shape, value: Any, gone: set[Path], at: Path = ()) -> Any:
    """Return ``value`` without the paths ``gone``."""
    parts = _parts(shape, value)
    if parts is None:
        return value
    left = [(step, of, each) for step, of, each in parts if (*at, step) not in gone]
    return _built(shape, {step: without(of, each, gone, (*at, step)) for step, of, each in left})


def _parts(shape: Shape, value: Any) -> list[tuple[str, Shape, Any]] | None:
    """Return what ``value`` consists of, by steps; ``None`` when it is owned as a whole."""
    if isinstance(shape, Record) and not shape.atomic and is_map(value):
        return [(f"f:{name}", shape.fields[name], each) for name, each in value.items() if name in shape.fields]
    if isinstance(shape, Table) and not shape.atomic and is_map(value):
        return [(f"f:{name}", shape.of, each) for name, each in value.items()]
    if isinstance(shape, Items) and shape.keys and is_list(value):
        return [(_key(shape.keys, each), shape.of, each) for each in value]
    if isinstance(shape, Items) and shape.unique and is_list(value):
        return [("v:" + orjson.dumps(each).decode(), shape.of, each) for each in value]
    return None


def _key(keys: Mapping[str, object], item: Mapping[str, object]) -> str:
    return "k:" + orjson.dumps({name: item.get(name, default) for name, default in keys.items()}).decode()


def _built(shape: Shape, parts: Mapping[str, Any]) -> Any:
    return list(parts.values()) if isinstance(shape, Items) else {step[2:]: each for step, each in parts.items()}
