"""The kubernaut dialect: one small YAML document for each tool, every instance kept.

The first instance of a type has the key ``TYPE-toolset.yaml``; each further one carries its namespace and name, so
that no instance overwrites another and a single instance keeps the key that readers know. What stands before
``-toolset.yaml`` is the document's name.
"""

import re
from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from typing import Final, cast

import msgspec
from msgspec import UNSET, UnsetType

from toolset.core.backends.catalog import TYPES
from toolset.core.backends.mapping import Types, mapping_of
from toolset.core.candidate import Candidate
from toolset.core.dialects.documents import Fault, Url, convert_fault, from_struct, to_yaml
from toolset.core.dialects.texts import Policy, value_fault
from toolset.core.json_values import Document, merged
from toolset.model import Key

SUFFIX: Final = "-toolset.yaml"
KUBERNETES: Final = "kubernetes"
KUBERNETES_KEY: Final = f"{KUBERNETES}{SUFFIX}"
CONFIG: Final = "config"
QUERY_TIMEOUT: Final = "30s"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,199}")
"""What a document may be called; more would not fit a key of a ConfigMap."""


class ToolConfig(msgspec.Struct, frozen=True, rename={"api_key": "apiKey"}):
    """What its reader needs to know of a tool; it ignores what it does not know."""

    url: Url
    timeout: str | UnsetType = UNSET
    api_key: str | UnsetType = UNSET
    query_endpoint: str | UnsetType = UNSET
    health_endpoint: str | UnsetType = UNSET
    health_path: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


class _Kubernetes(msgspec.Struct, frozen=True):
    incluster: bool = True
    namespaces: tuple[str, ...] = ("*",)


class _ToolDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    toolset: str
    enabled: bool
    config: ToolConfig


class _KubernetesDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    toolset: str = KUBERNETES
    enabled: bool = True
    config: _Kubernetes = _Kubernetes()


def documents(
    tools: Sequence[Candidate],
    api_keys: Mapping[str, str],
    more: Mapping[Key, Document] | None = None,
    taken: Container[str] = frozenset[str](),
    types: Types = TYPES,
) -> dict[str, Document]:
    """Return the documents by their names, as plain values.

    Args:
        tools: In the order of ``inventory.instances``.
        api_keys: For ``namespace/name``, the environment variable of the reader that holds its API key; only settings
            name one, never a Service. It counts for types whose documents take one.
        more: What an admin lays over the ``config`` of a tool, as a merge patch.
        taken: As in :func:`names`.
        types: How each type is published.
    """
    found = {KUBERNETES: from_struct(_KubernetesDocument())}
    for name, tool in names(tools, taken).items():
        document = _ToolDocument(tool.type, enabled=True, config=_config(tool, api_keys, types))
        found[name] = from_struct(document)
        patch = (more or {}).get(tool.key)
        if patch:
            found[name][CONFIG] = merged(found[name][CONFIG], dict(patch))
    return found


def names(tools: Sequence[Candidate], taken: Container[str] = frozenset[str]()) -> dict[str, Candidate]:
    """Return the tools by the names of their documents.

    Args:
        tools: In the order of ``inventory.instances``.
        taken: Names that somebody else uses; the first instance of such a type is named as a further one.
    """
    named: dict[str, Candidate] = {}
    for tool in tools:
        further = tool.type in named or tool.type in taken
        named[full_name(tool) if further else tool.type] = tool
    return named


def full_name(tool: Candidate) -> str:
    """Return the name of the document of ``tool`` where it is not the first of its type."""
    return ".".join(filter(None, (tool.type, tool.key.namespace, tool.key.name)))


def text(document: Document) -> str:
    """Return a document as YAML."""
    return _text(msgspec.json.encode(document))


def fault(name: str, document: Document, policy: Policy) -> Fault | None:
    """Return why a document must not be written; the path begins with its name."""
    if NAME.fullmatch(name) is None:
        return Fault((name,), "a name has at most 200 lower-case letters, digits, dots and -")
    kind = _KubernetesDocument if name == KUBERNETES else _ToolDocument
    return convert_fault(document, kind, (name,)) or value_fault(document, policy, (name,))


def _config(tool: Candidate, api_keys: Mapping[str, str], types: Types) -> ToolConfig:
    mapping = mapping_of(types, tool.type)
    known = mapping.kubernaut
    if known is None:
        return ToolConfig(tool.url, QUERY_TIMEOUT, health_path=mapping.health_path_of(tool), type=tool.type)
    variable = api_keys.get(str(tool.key)) if known.takes_api_key else None
    if variable:  # readers know a Grafana with a key without a timeout
        return ToolConfig(tool.url, api_key=f"${{{variable}}}", **known.fields)
    return ToolConfig(tool.url, QUERY_TIMEOUT, **known.fields)


@lru_cache(maxsize=8192)
def _text(content: bytes) -> str:
    """Write a document once: of thousands, a pass changes few, and writing one takes a fifth of a millisecond."""
    return to_yaml(cast("Document", msgspec.json.decode(content)))
