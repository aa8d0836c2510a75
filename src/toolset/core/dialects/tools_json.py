"""The json dialect: one list of all tools, in the format of the predecessor of this service."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from toolset.core.backends.catalog import TYPES
from toolset.core.backends.mapping import Types, mapping_of
from toolset.core.candidate import Candidate
from toolset.core.dialects.documents import Url
from toolset.core.faults import Fault, first_fault
from toolset.core.json_values import Document
from toolset.model import Key

DOCUMENT_KEY: Final = "toolset.json"
_HEALTH_PATHS_OF_PRODUCTS: Final[Mapping[str, str]] = {
    "prometheus": "/-/healthy",
    "thanos-query": "/-/healthy",
    "victoria-metrics-single": "/health",
    "m3coordinator": "/health",
}


class JsonTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tool; ``metadata`` holds texts only."""

    name: str
    type: str
    endpoint: Url
    description: str
    namespace: str
    metadata: dict[str, str]


class ToolList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The document."""

    tools: tuple[JsonTool, ...]


def document(tools: Sequence[Candidate], types: Types = TYPES) -> ToolList:
    """Return the document.

    A tool has the name of its Service; if an earlier one has it already, a dot and the namespace are appended. Static
    backends are named first, then trusted tools.

    Args:
        tools: In the order of ``inventory.instances``.
        types: How each type is published.
    """
    first: dict[str, Key] = {}
    for tool in sorted(tools, key=lambda tool: (not tool.trusted, bool(tool.key.namespace))):
        first.setdefault(tool.key.name, tool.key.service)
    return ToolList(
        tuple(
            JsonTool(
                name=_name(tool, first),
                type=tool.type,
                endpoint=tool.url,
                description=mapping_of(types, tool.type).description,
                namespace=tool.key.namespace,
                metadata=_metadata(tool, types),
            )
            for tool in tools
        )
    )


def _name(tool: Candidate, first: Mapping[str, Key]) -> str:
    key = tool.key
    if first[key.name] == key:
        return key.name
    return ".".join(filter(None, (key.name, key.namespace, key.part)))


def _metadata(tool: Candidate, types: Types) -> dict[str, str]:
    service = {"service": tool.key.name, "service_port": str(tool.port)} if tool.key.namespace else {}
    return {**service, "health_path": _health_path(tool, types)}


def _health_path(tool: Candidate, types: Types) -> str:
    """Return the health path of a tool for readers, as in the original format: no proof of identity."""
    of_type = mapping_of(types, tool.type).health_path_of(tool)
    return tool.health_path or _HEALTH_PATHS_OF_PRODUCTS.get(tool.product, of_type)


def text(content: Document) -> str:
    """Return the document as JSON, one line per field, for readable diffs."""
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n"


def fault(content: Document) -> Fault | None:
    """Return why the document must not be written; ``None`` if it is valid."""
    problem = first_fault(content, ToolList)
    if problem is None:
        names = [tool.name for tool in msgspec.convert(content, ToolList).tools]
        return Fault(("tools",), "two tools have the same name") if len(set(names)) != len(names) else None
    return problem
