"""Load settings from file, environment and flags; the error names the place of every invalid name and value.

Precedence: flag, then environment (``TOOLSET_HEALTH__TIMEOUT=5s``), then file, then default.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

import msgspec
from msgspec.inspect import is_struct_type

from toolset.config.options import detectors
from toolset.config.settings import Settings
from toolset.core.backends.backend_type import publish_fault
from toolset.core.backends.catalog import DETECTORS, OPT_IN, TYPES
from toolset.core.detection.detector import Detector, Publish, fault
from toolset.core.durations import Duration
from toolset.core.faults import Fault, faults, nearest, plain_type
from toolset.core.health.http_config import AddressRange
from toolset.core.json_values import Path
from toolset.core.publishing.static_backends import StaticBackend, static_fault
from toolset.core.strict_yaml import Mark, StrictYaml, YamlFault, parse
from toolset.errors import SettingsError

ENVIRONMENT_PREFIX: Final = "TOOLSET_"
TEST_CONNECT_TO: Final = "TOOLSET_TEST_CONNECT_TO"
"""For tests only: dial ``host:port`` at another ``host:port``, unchecked; a JSON object."""
_NOT_SETTINGS: Final = frozenset({"TOOLSET_CONFIG", "TOOLSET_CACHE", TEST_CONNECT_TO})
"""The path of the settings file, the cache of the build scripts, and variables for tests."""
_PROBLEMS_LIMIT: Final = 20
"""How many problems one error lists."""
_FIELDS: Final = {field.name: field.type for field in msgspec.structs.fields(Settings)}
_SECTIONS: Final = {name: kind for name, kind in _FIELDS.items() if is_struct_type(kind)}

_PRODUCTS: Final = {"discovery.disabled_detectors": DETECTORS, "discovery.enabled_detectors": OPT_IN}
"""The detectors that the products in a setting name."""


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
        SettingsError: Names are unknown or values are invalid; each problem has its place and the remedy.
    """
    loading = _Loading(source)
    loading.add_file(text)
    for name, value in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in _NOT_SETTINGS:
            loading.add_variable(name, value)
    for dotted, flag in flags.items():
        loading.add(dotted.split("."), flag, _Place("command line"))
    return loading.settings()


class _Place(msgspec.Struct, frozen=True):
    """Where values are written.

    Attributes:
        source: The name of the file or variable.
        marks: The position of each part in it, by path; empty if positions say nothing.
    """

    source: str
    marks: Mapping[Path, Mark] = {}

    def of(self, path: Path) -> str:
        """Return the position of ``path``, or of its nearest ancestor in the text."""
        while path and path not in self.marks:
            path = path[:-1]
        return _at(self.source, self.marks[path]) if path else self.source


def _at(source: str, mark: Mark) -> str:
    return f"{source}:{mark.line}:{mark.column}"


class _Loading:
    """Collects settings, and the problems in them."""

    def __init__(self, source: str) -> None:
        self._file = _Place(source)
        self._document: dict[str, object] = {}
        self._problems: list[str] = []

    def settings(self) -> Settings:
        """Return the settings.

        Raises:
            SettingsError: There are problems.
        """
        self._raise_if_wrong()
        settings = msgspec.convert(self._document, Settings, dec_hook=_decode)
        self._check_static(settings)
        self._raise_if_wrong()
        return settings

    def _raise_if_wrong(self) -> None:
        if self._problems:
            more = len(self._problems) - _PROBLEMS_LIMIT
            rest = [f"{more} more problems"] if more > 0 else []
            raise SettingsError(*self._problems[:_PROBLEMS_LIMIT], *rest)

    def add_file(self, text: str) -> None:
        """Take the settings of a file."""
        content = parse(text)
        if isinstance(content, YamlFault):
            self._problems.append(f"{_at(self._file.source, content.mark)}: {content.message}")
            return
        self._file = _Place(self._file.source, content.marks)
        if content.value is None:
            return
        if not isinstance(content.value, dict):
            self._problems.append(f"{self._file.source}: expected a mapping of sections such as `health:`")
            return
        for section, values in content.value.items():
            if isinstance(values, dict) and section in _SECTIONS:
                for name, value in values.items():
                    self.add([section, name], value, self._file)
            elif values is not None or section not in _FIELDS:
                self.add([section], values, self._file)

    def add_variable(self, name: str, value: str) -> None:
        """Take the setting of an environment variable."""
        path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        place = _Place(f"environment variable {name}")
        if near := _nearest_variable("__".join(path)):
            self._problems.append(f"{place.source}: there is no such setting; did you mean {near}?")
            return
        content = StrictYaml(value, {}) if _is_text(path) else parse(value)
        if isinstance(content, YamlFault):
            self._problems.append(f"{_at(place.source, content.mark)}: {content.message}")
        else:
            self.add(path, content.value, place)

    def add(self, path: list[str], value: object, place: _Place) -> None:
        """Take one value by path."""
        problems = list(_faults(path, value))
        for problem in problems:
            name = dotted(problem.path)
            self._problems.append(f"{place.of(problem.path)}: {f'`{name}`: ' if name else ''}{problem.message}")
        if problems:
            return
        section = cast("dict[str, object]", self._document.setdefault(path[0], {})) if path[1:] else self._document
        section[path[-1]] = value

    def _check_static(self, settings: Settings) -> None:
        before: dict[str, StaticBackend] = {}
        for position, backend in enumerate(settings.static):
            if found := static_fault(backend, before, detectors(settings)):
                field, problem = found
                place = self._file.of(("static", str(position), *field.split(".")))
                self._problems.append(f"{place}: `static[{position}].{field}`: {problem}")
            before[backend.name] = backend


def dotted(path: Path) -> str:
    """Return ``path`` as people write it: ``static[0].url``."""
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path).removeprefix(".")


def _nearest_variable(path: str) -> str:
    """Return the variable that one for ``path`` resembles; empty if it is a setting, or like none."""
    known = [
        f"{section}__{field.name}" for section, kind in _SECTIONS.items() for field in msgspec.structs.fields(kind)
    ]
    near = [] if path in {*known, *_FIELDS} else difflib.get_close_matches(path, known, n=1, cutoff=0.8)
    return f"{ENVIRONMENT_PREFIX}{near[0].upper()}" if near else ""


def _is_text(path: list[str]) -> bool:
    """Return whether the setting at ``path`` is text; then `1` and `on` in a variable are strings."""
    section = _SECTIONS.get(path[0])
    fields = {field.name: field.type for field in msgspec.structs.fields(section)} if section else {}
    return plain_type(fields.get(path[-1]))[0] is str


def _faults(path: list[str], value: object) -> Iterator[Fault]:
    """Yield why ``value`` cannot be the setting at ``path``."""
    section, names = path[0], path[1:]
    if section not in _FIELDS:
        elsewhere = [f"{each}.{section}" for each, kind in _SECTIONS.items() if section in kind.__struct_fields__]
        yield _unknown([section], elsewhere or _FIELDS)
    elif section not in _SECTIONS:
        if names:
            yield Fault((section,), "it is a list; set it as a whole")
            return
        yield from faults(value, _FIELDS[section], (section,), decode=_decode)
    elif not names:
        yield Fault((section,), "it is a section; set one of its settings")
    else:
        fields = {field.name: field.type for field in msgspec.structs.fields(_SECTIONS[section])}
        if ".".join(names) not in fields:
            yield _unknown([section, ".".join(names)], fields)
            return
        found = list(faults(value, fields[names[0]], (section, *names), decode=_decode))
        yield from found or _product_faults(section, names[0], value)


def _unknown(path: list[str], known: Iterable[str]) -> Fault:
    return Fault(tuple(path), f"unknown name; {nearest(path[-1], known)}")


def _product_faults(section: str, name: str, value: object) -> Iterator[Fault]:
    """Yield what is wrong with detectors, or with the products that a setting names, although the types are right."""
    if f"{section}.{name}" == "discovery.detectors":
        yield from _detector_faults(msgspec.convert(value, tuple[Detector, ...], dec_hook=_decode))
    if known := _PRODUCTS.get(f"{section}.{name}"):
        products = [detector.product for detector in known]
        for position, product in enumerate(cast("list[str]", value)):
            if product not in products:
                message = f"no detector is called `{product}`; {nearest(product, products)}"
                yield Fault((section, name, str(position)), message)


def _detector_faults(found: Iterable[Detector]) -> Iterator[Fault]:
    seen: set[str] = set()
    published: dict[str, Publish | None] = {}
    for position, detector in enumerate(found):
        path = ("discovery", "detectors", str(position))
        problem = fault(detector) or ("there is another one of this product" if detector.product in seen else "")
        seen.add(detector.product)
        if problem:
            yield Fault(path, problem)
        elif wrong := publish_fault(detector, TYPES, published):
            field, problem = wrong
            yield Fault((*path, *field.split(".")), problem)
        published[detector.type] = detector.publish


def _decode(kind: type[object], value: object) -> object:
    if issubclass(kind, Duration | AddressRange):
        return kind.parse(value)
    raise NotImplementedError(kind)  # pragma: no cover - a field of a type without a decoder
