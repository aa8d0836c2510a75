"""The HolmesGPT dialect: one document that HolmesGPT 0.45 loads as its file of custom toolsets.

A single instance of a type is written flat in its toolset, two or more as ``instances:``. Types without a toolset in
HolmesGPT, such as Jaeger and custom types, get separate toolsets of ``type: http``: GET only, host and path pinned. How
a type is published is data: see ``backends.mapping``. The document contains no text from a Service: names consist of
what Kubernetes allows in names, all else is fixed.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from toolset.core.backends.catalog import TYPES
from toolset.core.backends.mapping import TOOLSETS, Types, mapping_of
from toolset.core.candidate import Candidate
from toolset.core.dialects.configured_toolsets import configured_instances, joined
from toolset.core.dialects.documents import Credentials, from_struct
from toolset.core.dialects.schema import CONFIGS, AuthConfig, BaseToolset, Block, HttpEndpoint, HttpToolsetConfig
from toolset.core.dialects.toolset_names import (
    http_names,
    instance_names,
    plain_http_name,
    possible_http_names,
    possible_instance_names,
    tool_name,
)
from toolset.core.dialects.toolset_patches import CONFIG, is_disablement
from toolset.core.json_values import Document, Json, leaves, merged_map
from toolset.model import Key

DOCUMENT_KEY: Final = "custom_toolset.yaml"
TOOLSETS_KEY: Final = "toolsets"
_HTTP_FRAME_BYTES: Final = 256
"""The name of a toolset over HTTP, and the keys that only hold others."""
_ENABLED: Final = BaseToolset()
_BASE_TOOLSETS: Final = ("kubernetes/core", "kubernetes/logs")


def base_toolsets() -> dict[str, BaseToolset]:
    """Return the default toolsets, for settings without base toolsets."""
    return {name: BaseToolset() for name in _BASE_TOOLSETS}


class Options(msgspec.Struct, frozen=True):
    """The settings of this dialect.

    Attributes:
        base: Toolsets that are always in the document, by name.
        credentials: By ``namespace/name`` of a Service, the variables of the reader that hold its credentials.
        taken: Names of further configured toolsets; no discovered tool gets such a name.
        types: How each type is published.
    """

    base: Mapping[str, BaseToolset] = msgspec.field(default_factory=base_toolsets)
    credentials: Mapping[str, Credentials] = {}
    taken: frozenset[str] = frozenset()
    types: Types = TYPES

    def toolsets(self, tool: Candidate) -> tuple[str, ...]:
        """Return the toolsets of HolmesGPT that read ``tool``; empty if it is read over HTTP."""
        return mapping_of(self.types, tool.type).toolsets

    @property
    def names(self) -> frozenset[str]:
        """The names of all configured toolsets."""
        return self.taken.union(self.base)


def document(tools: Sequence[Candidate], options: Options, more: Mapping[Key, Document] | None = None) -> Document:
    """Return the document, as plain values.

    Args:
        tools: In the order of ``inventory.instances``.
        options: The settings of this dialect.
        more: The admin's merge patches of the configs of tools.
    """
    toolsets: dict[str, Json] = {
        name: {"enabled": base.enabled, **from_struct(base)} for name, base in options.base.items()
    }
    for name, group in _by_toolset(tools, options).items():
        base = options.base.get(name, _ENABLED)
        if base.enabled:
            instructions = TOOLSETS[name].instructions or msgspec.UNSET
            block = from_struct(Block(enabled=True, llm_instructions=instructions))
            configs = {each: _config(name, tool, options, more) for each, tool in instance_names(group).items()}
            toolsets[name] = {**block, CONFIG: joined(base, configs)}
    for name, tool in http_names(_over_http(tools, options), options.names).items():
        toolsets[name] = _http_toolset(tool, options, more)
    return {TOOLSETS_KEY: {name: toolsets[name] for name in sorted(toolsets)}}


def name_conflicts(tools: Sequence[Candidate], options: Options) -> dict[Key, str]:
    """Return which tools would have the name of a configured toolset, and that name.

    Args:
        tools: In the order of ``inventory.instances``.
        options: What the settings say.
    """
    taken = {tool_name(name): name for name in options.names}
    plain = {tool.key: tool_name(plain_http_name(tool)) for tool in _over_http(tools, options)}
    found = {key: f"toolset {taken[name]}" for key, name in plain.items() if name in taken}
    for tool in tools:
        for toolset in options.toolsets(tool):
            names = {str(each.get("name")) for each in configured_instances(options.base.get(toolset, _ENABLED))}
            if names & possible_instance_names(tool):
                found[tool.key] = f"an instance of {toolset}"
    return found


def exclusions(tools: Sequence[Candidate], options: Options) -> dict[Key, str]:
    """Return which tools cannot be published next to a toolset whose tools have the same names, and that toolset.

    A configured toolset stays; of discovered ones the excluding one stays, because the settings request it.
    """
    found: dict[Key, str] = {}
    configured = {name for name in options.names if options.base.get(name, _ENABLED).enabled}
    present: set[str] = set()
    for tool in tools:
        names = options.toolsets(tool)
        rivals = [rival for name in names for rival in TOOLSETS[name].excludes if rival in configured]
        if rivals:
            found[tool.key] = rivals[0]
        else:
            present.update(names)
    excluded = {rival: name for name in present for rival in TOOLSETS[name].excludes}
    for tool in tools:
        for name in options.toolsets(tool):
            if name in excluded:
                found[tool.key] = excluded[name]
    return found


def disablements(tools: Sequence[Candidate], options: Options, patches: Mapping[str, Json]) -> dict[str, Json]:
    """Return those of the admin's ``patches`` that disable a toolset, for equally named toolsets too.

    If two tools would have the same name, their order decides which one gets it, and that may change. So a patch that
    disables a name applies to both.
    """
    found: dict[str, Json] = {}
    for name, tool in http_names(_over_http(tools, options), options.names).items():
        meant = [patches[each] for each in possible_http_names(tool) if each in patches]
        if name not in patches and any(is_disablement(patch) for patch in meant):
            found[name] = None if None in meant else {"enabled": False}
    return found


def _by_toolset(tools: Sequence[Candidate], options: Options) -> dict[str, list[Candidate]]:
    """Return the tools that each toolset reads, in order; a toolset may read several types."""
    found: dict[str, list[Candidate]] = {}
    for tool in tools:
        for name in options.toolsets(tool):
            found.setdefault(name, []).append(tool)
    return found


def _over_http(tools: Sequence[Candidate], options: Options) -> list[Candidate]:
    return [tool for tool in tools if not options.toolsets(tool)]


def _config(name: str, tool: Candidate, options: Options, more: Mapping[Key, Document] | None) -> Document:
    """Return the config with which the toolset ``name`` reads ``tool``."""
    toolset, kind, own = TOOLSETS[name], CONFIGS[name], mapping_of(options.types, tool.type).config
    known = options.credentials.get(str(tool.key), Credentials())
    fields: dict[str, object] = {toolset.url_key: tool.url, **toolset.config, **own, **_login(known, kind)}
    if "verify_ssl" in kind.__struct_fields__ and tool.unverified and tool.scheme == "https":
        fields["verify_ssl"] = False
    return _laid_over(from_struct(msgspec.convert(fields, kind)), tool, more)


def _login(known: Credentials, kind: type[msgspec.Struct]) -> dict[str, object]:
    """Return the references to credentials for a config of ``kind``, in the fields that it has."""
    fields = kind.__struct_fields__
    named = {name: _variable(value) for name, value in from_struct(known).items() if isinstance(value, str)}
    login: dict[str, object] = {name: value for name, value in named.items() if name in fields}
    if known.bearer_token and "bearer_token" not in fields and "additional_headers" in fields:
        login["additional_headers"] = {"Authorization": f"Bearer {_variable(known.bearer_token)}"}
    return login


def _verify(tool: Candidate) -> bool | msgspec.UnsetType:
    return False if tool.unverified and tool.scheme == "https" else msgspec.UNSET


def _http_toolset(tool: Candidate, options: Options, more: Mapping[Key, Document] | None) -> Document:
    api = mapping_of(options.types, tool.type).http
    parts = urlsplit(tool.url)
    endpoint = HttpEndpoint(
        hosts=(f"{parts.scheme}://{parts.netloc}",),
        paths=(f"{parts.path}{api.paths}",),
        methods=("GET",),
        auth=_auth(options.credentials.get(str(tool.key), Credentials())),
        health_check_url=f"{tool.url}{api.health_path or tool.readers_path}",
    )
    block = Block(enabled=True, type="http", description=api.description, llm_instructions=api.instructions)
    config = from_struct(HttpToolsetConfig(endpoints=(endpoint,), verify_ssl=_verify(tool)))
    return {**from_struct(block), CONFIG: _laid_over(config, tool, more)}


def _laid_over(config: Document, tool: Candidate, more: Mapping[Key, Document] | None) -> Document:
    return merged_map(config, (more or {}).get(tool.key, {}))


def _variable(name: str) -> str:
    return f"{{{{ env.{name} }}}}"


def _auth(known: Credentials) -> AuthConfig | msgspec.UnsetType:
    if known.bearer_token:
        return AuthConfig(type="bearer", token=_variable(known.bearer_token))
    if known.username:
        password = _variable(known.password) if known.password else msgspec.UNSET
        return AuthConfig(type="basic", username=_variable(known.username), password=password)
    return msgspec.UNSET


def cost(tool: Candidate, options: Options, more: Mapping[Key, Document] | None) -> int:
    """Return the maximum number of bytes that ``tool`` adds to the document as YAML."""
    total, shared = 0, options.toolsets(tool)
    for path, value in leaves(document([tool], options, more)):
        if shared and CONFIG not in path:
            continue  # written once for all instances
        text = msgspec.json.encode(value).decode()
        hard = sum(not char.isascii() or char in "'\\" for char in text)
        total += len(text) + 12 * hard + len(path[-1]) + 2 * len(path) + 4
    names = len(shared or ("",)) * (len(str(tool.key)) + 24)
    return total + names + (0 if shared else _HTTP_FRAME_BYTES)
