"""The schema of HolmesGPT 0.45: its blocks and configs as types, and the check of a document before it is written.

The names are HolmesGPT's. Undeclared fields are rejected here, because they would either fail the toolset or be
silently ignored: a wrong name for a URL makes it search for a Prometheus on its own.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from toolset.core.dialects.bound_values import has_credentials
from toolset.core.dialects.documents import Url
from toolset.core.dialects.texts import Policy, value_fault
from toolset.core.dialects.toolset_names import tool_name
from toolset.core.faults import Fault, first_fault
from toolset.core.json_values import Document, Json, Path

HTTP_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,54}[a-z0-9])?")
NAME: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_RUNS: Final = frozenset({"prerequisites", "tools", "transformers"})


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of the document; unset fields are not written."""


class AuthConfig(_Strict, frozen=True):
    """How a ``type: http`` toolset authenticates."""

    type: Literal["none", "basic", "bearer", "header", "digest"] | UnsetType = UNSET
    username: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    token: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    value: str | UnsetType = UNSET


class HttpEndpoint(_Strict, frozen=True):
    """The requests that a ``type: http`` toolset may send; only ``GET`` and ``HEAD`` are allowed here."""

    hosts: tuple[Url, ...]
    paths: tuple[str, ...] | UnsetType = UNSET
    methods: tuple[Literal["GET", "HEAD"], ...] | UnsetType = UNSET
    auth: AuthConfig | UnsetType = UNSET
    health_check_url: Url | UnsetType = UNSET


class HttpToolsetConfig(_Strict, frozen=True):
    """The config of a ``type: http`` toolset."""

    endpoints: tuple[HttpEndpoint, ...]
    verify_ssl: bool | UnsetType = UNSET
    timeout_seconds: int | UnsetType = UNSET
    default_headers: dict[str, str] | UnsetType = UNSET
    extra_headers: dict[str, str] | UnsetType = UNSET
    client_cert_path: str | UnsetType = UNSET
    client_key_path: str | UnsetType = UNSET
    block_internal_ips: bool | UnsetType = UNSET


class PrometheusConfig(_Strict, frozen=True):
    """The config of ``prometheus/metrics``."""

    prometheus_url: Url
    additional_headers: dict[str, str] | UnsetType = UNSET
    verify_ssl: bool | UnsetType = UNSET
    additional_labels: dict[str, str] | UnsetType = UNSET
    discover_metrics_from_last_hours: int | UnsetType = UNSET
    query_timeout_seconds_default: int | UnsetType = UNSET
    query_timeout_seconds_hard_max: int | UnsetType = UNSET
    metadata_timeout_seconds_default: int | UnsetType = UNSET
    metadata_timeout_seconds_hard_max: int | UnsetType = UNSET
    tool_calls_return_data: bool | UnsetType = UNSET
    rules_cache_duration_seconds: int | UnsetType = UNSET
    query_response_size_limit_pct: int | UnsetType = UNSET


class MultiTenantConfig(PrometheusConfig, frozen=True):
    """The config of ``prometheus/multi-tenant-metrics``."""

    tenant_label: str | UnsetType = UNSET
    tenant_header: str | UnsetType = UNSET


class _GrafanaConnection(_Strict, frozen=True):
    """The common fields of the toolsets for Grafana's products."""

    api_url: Url
    api_key: str | UnsetType = UNSET
    username: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    additional_headers: dict[str, str] | UnsetType = UNSET
    grafana_datasource_uid: str | UnsetType = UNSET
    external_url: Url | UnsetType = UNSET
    verify_ssl: bool | UnsetType = UNSET
    timeout_seconds: int | UnsetType = UNSET
    max_retries: int | UnsetType = UNSET


class GrafanaConfig(_GrafanaConnection, frozen=True):
    """The config of ``grafana/dashboards``."""

    enable_rendering: bool | UnsetType = UNSET
    default_render_width: int | UnsetType = UNSET
    default_render_height: int | UnsetType = UNSET


class LokiConfig(_GrafanaConnection, frozen=True):
    """The config of ``grafana/loki``."""


class TempoConfig(_GrafanaConnection, frozen=True):
    """The config of ``grafana/tempo``."""

    labels: dict[str, str] | UnsetType = UNSET


class ElasticsearchConfig(_Strict, frozen=True):
    """The config of ``elasticsearch/data`` and ``elasticsearch/cluster``."""

    api_url: Url
    api_key: str | UnsetType = UNSET
    username: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    client_cert: str | UnsetType = UNSET
    client_key: str | UnsetType = UNSET
    verify_ssl: bool | UnsetType = UNSET
    timeout_seconds: int | UnsetType = UNSET


class VictoriaLogsConfig(_Strict, frozen=True):
    """The config of ``victorialogs``."""

    api_url: Url
    username: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    bearer_token: str | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    verify_ssl: bool | UnsetType = UNSET
    timeout_seconds: int | UnsetType = UNSET
    external_url: Url | UnsetType = UNSET


class BaseToolset(_Strict, frozen=True):
    """A toolset of HolmesGPT that needs no Service.

    Attributes:
        enabled: Whether it is enabled.
        config: Its config; see HolmesGPT's documentation.
    """

    enabled: bool = True
    config: dict[str, Any] | UnsetType = UNSET  # any JSON: a decoder with a hook asks it for objects


class Block(_Strict, frozen=True):
    """One toolset without its config. The fields after ``config`` are allowed only if the settings permit them."""

    enabled: bool
    type: Literal["http", "database", "mongodb", "mcp"] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    llm_instructions: str | UnsetType = UNSET
    docs_url: str | UnsetType = UNSET
    icon_url: str | UnsetType = UNSET
    installation_instructions: str | UnsetType = UNSET
    approval_required_tools: list[str] | UnsetType = UNSET
    expose_remotely: bool | UnsetType = UNSET
    status_refresh_interval_seconds: int | UnsetType = UNSET
    config: dict[str, object] | UnsetType = UNSET
    prerequisites: list[object] | UnsetType = UNSET
    tools: list[object] | UnsetType = UNSET
    transformers: list[object] | UnsetType = UNSET


CONFIGS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "prometheus/metrics": PrometheusConfig,
    "prometheus/multi-tenant-metrics": MultiTenantConfig,
    "grafana/dashboards": GrafanaConfig,
    "grafana/loki": LokiConfig,
    "grafana/tempo": TempoConfig,
    "elasticsearch/data": ElasticsearchConfig,
    "elasticsearch/cluster": ElasticsearchConfig,
    "victorialogs": VictoriaLogsConfig,
}
"""Configs written flat or as ``instances``; HolmesGPT itself validates other built-in toolsets."""


def fault(document: Document, policy: Policy) -> Fault | None:
    """Return why HolmesGPT would reject ``document``, or must not get it; ``None`` if it is valid."""
    toolsets = document.get("toolsets")
    if not isinstance(toolsets, dict) or not toolsets or set(document) != {"toolsets"}:
        return Fault(("toolsets",), "no toolset would be left; HolmesGPT needs at least one")
    tool_names: set[str] = set()
    for name, block in toolsets.items():
        problem = block_fault(name, block, policy)
        if problem:
            return problem
        if tool_name(name) in tool_names:
            return Fault(("toolsets", name), "the tools of another toolset would have the same names")
        tool_names.add(tool_name(name))
    return None


def unknown_fault(config: Document, known: Sequence[str], path: Path) -> Fault | None:
    """Return the first field of a config that HolmesGPT would ignore, with the nearest known name."""
    for name in config:
        if name not in known:
            near = [each for each in known if name in each] or difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(sorted(set(known)))}"
            return Fault((*path, name), f"HolmesGPT would pass it over; {hint}")
    return None


def block_fault(name: str, block: Json, policy: Policy) -> Fault | None:
    """Return why HolmesGPT would reject the toolset ``name``, or must not get it; ``None`` if it is valid."""
    path = ("toolsets", name)
    if NAME.fullmatch(name) is None:
        return Fault(path, "a name has letters, digits, - and _, in parts divided by /; a dot breaks the whole file")
    problem = _dot_fault(block, path) or first_fault(block, Block, path) or value_fault(block, policy, path)
    if problem or not isinstance(block, dict):
        return problem
    if not policy.unsafe and (block.get("type") == "mcp" or _RUNS & block.keys()):
        return Fault(path, "it could run commands; output.allow_unsafe_overrides allows it")
    config = block.get("config")
    if block.get("type") == "http":
        if HTTP_NAME.fullmatch(name) is None:
            return Fault(path, "a toolset of type http has a name of at most 56 lower-case letters, digits and -")
        return first_fault(config, HttpToolsetConfig, (*path, "config"))
    kind = CONFIGS.get(name)
    if kind is None or block["enabled"] is False:
        return None
    if not isinstance(config, dict):
        return None if name == "prometheus/metrics" and config is None else Fault(path, "it needs a config")
    return _instances_fault(config, kind, (*path, "config"))


def _instances_fault(config: Document, kind: type[msgspec.Struct], path: Path) -> Fault | None:
    instances = config.get("instances")
    if instances is None:
        return _config_fault(config, kind, path)
    shared = {name: value for name, value in config.items() if name != "instances"}
    if leaked := sorted(name for name, value in shared.items() if has_credentials({name: value})):
        return Fault((*path, leaked[0]), "every instance would get it, a tenant's too; put it into one instance")
    if not isinstance(instances, list) or not instances:
        return Fault((*path, "instances"), "expected a list of one or more")
    seen: set[Json] = set()
    for position, instance in enumerate(instances):
        place = (*path, "instances", str(position))
        if not isinstance(instance, dict) or not isinstance(instance.get("name"), str):
            return Fault(place, "expected a map with a name")
        if instance["name"] in seen:
            return Fault((*place, "name"), "another instance has the same name")
        seen.add(cast("str", instance["name"]))
        own = {name: value for name, value in instance.items() if name != "name"}
        if problem := _config_fault({**shared, **own}, kind, place):
            return problem
    return None


def _config_fault(config: Document, kind: type[msgspec.Struct], path: Path) -> Fault | None:
    return unknown_fault(config, kind.__struct_encode_fields__, path) or first_fault(config, kind, path)


def _dot_fault(node: Json, path: Path) -> Fault | None:
    if isinstance(node, list):
        inner = [(str(position), value) for position, value in enumerate(node)]
    elif isinstance(node, dict):
        inner = list(node.items())
    else:
        return None
    for name, value in inner:
        if isinstance(node, dict) and ("." in name or not name):
            return Fault((*path, name), "a key with a dot makes HolmesGPT refuse the whole file")
        if problem := _dot_fault(value, (*path, name)):
            return problem
    return None
