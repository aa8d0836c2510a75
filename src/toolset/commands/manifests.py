"""Read Services, ConfigMaps and Namespaces from manifests or the output of ``kubectl get -o yaml``."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import msgspec
import yaml

from toolset.core.strict_yaml import up_to_depth
from toolset.errors import SettingsError
from toolset.model import ConfigMap, Key, Namespace, Service

T = TypeVar("T", Service, ConfigMap, Namespace)

STDIN: Final = "-"
VERSION: Final = "v1"
"""The apiVersion that is read; a Knative Service, for example, is another kind."""
MANIFEST_DEPTH_LIMIT: Final = 500
"""The maximum nesting, far deeper than any object. At tens of thousands libyaml would crash the process, which Python
cannot catch."""


_NOTHING: Final[Mapping[str, object]] = {}


class Manifests(msgspec.Struct, frozen=True):
    """The content of the files; other kinds are ignored.

    Attributes:
        services: Without duplicates.
        config_maps: By key.
        namespaces: By key.
        notes: Ignored objects that look like one of these, one sentence each.
    """

    services: tuple[Service, ...]
    config_maps: Mapping[Key, ConfigMap]
    namespaces: Mapping[Key, Namespace] = {}
    notes: tuple[str, ...] = ()


class _Loader(yaml.CSafeLoader):
    """A safe loader that keeps timestamps as strings, as in JSON."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the name and shape are PyYAML's
        first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def read(files: Sequence[str]) -> Manifests:
    """Return the content of ``files``; ``-`` is standard input.

    An object without a namespace is in ``default``. Of two with the same name the last one counts.

    Raises:
        SettingsError: A file cannot be read, or an object in it is invalid; the message names both.
    """
    services: dict[Key, Service] = {}
    config_maps: dict[Key, ConfigMap] = {}
    namespaces: dict[Key, Namespace] = {}
    notes: dict[str, None] = {}  # an ordered set
    for file in files:
        documents = _documents(file)  # kept alive, because they are distinguished by id()
        for number, manifest in enumerate(_objects(documents, set()), start=1):
            place, kind = f"{file}, object {number}", manifest.get("kind")
            version = manifest.get("apiVersion") or VERSION
            if version != VERSION:
                if kind == "Service":
                    notes[f"{file}: a Service of {version} is skipped; only {VERSION} is read"] = None
            elif kind == "Service":
                service = _convert(manifest, Service, place)
                services[service.key] = service
            elif kind == "ConfigMap":
                found = _convert(manifest, ConfigMap, place)
                config_maps[found.key] = found
            elif kind == "Namespace":
                namespace = _convert(manifest, Namespace, place, inside="")
                namespaces[namespace.key] = namespace
    return Manifests(tuple(services.values()), config_maps, namespaces, tuple(notes))


def without_services(files: Sequence[str]) -> str:
    """Return the message for ``files`` without a Service."""
    names = ", ".join("standard input" if file == STDIN else file for file in files)
    verb = "holds" if len(files) == 1 else "hold"
    return f"{names} {verb} no Service; give what `kubectl get services -A -o yaml` prints"


def _documents(file: str) -> list[object]:
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text("utf-8")
        if mark := _too_deep(text):
            raise SettingsError(f"{file}{_place(mark)}: it is nested more than {MANIFEST_DEPTH_LIMIT} deep")
        return list(yaml.load_all(text, Loader=_Loader))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}; name a file of manifests, or - for standard input") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: this is not UTF-8 text") from error
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: `0b_` looks like a number but is not
        place = _place(getattr(error, "problem_mark", None))
        raise SettingsError(f"{file}{place}: this is not valid YAML") from error


def _too_deep(text: str) -> object:
    """Return where ``text`` is nested too deeply, from the parser's events only."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            depth += int(isinstance(event, yaml.CollectionStartEvent)) - int(isinstance(event, yaml.CollectionEndEvent))
            if depth > MANIFEST_DEPTH_LIMIT:
                return event.start_mark
    except yaml.YAMLError:
        deep = up_to_depth(text, MANIFEST_DEPTH_LIMIT)
        return _too_deep(deep) if len(deep) < len(text) else None
    return None


def _place(mark: object) -> str:
    line, column = getattr(mark, "line", None), getattr(mark, "column", None)  # libyaml's mark has a class of its own
    return "" if line is None or column is None else f":{line + 1}:{column + 1}"


def _objects(
    documents: Iterable[object], opened: set[int], implied: Mapping[str, object] = _NOTHING
) -> Iterator[dict[str, object]]:
    """Return the objects in ``documents``, including those in lists; an aliased object only once.

    Args:
        documents: The parsed YAML documents.
        opened: The ids of documents already visited.
        implied: Fields that the enclosing list implies for each.
    """
    for document in documents:
        if id(document) in opened or not isinstance(document, dict):
            continue
        named = cast("dict[str, object]", document)
        opened.add(id(named))
        manifest = {**implied, **named}
        items = manifest.get("items")
        if isinstance(items, list):
            yield from _objects(cast("list[object]", items), opened, _implied(manifest))
        else:
            yield manifest


def _implied(manifest: dict[str, object]) -> Mapping[str, object]:
    """Return the fields that a list implies for its items: items of a ServiceList from the API have no kind."""
    kind = manifest.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List") or kind == "List":
        return _NOTHING
    return {"kind": kind.removesuffix("List"), "apiVersion": manifest.get("apiVersion")}


def _convert(manifest: dict[str, object], kind: type[T], place: str, inside: str = "default") -> T:
    metadata = manifest.get("metadata")
    named: dict[str, Any] = {"namespace": inside, **metadata} if isinstance(metadata, dict) else {}
    try:
        found = msgspec.convert({**manifest, "metadata": named}, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{place}: {error}") from error
    if not found.metadata.name:
        raise SettingsError(f"{place}: this {kind.__name__} has no name; give it a `metadata.name`")
    return found
