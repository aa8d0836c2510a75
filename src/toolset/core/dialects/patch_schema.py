"""Check merge patches alone: the fields that they set, before there is anything to merge them into."""

from collections.abc import Iterable
from typing import Final, Union

import msgspec
from msgspec import UNSET, UnsetType

from toolset.core.dialects.kubernaut import CONFIG, KUBERNETES, ToolConfig
from toolset.core.dialects.schema import CONFIGS, Block, HttpToolsetConfig, unknown_fault
from toolset.core.dialects.toolset_patches import INSTANCES
from toolset.core.faults import Fault, first_fault
from toolset.core.json_values import Document, Path, merged_map


def toolset_patch_fault(name: str, patch: Document, path: Path) -> Fault | None:
    """Return why a merge patch can never fit the toolset ``name``."""
    config = patch.get(CONFIG)
    fields = {key: value for key, value in patch.items() if key != CONFIG}
    problem = first_fault(merged_map({}, fields), _BLOCK, path)
    if problem or name not in CONFIGS or not isinstance(config, dict):
        return problem
    kind = CONFIGS[name]
    own = {key: value for key, value in config.items() if key != INSTANCES}
    where = (*path, CONFIG)
    unknown = unknown_fault(own, kind.__struct_encode_fields__, where)
    return unknown or first_fault(merged_map({}, own), _PARTS[kind], where)


def tool_patch_fault(extras: Document, path: Path) -> Fault | None:
    """Return why a merge patch of a tool's config can never fit any type of tool."""
    fields = tuple(field for kind in _PARTS for field in kind.__struct_encode_fields__)
    if problem := unknown_fault(extras, fields, path):
        return problem
    for name, value in extras.items():
        kinds = [part for kind, part in _PARTS.items() if name in kind.__struct_encode_fields__]
        problems = [first_fault(merged_map({}, {name: value}), kind, path) for kind in kinds]
        if all(problems):
            return problems[0]
    return None


def document_patch_fault(name: str, patch: Document, path: Path) -> Fault | None:
    """Return why a merge patch can never fit the kubernaut document ``name``."""
    config = patch.get(CONFIG)
    if name == KUBERNETES or not isinstance(config, dict):
        return None
    return config_patch_fault(config, (*path, CONFIG))


def config_patch_fault(config: Document, path: Path) -> Fault | None:
    """Return why a merge patch can never fit the config of a kubernaut document."""
    return first_fault(merged_map({}, config), _TOOL_CONFIG, path)


def _part_of(kind: type[msgspec.Struct], leave_out: Iterable[str] = ()) -> type[msgspec.Struct]:
    """Return a type like ``kind`` in which no field is required."""
    fields = [
        (field.encode_name, Union[field.type, UnsetType], UNSET)  # noqa: UP007 - made at run time
        for field in msgspec.structs.fields(kind)
        if field.name not in leave_out
    ]
    strict = kind.__struct_config__.forbid_unknown_fields
    return msgspec.defstruct(kind.__name__, fields, frozen=True, kw_only=True, forbid_unknown_fields=strict)


_KINDS: Final[tuple[type[msgspec.Struct], ...]] = (*CONFIGS.values(), HttpToolsetConfig)
_PARTS: Final = {kind: _part_of(kind) for kind in _KINDS}
_BLOCK: Final = _part_of(Block, leave_out={CONFIG})
_TOOL_CONFIG: Final = _part_of(ToolConfig)
