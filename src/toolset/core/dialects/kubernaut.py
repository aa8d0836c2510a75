"""The kubernaut dialect: one small YAML document per tool, for every instance.

The first instance of a type has the key ``TYPE-toolset.yaml``; the keys of further ones contain namespace and name, so
that no instance overwrites another and a single instance keeps the key that readers expect. The part before
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
from toolset.core.dialects.documents import Url, from_struct, to_yaml
from toolset.core.dialects.texts import Policy, value_fault
from toolset.core.faults import Fault, first_fault
from toolset.core.json_values import Document, merged
from toolset.model import Key

SUFFIX: Final = "-toolset.yaml"
KUBERNETES: Final = "kubernetes"
KUBERNETES_KEY: Final = f"{KUBERNETES}{SUFFIX}"
CONFIG: Final = "config"
QUERY_TIMEOUT: Final = "30s"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,199}")
"""The valid names of documents; a longer one would not fit a key of a ConfigMap."""


class ToolConfig(msgspec.Struct, frozen=True, rename={"api_key": "apiKey"}):
    """What its reader needs to know about a tool; it ignores unknown fields."""

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
            name one, never a Service. Used for types whose documents take one.
        more: The admin's merge patches of the ``config`` of tools.
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
        taken: Names that are already used; the first instance of such a type is named like a further one.
    """
    named: dict[str, Candidate] = {}
    for tool in tools:
        further = tool.type in named or tool.type in taken
        named[full_name(tool) if further else tool.type] = tool
    return named


def full_name(tool: Candidate) -> str:
    """Return the name of the document of ``tool`` if it is not the first of its type."""
    return ".".join(filter(None, (tool.type, tool.key.namespace, tool.key.name)))


def text(document: Document) -> str:
    """Return a document as YAML."""
    return _text(msgspec.json.encode(document))


def fault(name: str, document: Document, policy: Policy) -> Fault | None:
    """Return why a document must not be written; the path begins with its name."""
    if NAME.fullmatch(name) is None:
        return Fault((name,), "a name has at most 200 lower-case letters, digits, dots and -")
    kind = _KubernetesDocument if name == KUBERNETES else _ToolDocument
    return first_fault(document, kind, (name,)) or value_fault(document, policy, (name,))


def _config(tool: Candidate, api_keys: Mapping[str, str], types: Types) -> ToolConfig:
    mapping = mapping_of(types, tool.type)
    known = mapping.kubernaut
    if known is None:
        return ToolConfig(tool.url, QUERY_TIMEOUT, health_path=mapping.health_path_of(tool), type=tool.type)
    variable = api_keys.get(str(tool.key)) if known.takes_api_key else None
    if variable:  # readers expect a Grafana with a key without a timeout
        return ToolConfig(tool.url, api_key=f"${{{variable}}}", **known.fields)
    return ToolConfig(tool.url, QUERY_TIMEOUT, **known.fields)


@lru_cache(maxsize=8192)
def _text(content: bytes) -> str:
    """Render each document once: of thousands, a reconcile changes few, and rendering one takes 0.2 ms."""
    return to_yaml(cast("Document", msgspec.json.decode(content)))
