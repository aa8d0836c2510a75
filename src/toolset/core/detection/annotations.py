"""Read the annotations of a Service; every value is checked, and rejected as a whole if it is not valid.

Annotations are a tenant's text. They may choose a port of the Service, a scheme and a path on it; never another
host. ``toolset-endpoint`` (a full URL, from the predecessor of this service) counts only if its host is the
Service's own, or if the settings allow others. An annotation that is nearly one of these is not read, but reported.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

Switch = Literal["auto", "enabled", "disabled"]

_SWITCHES: Final[Mapping[str, Switch]] = {
    "enabled": "enabled",
    "true": "enabled",
    "disabled": "disabled",
    "false": "disabled",
}
TYPE_PATTERN: Final = r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?\Z"
TypeWord: TypeAlias = Annotated[str, msgspec.Meta(pattern=TYPE_PATTERN, description="a lower-case word such as `loki`")]
_TYPE: Final = re.compile(TYPE_PATTERN)
_PATH: Final = re.compile(r"/[A-Za-z0-9._~/-]{0,255}")
PORT_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", re.IGNORECASE)
_WORD: Final = re.compile(r"[A-Za-z0-9._/-]{1,40}")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,63}")
_MISSPELT_LIMIT: Final = 2
_PRIORITY: Final = re.compile(r"-?[0-9]{1,6}")
VALUE_LIMIT: Final = 512
"""Maximum length of a valid value; all are ASCII."""
RESERVED_TYPES: Final = frozenset({"kubernetes"})  # its document is always published, under its own key


class Annotations(msgspec.Struct, frozen=True):
    """What the annotations request; empty or ``None`` where they say nothing.

    Attributes:
        switch: ``disabled`` opts out of everything, ``enabled`` opts in.
        type: The tool type.
        port: Name or number of a port of the Service.
        scheme: ``http`` or ``https``.
        path: Base path, without a trailing slash; ``None`` keeps the detector's.
        health_path: What to probe below the base path.
        priority: Orders the instances of a type; higher first.
        endpoint: A full URL; its syntax is checked, its host is not.
    """

    switch: Switch = "auto"
    type: str = ""
    port: str = ""
    scheme: str = ""
    path: str | None = None
    health_path: str = ""
    priority: int = 0
    endpoint: str = ""


_NOTHING: Final = Annotations()


class BadAnnotation(msgspec.Struct, frozen=True):
    """An annotation with an invalid value.

    Attributes:
        name: Its full name.
        remedy: The valid values, for people.
        value: Its value, if it has at most 40 characters, all of them those of a word or a path; otherwise empty,
            because it is a tenant's text and may contain a secret.
    """

    name: str
    remedy: str
    value: str = ""


def parse(annotations: Mapping[str, str], prefix: str) -> Annotations | BadAnnotation:
    """Return what the annotations under ``prefix`` request, or the first that is not valid.

    The opt-out is checked first, so that no mistake elsewhere can undo it.
    """
    if not annotations:
        return _NOTHING
    switch = annotations.get(f"{prefix}/toolset")
    if switch is not None and _SWITCHES.get(switch) == "disabled":
        return Annotations(switch="disabled")
    for suffix, (valid, remedy) in _RULES.items():
        value = annotations.get(f"{prefix}/{suffix}")
        if value is not None and not valid(value):
            return BadAnnotation(f"{prefix}/{suffix}", remedy, value if _WORD.fullmatch(value) else "")
    path = annotations.get(f"{prefix}/toolset-path")
    return Annotations(
        switch="auto" if switch is None else _SWITCHES[switch],
        type=annotations.get(f"{prefix}/toolset-type", ""),
        port=annotations.get(f"{prefix}/toolset-port", ""),
        scheme=annotations.get(f"{prefix}/toolset-scheme", ""),
        path=None if path is None else path.rstrip("/"),
        health_path=annotations.get(f"{prefix}/toolset-health-path", ""),
        priority=int(annotations.get(f"{prefix}/toolset-priority", "0")),
        endpoint=annotations.get(f"{prefix}/toolset-endpoint", "").rstrip("/"),
    )


def misspelt(names: Iterable[str], prefix: str) -> tuple[str, ...]:
    """Return those of ``names`` that are nearly annotations of this service, at most two, in order."""
    start = f"{prefix}/"
    own = (name for name in names if name.startswith(start))
    found = [name for name in own if (suffix := name.removeprefix(start)) not in _RULES and _resembles(suffix)]
    return tuple(sorted(found)[:_MISSPELT_LIMIT])


def _resembles(suffix: str) -> bool:
    return _NAME.fullmatch(suffix) is not None and (suffix.startswith("toolset") or bool(_nearest(suffix)))


def _nearest(suffix: str) -> list[str]:
    return difflib.get_close_matches(suffix, _RULES, n=1, cutoff=0.8)


def unread(annotations: Mapping[str, str], prefix: str) -> str:
    """Return which annotations of a Service are not read although they were probably meant to be; empty if none."""
    sentences: list[str] = []
    for name in misspelt(annotations, prefix):
        near = _nearest(name.removeprefix(f"{prefix}/"))
        hint = f"did you mean `{prefix}/{near[0]}`?" if near else f"known are {', '.join(_RULES)}"
        sentences.append(f"annotation `{name}` is not read; {hint}")
    return "; ".join(sentences)


def opted_in(annotations: Mapping[str, str], prefix: str) -> bool:
    """Return whether the owner of a Service requests its publication."""
    return _SWITCHES.get(annotations.get(f"{prefix}/toolset", "")) == "enabled"


def is_type(value: str) -> bool:
    """Return whether ``value`` may be a tool type."""
    return _TYPE.fullmatch(value) is not None and value not in RESERVED_TYPES


def is_path(value: str) -> bool:
    """Return whether ``value`` is a plain absolute path: no query, no escapes, no dot segments."""
    return _PATH.fullmatch(value) is not None and not {".", ".."} & set(value.split("/"))


def _is_endpoint(value: str) -> bool:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    return (
        len(value) <= VALUE_LIMIT
        and value.isascii()
        and value.isprintable()
        and parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and (port is None or port > 0)
        and not (parts.query or parts.fragment)
        and (parts.path in {"", "/"} or is_path(parts.path))
    )


_PATH_REMEDY: Final = "must be an absolute path of letters, digits and ._~/- with at most 256 characters"
_RULES: Final[Mapping[str, tuple[Callable[[str], object], str]]] = {
    "toolset": (_SWITCHES.__contains__, "must be enabled, true, disabled or false"),
    "toolset-type": (is_type, "must be a lower-case word of at most 40 letters, digits and -, and not kubernetes"),
    "toolset-port": (PORT_NAME.fullmatch, "must be the name or the number of a port of the Service"),
    "toolset-scheme": ({"http", "https"}.__contains__, "must be http or https"),
    "toolset-path": (is_path, _PATH_REMEDY),
    "toolset-health-path": (is_path, _PATH_REMEDY),
    "toolset-priority": (_PRIORITY.fullmatch, "must be a whole number of at most 6 digits"),
    "toolset-endpoint": (_is_endpoint, "must be an http or https URL without user, query and fragment"),
}
NAMES: Final = tuple(_RULES)
"""Every annotation that is read, without the prefix. An empty value is valid for none."""
