"""The admin's merge patches of toolsets in the HolmesGPT document.

A patch either refines a discovered toolset, or describes a separate one with the address of the backend. Nothing
discovered is merged into the latter, so a credential in it reaches no other backend; a refinement holds none.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from toolset.core.backends.mapping import TOOLSETS
from toolset.core.dialects.bound_values import bound_values
from toolset.core.dialects.schema import HTTP_NAME, block_fault
from toolset.core.dialects.texts import Policy, references
from toolset.core.dialects.toolset_names import tool_name
from toolset.core.faults import Fault
from toolset.core.json_values import Document, Json, Path, leaves, merged, merged_map

CONFIG: Final = "config"
INSTANCES: Final = "instances"
ENDPOINTS: Final = "endpoints"
URL_FIELDS: Final = frozenset(toolset.url_key for toolset in TOOLSETS.values())
_HTTP_NAME_PARTS: Final = 3
"""``type-namespace-service``."""


class Patched(msgspec.Struct, frozen=True):
    """The toolsets after patches.

    Attributes:
        toolsets: By name, sorted.
        dropped: Why patches are not applied; the path begins with the name of the toolset.
    """

    toolsets: Document
    dropped: tuple[Fault, ...]


def patched(found: Document, patches: Mapping[str, Json], policy: Policy) -> Patched:
    """Return the toolsets ``found`` after the admin's merge patches.

    A null removes a toolset and a new name adds one. A patch that only refines a missing toolset waits until it
    appears; one that sets ``enabled`` adds it. Only a patch whose result HolmesGPT would reject is dropped, but what it
    disables stays disabled.

    Args:
        found: The toolsets by name.
        patches: Merge patches by name.
        policy: What the settings allow.
    """
    result: Document = dict(found)
    used = {tool_name(name): name for name in found}
    dropped: list[Fault] = []
    for name, patch in patches.items():
        if patch is None:
            result.pop(name, None)
        elif name in result or _adds(name, patch):
            block = _merged(result.get(name), patch)
            problem = _fault(used, name, block, policy)
            if problem:
                dropped.append(problem)
                block = _disabled(result.get(name)) if is_disablement(patch) else None
            if problem is None or (block and _fault(used, name, block, policy) is None):
                result[name] = block
                used[tool_name(name)] = name
    if not result:  # HolmesGPT rejects an empty file, and enables some toolsets that are not in it
        result = {name: {"enabled": False} for name in found}
        dropped.append(Fault((next(iter(patches)),) if patches else (), "no toolset would be left; it is disabled"))
    return Patched({name: result[name] for name in sorted(result)}, tuple(dropped))


def is_disablement(patch: Json) -> bool:
    """Return whether ``patch`` removes or disables its toolset."""
    return patch is None or (isinstance(patch, dict) and patch.get("enabled") is False)


def own_toolsets(patches: Mapping[str, Json], policy: Policy) -> Iterator[str]:
    """Yield the names of toolsets that ``patches`` describe in full; no discovered one may have such a name."""
    for name, patch in patches.items():
        if isinstance(patch, dict) and _is_whole(name, patch) and block_fault(name, merged({}, patch), policy) is None:
            yield name


def binding_fault(name: str, patch: Document, path: Path = ()) -> Fault | None:
    """Return the first value in a patch of the toolset ``name`` that more than one backend could receive.

    Args:
        name: The toolset.
        patch: The merge patch, or a whole toolset of the settings.
        path: The path of the patch.
    """
    if not _is_shared(name, patch):
        return None
    for inner, leaf in leaves({key: value for key, value in patch.items() if key != CONFIG}, path):
        if isinstance(leaf, str) and references(leaf):
            return _misplaced(name, inner, "a reference to a variable")
    config = patch.get(CONFIG)
    for part, where in _shared_parts(config if isinstance(config, dict) else {}, (*path, CONFIG)):
        for inner, kind in bound_values(part, where):
            return _misplaced(name, inner, kind)
    return None


def names_backend(config: Json) -> bool:
    """Return whether a config has the addresses of its backends; then it is complete, and nothing is merged into it."""
    if not isinstance(config, dict):
        return False
    return isinstance(config.get(INSTANCES), list) or isinstance(config.get(ENDPOINTS), list) or _has_url(config)


def _disabled(block: Json) -> Document:
    return {**(block if isinstance(block, dict) else {}), "enabled": False}


def _fault(used: Mapping[str, str], name: str, block: Json, policy: Policy) -> Fault | None:
    """Return why ``block`` cannot be the toolset ``name`` next to those whose tools have the names ``used``."""
    if used.get(tool_name(name), name) != name:
        return Fault((name,), "the tools of another toolset would have the same names")
    problem = block_fault(name, block, policy)
    return problem and Fault(problem.path[1:], problem.message)


def _merged(before: Json, patch: Json) -> Json:
    if not isinstance(patch, dict):
        return patch
    config = patch.get(CONFIG)
    base = before if isinstance(before, dict) else {}
    if names_backend(config):
        base = {key: value for key, value in base.items() if key != CONFIG}
    block = merged_map(base, patch)
    inner = block.get(CONFIG)
    if isinstance(inner, dict) and isinstance(config, dict) and not names_backend(config) and INSTANCES in inner:
        block[CONFIG] = _refined(inner, config)
    # HolmesGPT mishandles a null or an empty map
    return {name: value for name, value in block.items() if value not in ({}, None)}


def _refined(config: Document, patch: Document) -> Document:
    """Return ``config`` with each instance refined: theirs would override a value next to the instances."""
    instances = config[INSTANCES]
    refined = [merged(each, patch) for each in instances] if isinstance(instances, list) else instances
    return {**config, INSTANCES: refined}


def _adds(name: str, patch: Json) -> bool:
    """Return whether a patch creates a toolset, and does not only refine one that may appear."""
    if not isinstance(patch, dict):
        return False
    if patch.get("enabled") is not True:
        return patch.get("enabled") is False
    return name not in TOOLSETS or names_backend(patch.get(CONFIG))


def _is_whole(name: str, patch: Document) -> bool:
    return isinstance(patch.get("enabled"), bool) and (not _is_shared(name, patch) or names_backend(patch.get(CONFIG)))


def _is_shared(name: str, patch: Document) -> bool:
    """Return whether discovered Services may be in the toolset of a patch."""
    if name in TOOLSETS:
        return True
    is_http_name = HTTP_NAME.fullmatch(name) is not None and name.count("-") >= _HTTP_NAME_PARTS - 1
    return is_http_name and not _describes(patch)


def _describes(patch: Document) -> bool:
    """Return whether a patch describes a toolset; one of ``type: http`` has the addresses of its backends."""
    if not (isinstance(patch.get("type"), str) and isinstance(patch.get("enabled"), bool)):
        return False
    return patch["type"] != "http" or names_backend(patch.get(CONFIG))


def _shared_parts(config: Document, path: Path) -> Iterator[tuple[Json, Path]]:
    """Yield the parts of a config that apply to a backend whose URL is not in them."""
    instances = config.get(INSTANCES)
    if isinstance(instances, list):
        yield {key: value for key, value in config.items() if key != INSTANCES}, path
        for position, instance in enumerate(instances):
            if not (isinstance(instance, dict) and _has_url(instance)):
                yield instance, (*path, INSTANCES, str(position))
    elif not names_backend(config):
        yield config, path


def _has_url(config: Document) -> bool:
    return any(isinstance(config.get(field), str) for field in URL_FIELDS)


def _misplaced(name: str, path: Path, kind: str) -> Fault:
    next_to = "`instances`, next to a URL of its own" if name in TOOLSETS else "`endpoints`, next to hosts of its own"
    place = f"`tools: NAMESPACE/NAME: holmesgpt:` or into {next_to}"
    return Fault(path, f"every backend of {name} would receive {kind}, a tenant's too; put it under {place}")
