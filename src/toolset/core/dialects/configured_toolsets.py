"""Toolsets in the settings that are merged with discovered Services: neither replaces the other.

The settings of one backend stay in its own instance, so no discovered instance inherits them.
"""

from collections.abc import Mapping
from typing import Final

from toolset.core.dialects.documents import from_struct
from toolset.core.dialects.schema import BaseToolset
from toolset.core.dialects.toolset_patches import CONFIG, INSTANCES, binding_fault, names_backend
from toolset.core.faults import Fault
from toolset.core.json_values import Document, Json, merged_map

NAME: Final = "configured"
"""Name of the only instance in the settings if discovered ones are added; their names have a ``-`` or a dot."""


def configured_fault(toolsets: Mapping[str, BaseToolset]) -> Fault | None:
    """Return the first value in the settings that discovered instances could receive too."""
    found = (binding_fault(name, from_struct(toolset), ("toolsets", name)) for name, toolset in toolsets.items())
    return next(filter(None, found), None)


def joined(toolset: BaseToolset, discovered: Mapping[str, Document]) -> Json:
    """Return the config with which a toolset reads its own instances, then the ``discovered`` ones, by name.

    A single discovered instance is written flat, which every version of HolmesGPT reads.
    """
    config = _config(toolset)
    if names_backend(config):
        shared = {name: value for name, value in config.items() if name != INSTANCES} if INSTANCES in config else {}
        further: list[Json] = [{"name": name, **each} for name, each in discovered.items()]
        return {**shared, INSTANCES: [*configured_instances(toolset), *further]}
    refined = {name: merged_map(each, config) for name, each in discovered.items()}
    if len(refined) == 1:
        return next(iter(refined.values()))
    return {INSTANCES: [{"name": name, **each} for name, each in refined.items()]}


def configured_instances(toolset: BaseToolset) -> list[Document]:
    """Return the instances of a toolset in the settings."""
    config = _config(toolset)
    instances = config.get(INSTANCES)
    if isinstance(instances, list):
        return [each for each in instances if isinstance(each, dict)]
    return [{"name": NAME, **config}] if names_backend(config) else []


def _config(toolset: BaseToolset) -> Document:
    config = from_struct(toolset).get(CONFIG)
    return config if isinstance(config, dict) else {}
