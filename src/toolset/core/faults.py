"""Check that a JSON value is of a type; each fault has its innermost place and words for people."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, cast, get_args, get_origin

import msgspec
from msgspec.inspect import is_struct_type
from typing_extensions import override

from toolset.core.json_values import Path, quoted

Decode: TypeAlias = Callable[[type[object], object], object]
"""Returns a value of a type that msgspec does not know; raises ``ValueError`` with the words for people."""
_KINDS: Final[Mapping[object, str]] = {
    bool: "`true` or `false`",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list such as `[a, b]`",
    dict: "a mapping such as `{name: value}`",
}
_GOT: Final[Mapping[type[object], str]] = {
    bool: "`true` or `false`",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
}


class Fault(msgspec.Struct, frozen=True):
    """Why a value or a document is rejected.

    Attributes:
        path: Where in the document.
        message: Why, for people, without the path.
    """

    path: Path
    message: str

    @override
    def __str__(self) -> str:
        place = " > ".join(self.path)
        return f"{place}: {self.message}" if place else self.message


def faults(value: object, kind: object, path: Path = (), *, decode: Decode | None = None) -> Iterator[Fault]:
    """Yield why ``value`` is not of the type ``kind``, in the order of the text; nothing if it is.

    A part with a fault of its own is not judged as a whole. A value that should be text is not repeated, because it may
    be a secret in the wrong place.

    Args:
        value: As parsed from JSON or YAML.
        kind: What ``msgspec.convert`` takes.
        path: Where the value is.
        decode: Called for types that msgspec does not know; ``None`` if there are none.
    """
    try:
        msgspec.convert(value, kind, dec_hook=decode)
    except msgspec.ValidationError as error:
        plain, description = plain_type(kind)
        inside = list(_faults_inside(value, plain, path, decode))
        yield from inside or [Fault(path, _sentence(str(error), value, plain, description))]


def first_fault(value: object, kind: object, path: Path = (), *, decode: Decode | None = None) -> Fault | None:
    """Return the first of :func:`faults`."""
    return next(faults(value, kind, path, decode=decode), None)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the remedy for a name that is unknown: the nearest known one, or all of them."""
    every = list(known)
    near = difflib.get_close_matches(name, every, n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else f"known are {', '.join(sorted(every))}"


def _faults_inside(value: object, plain: object, path: Path, decode: Decode | None) -> Iterator[Fault]:
    match value:
        case dict() if is_struct_type(plain):
            yield from _struct_faults(cast("dict[str, object]", value), plain, path, decode)
        case dict() if get_origin(plain) is dict:
            names, values = get_args(plain)
            for name, inner in cast("dict[str, object]", value).items():
                yield from faults(name, names, (*path, name), decode=decode)
                yield from faults(inner, values, (*path, name), decode=decode)
        case list() if get_origin(plain) in {tuple, frozenset, list}:
            for position, inner in enumerate(cast("list[object]", value)):
                yield from faults(inner, get_args(plain)[0], (*path, str(position)), decode=decode)
        case _:
            pass


def _struct_faults(value: dict[str, object], plain: Any, path: Path, decode: Decode | None) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(plain)}
    for name, inner in value.items():
        if name in fields:
            yield from faults(inner, fields[name].type, (*path, name), decode=decode)
        elif plain.__struct_config__.forbid_unknown_fields:
            yield Fault((*path, name), f"unknown name; {nearest(name, fields)}")
    for name, field in fields.items():
        if field.required and name not in value:
            yield Fault(path, f"`{name}` is missing")


def plain_type(kind: object) -> tuple[object, str]:
    """Return ``kind`` without ``Annotated`` and ``Optional`` around it, and its description."""
    description = ""
    while get_origin(kind) in {Annotated, Union, UnionType}:
        if get_origin(kind) is Annotated:
            kind, *around = get_args(kind)
            known = (each.description for each in around if isinstance(each, msgspec.Meta))
            description = next(filter(None, known), description)
            continue
        members = [each for each in get_args(kind) if each not in {type(None), msgspec.UnsetType}]
        if len(members) != 1:
            break
        kind = members[0]
    return kind, description


def _sentence(message: str, value: object, plain: object, description: str) -> str:
    """Return a message of msgspec about ``value`` in words of YAML; a check of our own has words of its own."""
    origin = get_origin(plain) or plain
    if origin is Literal:
        choices = [str(each) for each in get_args(plain)]
        return f"expected one of {', '.join(choices)}{_but(value)}{_did_you_mean(value, choices)}"
    kind = {tuple: list, frozenset: list}.get(cast("Any", origin), dict if is_struct_type(plain) else origin)
    if kind not in _KINDS or not message.startswith("Expected `"):
        return message
    wanted = description or _KINDS[kind]
    _, bound, limit = message.partition("` ")
    if not description and bound and not limit.startswith("matching"):
        wanted += " " + limit.replace(">=", "of at least").replace("<=", "of at most").replace("length of", "length")
    if kind is str and isinstance(value, str):
        return f"expected {wanted}"
    return f"expected {wanted}{_but(value) if kind in {bool, int, float} else _got(value)}"


def _did_you_mean(value: object, choices: list[str]) -> str:
    near = difflib.get_close_matches(value.lower(), choices, n=1) if isinstance(value, str) else ()
    return f"; did you mean `{near[0]}`?" if near else ""


def _but(value: object) -> str:
    """Return ``value`` itself if a message may repeat it, else its kind."""
    return f", not {words}" if (words := quoted(value)) else _got(value)


def _got(value: object) -> str:
    return f", not {_GOT.get(type(value), 'a mapping')}" if value is not None else ", not nothing"
