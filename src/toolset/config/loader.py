"""Load settings from file, environment and flags; errors name the place of an invalid name or value.

Precedence: flag, then environment (``TOOLSET_HEALTH__TIMEOUT=5s``), then file, then default.
"""

import difflib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

import msgspec
from msgspec.inspect import is_struct_type

from toolset.config.options import detectors
from toolset.config.settings import Settings
from toolset.core.backends.backend_type import publish_fault
from toolset.core.backends.catalog import DETECTORS, OPT_IN, TYPES
from toolset.core.detection.detector import Detector, Publish, fault
from toolset.core.durations import Duration
from toolset.core.health.http_config import AddressRange
from toolset.core.json_values import Json
from toolset.core.publishing.static_backends import StaticBackend, static_fault
from toolset.core.strict_yaml import YamlFault, parse
from toolset.errors import SettingsError

ENVIRONMENT_PREFIX: Final = "TOOLSET_"
TEST_CONNECT_TO: Final = "TOOLSET_TEST_CONNECT_TO"
"""For tests only: dial ``host:port`` at another ``host:port``, unchecked; a JSON object."""
_NOT_SETTINGS: Final = frozenset({"TOOLSET_CONFIG", "TOOLSET_CACHE", TEST_CONNECT_TO})
"""The path of the settings file, the cache of the build scripts, and variables for tests."""
_EXAMPLES: Final = {
    "Expected `array`": "Expected a list such as `[a, b]`",
    "Expected `bool`": "Expected `true` or `false`",
    "Expected `object`": "Expected a mapping such as `{name: value}`",
}
"""msgspec's messages in terms of JSON, and their replacements in terms of YAML."""
_FIELDS: Final = {field.name: field.type for field in msgspec.structs.fields(Settings)}
_SECTIONS: Final = {name: kind for name, kind in _FIELDS.items() if is_struct_type(kind)}

_PRODUCTS: Final = {"discovery.disabled_detectors": DETECTORS, "discovery.enabled_detectors": OPT_IN}
"""The detectors that the products in a setting name."""


class Source(msgspec.Struct, frozen=True):
    """Where the settings of a process come from.

    Attributes:
        file: The path of the YAML file; ``-`` for standard input, empty for none.
        environment: Environment variables; those without the prefix ``TOOLSET_`` are ignored.
        flags: Values by dotted path.
    """

    file: str = ""
    environment: Mapping[str, str] = {}
    flags: Mapping[str, object] = {}

    @property
    def can_change(self) -> bool:
        """Whether there is a regular file to read again; a pipe can be read only once."""
        return bool(self.file) and Path(self.file).is_file()

    def read(self) -> str:
        """Return the content of the file; empty if there is none.

        Raises:
            SettingsError: It cannot be read.
        """
        return read(self.file) if self.file else ""

    def parse(self, text: str) -> Settings:
        """Return the settings for a file with the content ``text``.

        Raises:
            SettingsError: As for :func:`load`.
        """
        return load(text, self.environment, self.flags, source=self.file or "settings")


def read(file: str) -> str:
    """Return the content of a settings file; ``-`` is standard input.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except FileNotFoundError as error:
        raise SettingsError(f"{file}: there is no such file; name another one") from error
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror}); name another file") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: this is not UTF-8 text") from error


def load(
    text: str, environment: Mapping[str, str], flags: Mapping[str, object], *, source: str = "settings"
) -> Settings:
    """Return the settings of one YAML file, an environment and flags.

    Args:
        text: The file's content.
        environment: Environment variables; those without the prefix ``TOOLSET_`` are ignored.
        flags: Values by dotted path, for example ``health.timeout``.
        source: The file's name, for messages.

    Raises:
        SettingsError: A name is unknown or a value is invalid; the message names the place and the remedy.
    """
    document = _merge(_parse(text, source), source)
    for name, value in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in _NOT_SETTINGS:
            path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            place = f"environment variable {name}"
            _check_variable("__".join(path), place)
            _put(document, path, value if _is_text(path) else _parse(value, place), place)
    for dotted, flag in flags.items():
        _put(document, dotted.split("."), flag, "command line")
    settings = msgspec.convert(document, Settings, dec_hook=_decode)
    _check_static(settings, source)
    return settings


def _check_variable(path: str, place: str) -> None:
    """Reject a variable that resembles a setting; other unknown ones are rejected when they are set."""
    known = [
        f"{section}__{field.name}" for section, kind in _SECTIONS.items() for field in msgspec.structs.fields(kind)
    ]
    near = [] if path in {*known, *_FIELDS} else difflib.get_close_matches(path, known, n=1, cutoff=0.8)
    if near:
        raise SettingsError(f"{place}: there is no such setting; did you mean {ENVIRONMENT_PREFIX}{near[0].upper()}?")


def _is_text(path: list[str]) -> bool:
    """Return whether the setting at ``path`` is text; then `1` and `on` in a variable are strings."""
    section = _SECTIONS.get(path[0])
    fields = {field.name: field.type for field in msgspec.structs.fields(section)} if section else {}
    return _plain(fields.get(path[-1]))[0] is str


def _parse(text: str, source: str) -> Json:
    content = parse(text)
    if isinstance(content, YamlFault):
        raise SettingsError(f"{source}, line {content.mark.line}, column {content.mark.column}: {content.message}")
    return content.value


def _merge(document: Json, source: str) -> dict[str, object]:
    """Return a copy of ``document`` after checking every name."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(f"{source}: expected a mapping of sections such as `health:`")
    content: dict[str, object] = {}
    for section, values in document.items():
        _check_name(section, _FIELDS, "", source)
        if isinstance(values, dict) and section in _SECTIONS:
            for name, value in values.items():
                _put(content, [section, name], value, source)
        elif values is not None:
            _put(content, [section], values, source)
    return content


def _put(document: dict[str, object], path: list[str], value: object, source: str) -> None:
    """Set one value by path, after checking it.

    Raises:
        SettingsError: There is no such setting, or the value is invalid for it.
    """
    _check_name(path[0], _FIELDS, "", source)
    if path[0] not in _SECTIONS:
        if len(path) > 1:
            raise SettingsError(f"{source}: `{path[0]}` is a list; set it as a whole")
        _convert(value, _FIELDS[path[0]], path[0], source)
        document[path[0]] = value
        return
    if len(path) == 1:
        raise SettingsError(f"{source}: `{path[0]}` is a section; set one of its settings")
    fields = {field.name: field.type for field in msgspec.structs.fields(_SECTIONS[path[0]])}
    _check_name(".".join(path[1:]), fields, f"{path[0]}.", source)
    place = ".".join(path)
    converted = _convert(value, fields[path[1]], place, source)
    if place == "discovery.detectors":
        _check_detectors(converted, source)
    if place in _PRODUCTS:
        _check_products(converted, place, source)
    cast("dict[str, object]", document.setdefault(path[0], {}))[path[1]] = value


def _convert(value: object, kind: object, place: str, source: str) -> Any:
    """Convert ``value`` to ``kind``, its parts first, so that an error names the innermost place.

    Raises:
        SettingsError: A name in it is unknown, or a value is invalid.
    """
    plain, description = _plain(kind)
    match value:
        case dict() if is_struct_type(plain):
            known = {field.encode_name: field.type for field in msgspec.structs.fields(plain)}
            for name, inner in cast("dict[str, object]", value).items():
                _check_name(name, known, f"{place}.", source)
                _convert(inner, known[name], f"{place}.{name}", source)
        case dict() if get_origin(plain) is dict:
            names, values = get_args(plain)
            for name, inner in cast("dict[str, object]", value).items():
                _convert(name, names, f"{place}.{name}", source)
                _convert(inner, values, f"{place}.{name}", source)
        case list() if get_origin(plain) in {tuple, frozenset}:
            for position, inner in enumerate(cast("list[object]", value)):
                _convert(inner, get_args(plain)[0], f"{place}[{position}]", source)
        case _:
            pass
    try:
        return msgspec.convert(value, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source}: `{place}`: {_said(str(error), plain, description)}") from error


def _plain(kind: object) -> tuple[object, str]:
    """Return ``kind`` without ``Annotated`` and ``Optional`` around it, and its description."""
    description = ""
    while get_origin(kind) in {Annotated, Union, UnionType}:
        inner, *around = get_args(kind)
        description = next((each.description for each in around if isinstance(each, msgspec.Meta)), None) or description
        kind = inner
    return kind, description


def _said(message: str, plain: object, description: str) -> str:
    """Return a message of msgspec in terms of YAML."""
    message = message.replace(" | null`", "`", 1)
    if get_origin(plain) is Literal:
        return f"{message}; choose one of {', '.join(get_args(plain))}"
    if description and "regex" in message:
        return f"Expected {description}"
    for words, ours in _EXAMPLES.items():
        message = message.replace(words, ours)
    return message


def _check_detectors(detectors: Iterable[Detector], source: str) -> None:
    seen: set[str] = set()
    published: dict[str, Publish | None] = {}
    for position, detector in enumerate(detectors):
        problem = fault(detector) or ("there is another one of this product" if detector.product in seen else "")
        seen.add(detector.product)
        if problem:
            raise SettingsError(f"{source}: `discovery.detectors[{position}]` ({detector.product}): {problem}")
        if found := publish_fault(detector, TYPES, published):
            field, problem = found
            raise SettingsError(f"{source}: `discovery.detectors[{position}].{field}`: {problem}")
        published[detector.type] = detector.publish


def _check_static(settings: Settings, source: str) -> None:
    before: dict[str, StaticBackend] = {}
    for position, backend in enumerate(settings.static):
        if found := static_fault(backend, before, detectors(settings)):
            field, problem = found
            raise SettingsError(f"{source}: `static[{position}].{field}`: {problem}")
        before[backend.name] = backend


def _check_products(products: Iterable[str], place: str, source: str) -> None:
    known = [detector.product for detector in _PRODUCTS[place]]
    for product in products:
        if product not in known:
            raise SettingsError(f"{source}: `{place}`: no detector is called `{product}`; {_hint(product, known, '')}")


def _check_name(name: str, known: Mapping[str, object], parent: str, source: str) -> None:
    if name in known:
        return
    raise SettingsError(f"{source}: unknown setting `{parent}{name}`; {_hint(name, known, parent)}")


def _hint(name: str, known: Iterable[str], parent: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean `{parent}{near[0]}`?" if near else f"known are {', '.join(sorted(known))}"


def _decode(kind: type[object], value: object) -> object:
    if issubclass(kind, Duration | AddressRange):
        return kind.parse(value)
    raise NotImplementedError(kind)  # pragma: no cover - a field of a type without a decoder
