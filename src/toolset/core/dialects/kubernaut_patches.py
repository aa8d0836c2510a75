"""The admin's merge patches of documents in the kubernaut dialect.

As for toolsets of HolmesGPT: a patch with a ``url`` describes a separate document, without anything discovered; any
other refines a document, whose tool may change, and holds no credential.
"""

from collections.abc import Iterator, Mapping

import msgspec

from toolset.core.dialects.bound_values import bound_values
from toolset.core.dialects.kubernaut import CONFIG, KUBERNETES, fault
from toolset.core.dialects.texts import Policy
from toolset.core.dialects.toolset_patches import is_disablement
from toolset.core.faults import Fault
from toolset.core.json_values import Document, Json, Path, merged


class Patched(msgspec.Struct, frozen=True):
    """The documents after patches.

    Attributes:
        documents: By name.
        dropped: Why patches are not applied; the path begins with the name of the document.
    """

    documents: Mapping[str, Document]
    dropped: tuple[Fault, ...]


def patched(found: Mapping[str, Document], patches: Mapping[str, Json], policy: Policy) -> Patched:
    """Return the documents ``found`` after the admin's merge patches.

    A null removes a document and a new name adds one. If the name is a type, disabling or removing it applies to every
    instance of that type, because the first one may change. A patch for a missing document that would not result in a
    complete one waits until its tool appears. Only a patch whose result is not valid is dropped.

    Args:
        found: The documents by name.
        patches: Merge patches by name.
        policy: What the settings allow.
    """
    result = dict(found)
    dropped: list[Fault] = []
    for name, patch in patches.items():
        if is_disablement(patch):
            _disable(result, name, remove=patch is None)
    for name, patch in patches.items():
        if patch is not None and (problem := _patch(result, name, patch, policy)):
            dropped.append(problem)
    return Patched(result, tuple(dropped))


def own_documents(patches: Mapping[str, Json], policy: Policy) -> Iterator[str]:
    """Yield the names of documents that ``patches`` describe in full; no discovered tool gets such a name."""
    for name, patch in patches.items():
        if _names_backend(patch) and fault(name, _merged(name, None, patch), policy) is None:
            yield name


def binding_fault(name: str, patch: Document, path: Path = ()) -> Fault | None:
    """Return the first value in a patch of the document ``name`` that another backend could receive too."""
    if name == KUBERNETES or _names_backend(patch):
        return None
    for inner, kind in bound_values(patch, path):
        place = "`tools: NAMESPACE/NAME: kubernaut:`, or next to a `url` of its own"
        return Fault(
            inner, f"whichever tool has this document would receive {kind}, a tenant's too; put it under {place}"
        )
    return None


def _disable(result: dict[str, Document], name: str, *, remove: bool) -> None:
    for each in [each for each, document in result.items() if name in (each, document.get("toolset"))]:
        if remove:
            del result[each]
        else:
            result[each] = {**result[each], "enabled": False}


def _patch(result: dict[str, Document], name: str, patch: Json, policy: Policy) -> Fault | None:
    """Add the patched document ``name`` to ``result``, or return why not."""
    document = _merged(name, result.get(name), patch)
    if name not in result and not (name == KUBERNETES or "url" in _config(document)):
        return None
    problem = fault(name, document, policy)
    if problem is None:
        result[name] = document
    return problem


def _merged(name: str, before: Document | None, patch: Json) -> Document:
    base: Document = before or {"toolset": name, "enabled": True}
    if _names_backend(patch):
        base = {key: value for key, value in base.items() if key != CONFIG}
    document = merged(base, patch)
    return document if isinstance(document, dict) else {}


def _names_backend(patch: Json) -> bool:
    return isinstance(patch, dict) and isinstance(_config(patch).get("url"), str)


def _config(document: Document) -> Document:
    config = document.get(CONFIG)
    return config if isinstance(config, dict) else {}
