"""The schema of ``overrides.yaml``, part by part."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, cast
from urllib.parse import urlsplit

import msgspec

from toolset.core.detection.annotations import RESERVED_TYPES, TypeWord, is_path
from toolset.core.dialects import kubernaut_patches, patch_schema, toolset_patches
from toolset.core.dialects.documents import Url
from toolset.core.dialects.texts import UNSAFE_TOOLSETS, Policy, unsafe_fault, value_fault
from toolset.core.faults import Fault, first_fault, nearest
from toolset.core.json_values import Document, Json, Path

_NAMES: Final = ("suppress", "approve")
_SECTIONS: Final = ("tools", "toolsets", "kubernaut", *_NAMES)
_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SERVICE: Final = re.compile(f"{_LABEL}/{_LABEL}")
_TOOL: Final = re.compile(f"({_LABEL}/)?{_LABEL}")
_EXPECTED: Final = "expected namespace/name of a Service"
_OR_STATIC: Final = f"{_EXPECTED}, or the name of a static backend"


class ToolPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may be overridden of one tool; ``None`` keeps the discovered value.

    Attributes:
        enabled: False hides the tool, as ``suppress`` does.
        type: Another type.
        url: Another URL; an admin may name any host.
        health_path: The path of HolmesGPT's health check of a custom type, below the URL.
        priority: Orders the instances of a type, whatever their namespaces and annotations; higher first.
        holmesgpt: Merged into its config in the HolmesGPT document.
        kubernaut: Merged into its ``config`` in the kubernaut document.
    """

    enabled: bool = True
    type: TypeWord | None = None
    url: Url | None = None
    health_path: str | None = None
    priority: Annotated[int, msgspec.Meta(ge=-999999, le=999999)] | None = None
    holmesgpt: dict[str, object] | None = None
    kubernaut: dict[str, object] | None = None


def fault(document: Json, policy: Policy) -> Fault | None:
    """Return why the content of ``overrides.yaml`` is rejected; ``None`` if it is valid.

    Args:
        document: Its content.
        policy: What the settings allow.
    """
    if document is None:
        return None
    if not isinstance(document, dict):
        return Fault((), f"expected a map of {', '.join(_SECTIONS)}")
    for section, value in document.items():
        if section not in _SECTIONS:
            return Fault((section,), f"unknown name; {nearest(section, _SECTIONS)}")
        check = _names_fault if section in _NAMES else _section_fault
        if value is not None and (problem := check(section, value, policy)):
            return problem
    return None


def _names_fault(section: str, value: Json, _: Policy) -> Fault | None:
    if not isinstance(value, list):
        return Fault((section,), "expected a list of namespace/name")
    known, expected = (_SERVICE, _EXPECTED) if section == "approve" else (_TOOL, _OR_STATIC)
    for position, name in enumerate(value):
        if not isinstance(name, str) or known.fullmatch(name) is None:
            return Fault((section, str(position)), expected)
    return None


def _section_fault(section: str, value: Json, policy: Policy) -> Fault | None:
    if not isinstance(value, dict):
        return Fault((section,), "expected a map")
    check = _tool_fault if section == "tools" else _patch_fault
    found = (check((section, name), patch, policy) for name, patch in value.items() if patch is not None)
    names = (_service_fault(section, name) for name in value)
    return next(filter(None, (*names, *found)), None)


def _service_fault(section: str, name: str) -> Fault | None:
    if section == "tools" and _TOOL.fullmatch(name) is None:
        return Fault((section, name), _OR_STATIC)
    return None


def _patch_fault(path: Path, patch: Json, policy: Policy) -> Fault | None:
    if not isinstance(patch, dict):
        return Fault(path, "expected a map, or null to remove it")
    if path[1] in UNSAFE_TOOLSETS and not policy.unsafe and patch.get("enabled") is not False:
        return Fault(path, "it runs commands; output.allow_unsafe_overrides allows it")
    problem = _value_fault(path, patch, policy)
    return problem or _DOCUMENT_FAULTS[path[0]](path[1], patch, path)


def _value_fault(path: Path, patch: Document, policy: Policy) -> Fault | None:
    return unsafe_fault(patch, policy, path) or value_fault(patch, policy, path, nulls=True)


def _toolset_fault(name: str, patch: Document, path: Path) -> Fault | None:
    return patch_schema.toolset_patch_fault(name, patch, path) or toolset_patches.binding_fault(name, patch, path)


def _document_fault(name: str, patch: Document, path: Path) -> Fault | None:
    return patch_schema.document_patch_fault(name, patch, path) or kubernaut_patches.binding_fault(name, patch, path)


_DOCUMENT_FAULTS: Final[Mapping[str, Callable[[str, Document, Path], Fault | None]]] = {
    "toolsets": _toolset_fault,
    "kubernaut": _document_fault,
}


def _tool_fault(path: Path, patch: Json, policy: Policy) -> Fault | None:
    problem = first_fault(patch, ToolPatch, path)
    if problem or not isinstance(patch, dict):
        return problem
    known = msgspec.convert(patch, ToolPatch)
    if known.type in RESERVED_TYPES:
        return Fault((*path, "type"), f"{known.type} is not a type of a Service")
    if known.health_path is not None and not is_path(known.health_path):
        return Fault((*path, "health_path"), "expected an absolute path of letters, digits and ._~/-")
    if known.url is not None and not _has_usable_port(known.url):
        return Fault((*path, "url"), "its port must be 1 to 65535")
    return _value_fault(path, patch, policy) or _config_fault(known, path)


def _config_fault(patch: ToolPatch, path: Path) -> Fault | None:
    of_holmesgpt, of_kubernaut = (cast("Document", config or {}) for config in (patch.holmesgpt, patch.kubernaut))
    problem = patch_schema.tool_patch_fault(of_holmesgpt, (*path, "holmesgpt"))
    return problem or patch_schema.config_patch_fault(of_kubernaut, (*path, "kubernaut"))


def _has_usable_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False
