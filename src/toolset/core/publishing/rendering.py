"""Render tools in every dialect of the settings, and compute the size of each."""

from collections.abc import Container, Mapping, Sequence
from typing import cast

import msgspec

from toolset.core.candidate import Candidate, Reason, Rejected
from toolset.core.dialects import (
    holmesgpt,
    kubernaut,
    kubernaut_agent,
    kubernaut_patches,
    schema,
    tools_json,
    toolset_patches,
)
from toolset.core.dialects.documents import Url, from_struct, to_yaml
from toolset.core.dialects.texts import Policy
from toolset.core.faults import Fault, first_fault
from toolset.core.json_values import Document
from toolset.core.overrides.overrides import Overrides, PatchedTools
from toolset.core.publishing.options import OutputOptions
from toolset.model import Key


def writable(tools: Sequence[Candidate]) -> tuple[list[Candidate], dict[Key, Rejected]]:
    """Return the tools whose address is allowed in a document; an annotation may name any host."""
    rejected = {
        tool.key: Rejected(Reason.BAD_ANNOTATION, "its address cannot be written safely", tool.type, tool.asked)
        for tool in tools
        if _is_unsafe(tool)
    }
    return [tool for tool in tools if tool.key not in rejected], rejected


def _is_unsafe(tool: Candidate) -> bool:
    name = kubernaut.full_name(tool)
    urls = (tool.url, f"{tool.url}{tool.readers_path}")
    return kubernaut.NAME.fullmatch(name) is None or any(first_fault(url, Url) for url in urls)


class Rendered(msgspec.Struct, frozen=True):
    """The documents of every dialect.

    Attributes:
        documents: By their keys in the ConfigMap.
        dropped: Why patches of the admin are not applied; the path is that of the patch in the overrides.
    """

    documents: dict[str, Document]
    dropped: tuple[Fault, ...]


def documents(
    tools: Sequence[Candidate],
    options: OutputOptions,
    overrides: Overrides,
    applied: PatchedTools,
    taken: Container[str] = frozenset[str](),
) -> Rendered:
    """Return the documents of every dialect, not yet checked.

    Args:
        tools: In the order of publication.
        options: The settings.
        overrides: The admin's patches of documents.
        applied: The tools after overrides.
        taken: Keys of the ConfigMap that this service does not own.
    """
    found: dict[str, Document] = {}
    dropped: list[Fault] = []
    if "kubernaut" in options.dialects:
        own = {*kubernaut_patches.own_documents(overrides.kubernaut, options.policy)}
        names = own | {tool.type for tool in tools if f"{tool.type}{kubernaut.SUFFIX}" in taken}
        plain = kubernaut_documents(tools, options, applied.kubernaut, names)
        named = kubernaut_patches.patched(plain, overrides.kubernaut, options.policy)
        found |= {f"{name}{kubernaut.SUFFIX}": document for name, document in named.documents.items()}
        dropped += [Fault(("kubernaut", *problem.path), problem.message) for problem in named.dropped]
    if "holmesgpt" in options.dialects:
        asked = holmesgpt_options(options, overrides)
        toolsets = cast("Document", holmesgpt.document(tools, asked, applied.holmesgpt)[holmesgpt.TOOLSETS_KEY])
        patches = {**overrides.toolsets, **holmesgpt.disablements(tools, asked, overrides.toolsets)}
        changed = toolset_patches.patched(toolsets, patches, options.policy)
        found[holmesgpt.DOCUMENT_KEY] = {holmesgpt.TOOLSETS_KEY: changed.toolsets}
        dropped += [Fault((holmesgpt.TOOLSETS_KEY, *problem.path), problem.message) for problem in changed.dropped]
    if "json" in options.dialects:
        found[tools_json.DOCUMENT_KEY] = from_struct(tools_json.document(tools, options.types))
    if "kubernaut-agent" in options.dialects:
        found[kubernaut_agent.DOCUMENT_KEY] = from_struct(kubernaut_agent.document(tools, options.types))
    if not found:  # readers must see that it is disabled
        found[kubernaut.KUBERNETES_KEY] = {**kubernaut.documents((), {})[kubernaut.KUBERNETES], "enabled": False}
        dropped.append(Fault(("kubernaut", kubernaut.KUBERNETES), "no document would be left; it is disabled"))
    return Rendered(found, tuple(dropped))


def holmesgpt_options(options: OutputOptions, overrides: Overrides) -> holmesgpt.Options:
    """Return the options of the HolmesGPT dialect under ``overrides``."""
    own = frozenset(toolset_patches.own_toolsets(overrides.toolsets, options.policy))
    return holmesgpt.Options(options.base_toolsets, options.credentials, own, options.types)


def alone_options(options: OutputOptions) -> holmesgpt.Options:
    """Return the options of the HolmesGPT dialect for a document with only discovered tools."""
    return holmesgpt.Options({}, options.credentials, types=options.types)


def kubernaut_documents(
    tools: Sequence[Candidate],
    options: OutputOptions,
    more: Mapping[Key, Document],
    taken: Container[str] = frozenset[str](),
) -> dict[str, Document]:
    """Return the documents of the kubernaut dialect under ``options``; see ``kubernaut.documents``."""
    return kubernaut.documents(tools, options.api_keys, more, taken, options.types)


def fault(found: Mapping[str, Document], policy: Policy) -> Fault | None:
    """Return why one of the documents must not be written; the path begins with the section of the overrides."""
    for key, document in found.items():
        if key == holmesgpt.DOCUMENT_KEY:
            problem = schema.fault(document, policy)
        elif key == tools_json.DOCUMENT_KEY:
            problem = tools_json.fault(document)
        elif key == kubernaut_agent.DOCUMENT_KEY:
            problem = kubernaut_agent.fault(document)
        else:
            name = key.removesuffix(kubernaut.SUFFIX)
            problem = kubernaut.fault(name, document, policy)
            problem = problem and Fault(("kubernaut", *problem.path), problem.message)
        if problem:
            return problem
    return None


def texts(found: Mapping[str, Document]) -> dict[str, str]:
    """Return the documents as they are in the ConfigMap."""
    writers = {
        holmesgpt.DOCUMENT_KEY: to_yaml,
        tools_json.DOCUMENT_KEY: tools_json.text,
        kubernaut_agent.DOCUMENT_KEY: to_yaml,
    }
    return {key: writers.get(key, kubernaut.text)(document) for key, document in found.items()}


def cost(tool: Candidate, options: OutputOptions, applied: PatchedTools) -> int:
    """Return the maximum size of a tool, bytes."""
    taken = 0
    if "kubernaut" in options.dialects:
        key = f"{kubernaut.full_name(tool)}{kubernaut.SUFFIX}"
        document = kubernaut_documents([tool], options, applied.kubernaut)[tool.type]
        taken += len(key) + len(kubernaut.text(document).encode())
    if "holmesgpt" in options.dialects:
        taken += holmesgpt.cost(tool, alone_options(options), applied.holmesgpt)
    if "json" in options.dialects:
        taken += len(tools_json.text(from_struct(tools_json.document([tool], options.types))).encode()) + len(
            tool.key.namespace
        )
    if "kubernaut-agent" in options.dialects:
        taken += len(to_yaml(from_struct(kubernaut_agent.document([tool], options.types))).encode())
    return taken
