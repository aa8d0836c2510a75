"""The kubernaut-agent dialect: the part of the configuration of Kubernaut's agent that names backends.

The agent reads one file, which also holds the settings of its language model, so this is merged into that file. It
takes one URL for each of its tools (``ToolsConfig`` in its ``internal/kubernautagent/config``).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from toolset.core.backends.catalog import TYPES
from toolset.core.backends.mapping import Types, mapping_of
from toolset.core.candidate import Candidate
from toolset.core.dialects.documents import Url
from toolset.core.faults import Fault, first_fault
from toolset.core.json_values import Document

DOCUMENT_KEY: Final = "kubernaut-agent.yaml"


class AgentTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The backend of one of the agent's tools."""

    url: Url


class Integrations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tools by their names in the agent's configuration."""

    tools: Mapping[str, AgentTool]


class Fragment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The document."""

    integrations: Integrations


def document(tools: Sequence[Candidate], types: Types = TYPES) -> Fragment:
    """Return the document: the first tool of each type that the agent supports.

    Args:
        tools: In the order of ``inventory.instances``.
        types: How each type is published.
    """
    found: dict[str, AgentTool] = {}
    for tool in tools:
        if name := mapping_of(types, tool.type).agent_tool:
            found.setdefault(name, AgentTool(tool.url))
    return Fragment(Integrations(dict(sorted(found.items()))))


def fault(content: Document) -> Fault | None:
    """Return why the document must not be written; ``None`` if it is valid."""
    return first_fault(content, Fragment)
