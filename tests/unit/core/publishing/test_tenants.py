"""What tenants cannot do to others by the Services they make, whatever an admin has configured."""

import json
from collections.abc import Iterator
from typing import Final, cast
from urllib.parse import urlsplit

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from toolset.core.candidate import Candidate
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.dialects.documents import Credentials
from toolset.core.dialects.schema import BaseToolset
from toolset.core.dialects.texts import references
from toolset.core.inventory import instances
from toolset.core.json_values import Document, Json
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import Publication, publish
from toolset.errors import SettingsError
from toolset.model import Key, Service, ServiceMeta, ServicePort, ServiceSpec

VICTIMS: Final = {
    Key("monitoring", "prometheus"): "prometheus",
    Key("monitoring", "grafana"): "grafana",
    Key("logging", "elasticsearch"): "elasticsearch",
    Key("a-b", "c"): "note",
}
PORTS: Final = {"prometheus": 9090, "grafana": 3000, "elasticsearch": 9200}
ADMIN_URL: Final = "http://admin.example:1"
OTHER_URL: Final = "http://other.example:2"
NOWHERE: Final = "nowhere"
"""The label of a variable that must stand in no document."""


def variable(label: str) -> str:
    """Return the name of a variable that is given for ``label``: a Service, or a URL that an admin wrote."""
    return f"V_{label.encode().hex()}"


def reference(label: str) -> str:
    return f"{{{{ env.{variable(label)} }}}}"


def service(key: Key, kind: str, annotations: dict[str, str], external: bool = False) -> Service:
    annotations = {"toolset-type": kind, **annotations}
    return Service(
        ServiceMeta(
            name=key.name,
            namespace=key.namespace,
            labels={"app": kind},
            annotations={f"kubernaut.io/{name}": text for name, text in annotations.items()},
        ),
        ServiceSpec(
            type="ExternalName" if external else "ClusterIP",
            cluster_ip="10.0.0.1",
            selector={"app": key.name},
            ports=(ServicePort(port=PORTS.get(kind, 8080), name="web"),),
        ),
    )


TYPES: Final = ["prometheus", "grafana", "jaeger", "elasticsearch", "note", "note-a", "status"]
attacks = st.fixed_dictionaries(
    {"toolset": st.just("enabled")},
    optional={
        "toolset-priority": st.sampled_from(["999999", "-5"]),
        "toolset-endpoint": st.sampled_from(["http://evil.example:81/x", ADMIN_URL]),
        "toolset-path": st.sampled_from(["/x"]),
    },
)
attackers = st.builds(
    service,
    st.sampled_from([Key(space, name) for space in ("tenant", "a", "b", "a-b") for name in ("x", "b-c", "prometheus")]),
    st.sampled_from(TYPES),
    attacks,
    st.booleans(),
)
victims = st.sampled_from(sorted(VICTIMS)).flatmap(
    lambda key: (
        st.builds(service, st.just(key), st.just(VICTIMS[key]), attacks, st.booleans())
        | st.just(service(key, VICTIMS[key], {"toolset": "enabled"}))
    )
)


def configs(url_field: str) -> st.SearchStrategy[Json]:
    """Draw configs of a toolset with several instances: safe ones, and those that must be refused."""
    header: Document = {"additional_headers": {"Authorization": reference(NOWHERE)}}
    own: Document = {url_field: ADMIN_URL, "additional_headers": {"Authorization": reference(ADMIN_URL)}}
    more: list[Json] = [
        header,
        own,
        {"api_key": reference(NOWHERE)},
        {"verify_ssl": False},
        {"timeout_seconds": 9},
        {"instances": [{"name": "one", **own}]},
        {"instances": [{"name": "one", **own}, {"name": "two", url_field: OTHER_URL}]},
        {"instances": [{"name": "one", **own}], "additional_headers": {"X": reference(NOWHERE)}},
        {"instances": [{"name": "one", **header}], url_field: ADMIN_URL},
        {"instances": None, **header},
        None,
    ]
    return st.sampled_from(more)


ENDPOINT: Final[Document] = {"hosts": [ADMIN_URL], "auth": {"type": "bearer", "token": reference(ADMIN_URL)}}
http_configs: st.SearchStrategy[Json] = st.sampled_from(
    cast(
        "list[Json]",
        [
            {"default_headers": {"X": reference(NOWHERE)}},
            {"endpoints": [ENDPOINT], "default_headers": {"X": reference(ADMIN_URL)}},
            {"endpoints": [ENDPOINT, {"hosts": [OTHER_URL]}]},
            {"timeout_seconds": 3},
            None,
        ],
    )
)
document_configs: st.SearchStrategy[Json] = st.sampled_from(
    cast(
        "list[Json]",
        [
            {"url": ADMIN_URL, "apiKey": f"${{{variable(ADMIN_URL)}}}"},
            {"url": OTHER_URL},
            {"apiKey": f"${{{variable(NOWHERE)}}}"},
            {"headers": {"Authorization": reference(NOWHERE)}},
            {"timeout": "60s"},
        ],
    )
)


def patches(config: st.SearchStrategy[Json], more: dict[str, Json]) -> st.SearchStrategy[Json]:
    optional = {name: st.just(value) for name, value in more.items()}
    return st.none() | st.fixed_dictionaries({"config": config}, optional={"enabled": st.booleans(), **optional})


HTTP: Final[dict[str, Json]] = {"type": "http", "description": "of the admin"}
OWN_CONFIG: Final[Document] = {"endpoints": [ENDPOINT]}
WITH_A_SLASH: Final[Json] = {"enabled": True, **HTTP, "config": OWN_CONFIG}
tool_patches: st.SearchStrategy[Json] = st.sampled_from(
    cast(
        "list[Json]",
        [
            {"holmesgpt": {"additional_headers": {"X": reference("SELF")}}},
            {"holmesgpt": {"api_key": reference("SELF")}, "kubernaut": {"apiKey": f"${{{variable('SELF')}}}"}},
            {"url": ADMIN_URL},
            {"url": OTHER_URL, "holmesgpt": {"additional_headers": {"X": reference("SELF")}}},
            {"holmesgpt": {"default_headers": {"X": reference("SELF")}}},
            {"type": "jaeger", "holmesgpt": {"verify_ssl": False}},
            None,
        ],
    )
)
NO_JSON: Final[dict[str, st.SearchStrategy[Json]]] = {}
patched_toolsets: st.SearchStrategy[Json] = st.fixed_dictionaries(
    NO_JSON,
    optional={
        "prometheus/metrics": patches(configs("prometheus_url"), {}),
        "grafana/dashboards": patches(configs("api_url"), {}),
        "elasticsearch/data": patches(configs("api_url"), {}),
        "note-a-b-c": patches(http_configs, HTTP),
        "status-tenant-x": patches(http_configs, HTTP),
        "status/tenant-x": st.just(WITH_A_SLASH),
    },
)
patched_documents: st.SearchStrategy[Json] = st.dictionaries(
    st.sampled_from(["prometheus", "grafana", "note", "status", "prometheus.tenant.x"]),
    patches(document_configs, {}),
    max_size=2,
)
patched_tools: st.SearchStrategy[Json] = st.dictionaries(
    st.sampled_from([str(key) for key in VICTIMS]), tool_patches, max_size=2
)
SECTIONS: Final[dict[str, st.SearchStrategy[Json]]] = {
    "tools": patched_tools,
    "toolsets": patched_toolsets,
    "kubernaut": patched_documents,
}
overrides: st.SearchStrategy[Document] = st.fixed_dictionaries(NO_JSON, optional=SECTIONS)
base_toolsets: st.SearchStrategy[dict[str, BaseToolset]] = st.fixed_dictionaries(
    {"kubernetes/core": st.just(BaseToolset())},
    optional={
        "prometheus/metrics": configs("prometheus_url").map(
            lambda config: BaseToolset(config=config if isinstance(config, dict) else {})
        ),
        "grafana/dashboards": st.just(
            BaseToolset(config={"api_url": ADMIN_URL, "api_key": reference(ADMIN_URL), "timeout_seconds": 3})
        ),
        "elasticsearch/data": st.just(BaseToolset(enabled=False)),
        "note/a/b/c": st.just(BaseToolset()),
    },
)
NO_CREDENTIALS: Final[dict[str, st.SearchStrategy[Credentials]]] = {}
credentials: st.SearchStrategy[dict[str, Credentials]] = st.fixed_dictionaries(
    NO_CREDENTIALS,
    optional={str(key): st.just(Credentials(variable(str(key)), variable(str(key)))) for key in VICTIMS},
)
VARIABLES: Final = tuple(variable(label) for label in (ADMIN_URL, OTHER_URL, NOWHERE, *map(str, VICTIMS)))


def written(overrides: Document) -> str:
    """Return overrides as text; a tool's patch refers to the variable of that tool."""
    tools = tools_of(overrides)
    own = {key: json.loads(json.dumps(patch).replace(variable("SELF"), variable(key))) for key, patch in tools.items()}
    return json.dumps({**overrides, "tools": own})


def tools_of(overrides: Document) -> dict[str, dict[str, str] | None]:
    return cast("dict[str, dict[str, str] | None]", overrides.get("tools", {}))


def netloc(url: str) -> str:
    return urlsplit(url).netloc


def given_for(label: str, overrides: Document) -> set[str]:
    """Return where the variable of ``label`` may be sent: host and port."""
    if label == NOWHERE:
        return set()
    if "://" in label:
        return {netloc(label)}
    namespace, _, name = label.partition("/")
    patch = tools_of(overrides).get(label) or {}
    host = f"{name}.{namespace}.svc.cluster.local"
    return {f"{host}:{port}" for port in (*PORTS.values(), 8080)} | (
        {netloc(patch["url"])} if "url" in patch else set()
    )


def sent(node: Json, scope: frozenset[str] = frozenset()) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each variable in a document, and the hosts and ports that would receive it; none of a shared position."""
    if isinstance(node, str):
        yield from ((name, scope) for name in references(node))
    elif isinstance(node, list):
        for each in node:
            yield from sent(each, scope)
    elif isinstance(node, dict):
        own = scope_of(node)
        for name, value in node.items():
            yield from sent(value, frozenset() if name in {"instances", "endpoints"} else own or scope)


def scope_of(node: Document) -> frozenset[str]:
    endpoints = cast("list[dict[str, list[str]]]", node.get("endpoints") or [])
    hosts = cast("list[str]", node.get("hosts") or [])
    found = [host for endpoint in endpoints for host in endpoint["hosts"]] + hosts
    found += [cast("str", node[name]) for name in ("prometheus_url", "api_url", "url") if name in node]
    return frozenset() if "instances" in node else frozenset(map(netloc, found))


def accepted(output: OutputOptions) -> bool:
    try:
        publish([], output)
    except SettingsError:
        return False
    return True


def documents(published: Publication) -> Iterator[Json]:
    for text in published.data.values():
        yield cast("Json", yaml.safe_load(text))


@pytest.mark.timeout(60)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)
@given(
    st.lists(attackers | victims, max_size=6, unique_by=lambda each: each.key),
    overrides,
    base_toolsets,
    credentials,
    st.booleans(),
)
def test_a_credential_stands_only_next_to_the_url_that_it_was_given_for(
    services: list[Service],
    overrides: Document,
    base: dict[str, BaseToolset],
    credentials: dict[str, Credentials],
    anywhere: bool,
) -> None:
    options = DetectionOptions(BUILT_IN, external_endpoints=anywhere, external_names=("*/*",))
    verdicts = [detect(each, options) for each in services]
    tools = instances(verdict for verdict in verdicts if isinstance(verdict, Candidate))
    output = OutputOptions(("kubernaut", "holmesgpt", "json"), credentials, VARIABLES, base)
    assume(accepted(output))  # other settings are refused at the start, whatever Services there are
    published = publish(tools, output, text=written(overrides))
    for document in documents(published):
        for name, scope in sent(document):
            label = bytes.fromhex(name.removeprefix("V_")).decode()
            assert scope, f"{label} in a shared position"
            assert scope <= given_for(label, overrides), (label, scope)
