"""What we publish, loaded by the real HolmesGPT as its server does, against backends that answer."""

import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import pytest

import controlplane
from consumer.answers import ANSWERS, Backend, Server
from consumer.holmes import DEFAULTS, Call, Holmes, Loaded
from integration.backends import missing, prometheus, victoria_metrics
from support.build import candidate
from support.lacking import lack
from toolset.core.backends.backend_type import types_of
from toolset.core.backends.catalog import BACKEND_TYPES, DETECTORS, TYPES
from toolset.core.candidate import Candidate
from toolset.core.detection.detector import Detector, Publish
from toolset.core.dialects.documents import Credentials
from toolset.core.dialects.holmesgpt import DOCUMENT_KEY
from toolset.core.dialects.schema import BaseToolset
from toolset.core.publishing.options import OutputOptions, publish_options
from toolset.core.publishing.publication import publish
from toolset.core.publishing.static_backends import StaticBackend, static_candidates, static_credentials

pytestmark = [pytest.mark.consumer, pytest.mark.timeout(120)]

BUILT_IN: Final = ("prometheus", "grafana", "elasticsearch", "jaeger")
CHECKED: Final = {"prometheus/metrics": "prometheus", "grafana/loki": "loki", "grafana/tempo": "tempo"}
"""By toolset of which HolmesGPT checks each instance, what the hosts of its backends begin with here."""
TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
KUBECTL: Final = (["kubectl", "version", "--client"], ["/bin/sh", "-c", "kubectl version --client"])


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What is discovered, what the admin says, and what HolmesGPT should make of it.

    Attributes:
        tools: What is discovered.
        options: The settings.
        overrides: The content of ``overrides.yaml``.
        expected: The toolsets that are on, in addition to the base.
        disabled: The toolsets that stand in the file and are off.
        backends: Backends that are not as their tool would have it, by host and port.
        variables: Environment variables of HolmesGPT.
        published: How many tools are in the file; all of them when ``None``.
        dead: Hosts and ports behind which something takes a connection and never answers.
    """

    tools: Sequence[Candidate]
    options: OutputOptions = OutputOptions()
    overrides: str | None = None
    expected: frozenset[str]
    disabled: frozenset[str] = frozenset()
    backends: Mapping[str, Backend] = {}
    variables: Mapping[str, str] = {}
    published: int | None = None
    dead: frozenset[str] = frozenset()


class HttpEndpoint(msgspec.Struct, frozen=True):
    """What a toolset over HTTP may ask."""

    hosts: list[str]
    paths: list[str]
    health_check_url: str = ""


class Instance(msgspec.Struct, frozen=True):
    """Where one instance is."""

    name: str = ""
    prometheus_url: str = ""
    api_url: str = ""


class Config(Instance, frozen=True):
    """The config of a toolset: one instance, or several, or what it may ask over HTTP."""

    instances: list[Instance] = []
    endpoints: list[HttpEndpoint] = []


class Block(msgspec.Struct, frozen=True):
    """What the file says of a toolset."""

    enabled: bool
    type: str = ""
    config: Config | None = None
    llm_instructions: str = ""


class File(msgspec.Struct, frozen=True):
    """The file."""

    toolsets: dict[str, Block]


def read(text: str) -> dict[str, Block]:
    return msgspec.yaml.decode(text, type=File).toolsets


def several(kind: str, count: int, check: str = "") -> list[Candidate]:
    return [candidate(f"{kind}-{number}", tool_type=kind, check=check) for number in range(count)]


def over_tls(tool: Candidate) -> Candidate:
    return msgspec.structs.replace(tool, scheme="https")


ONE_OF_EACH: Final = [candidate(kind, tool_type=kind) for kind in BUILT_IN]
TOOLSETS: Final = frozenset({"prometheus/metrics", "grafana/dashboards", "elasticsearch/data", "elasticsearch/cluster"})
JAEGER: Final = frozenset({"jaeger-monitoring-jaeger"})
BEARER: Final = Credentials(bearer_token="READER_TOKEN")
LONG: Final = "a-name-as-long-as-kubernetes-allows-for-a-service-or-a-namespac"

SCENARIOS: Final[dict[str, Scenario]] = {
    "nothing": Scenario(tools=[], expected=frozenset()),
    "one of each type": Scenario(tools=ONE_OF_EACH, expected=TOOLSETS | JAEGER),
    "several of each type": Scenario(
        tools=[tool for kind in BUILT_IN for tool in several(kind, 3)],
        expected=TOOLSETS | {f"jaeger-monitoring-jaeger-{number}" for number in range(3)},
    ),
    "over TLS": Scenario(
        tools=[
            over_tls(tool) for tool in [*ONE_OF_EACH, *several("prometheus", 2), *several("note", 1, check="/ready")]
        ],
        expected=TOOLSETS | JAEGER | {"note-monitoring-note-0"},
    ),
    "base paths": Scenario(
        tools=[
            candidate("mimir", path="/prometheus"),
            candidate("vmselect", path="/select/0/prometheus"),
            candidate("grafana", tool_type="grafana", path="/grafana"),
            candidate("elasticsearch", tool_type="elasticsearch", path="/es"),
            candidate("tracing", tool_type="jaeger", path="/jaeger"),
            candidate("note", tool_type="note", path="/logs", check="/ready"),
        ],
        expected=TOOLSETS | {"jaeger-monitoring-tracing", "note-monitoring-note"},
    ),
    "custom types": Scenario(
        tools=[*several("note", 2, check="/ready"), *several("tasks", 1, check="/ready")],
        expected=frozenset({"note-monitoring-note-0", "note-monitoring-note-1", "tasks-monitoring-tasks-0"}),
    ),
    "names that would meet": Scenario(
        tools=[
            candidate("c", namespace="a-b"),
            candidate("b-c", namespace="a"),
            candidate("c", namespace="a-b", tool_type="note", check="/ready"),
            candidate("b-c", namespace="a", tool_type="note", check="/ready"),
            candidate(LONG, namespace=LONG, tool_type="note", check="/ready"),
        ],
        expected=frozenset(
            {"prometheus/metrics", "note-a-b-c", "note-a-b-c-291edeb0", f"note-{LONG}"[:47].rstrip("-") + "-1978e582"}
        ),
    ),
    "an override adds": Scenario(
        tools=[candidate()],
        overrides="""
toolsets:
  grafana/loki: {enabled: true, config: {api_url: http://nowhere.monitoring.svc.cluster.local:9}}
  status-page:
    type: http
    enabled: true
    description: Status of the shop
    config: {endpoints: [{hosts: [http://status.monitoring.svc.cluster.local:80], paths: [/ready], methods: [GET]}]}
""",
        expected=frozenset({"prometheus/metrics", "status-page"}),
        disabled=frozenset(),
        backends={"status.monitoring.svc.cluster.local:80": Backend("custom")},
    ),
    "an override disables and removes": Scenario(
        tools=ONE_OF_EACH,
        overrides="""
toolsets:
  grafana/dashboards: {enabled: false}
  elasticsearch/cluster: null
  bash: {enabled: false}
""",
        expected=(TOOLSETS | JAEGER) - {"grafana/dashboards", "elasticsearch/cluster"},
        disabled=frozenset({"grafana/dashboards", "bash"}),
    ),
    "an override suppresses": Scenario(
        tools=ONE_OF_EACH,
        overrides="suppress: [monitoring/grafana]\ntools: {monitoring/jaeger: {enabled: false}}",
        expected=TOOLSETS - {"grafana/dashboards"},
        published=2,
    ),
    "an override changes tools": Scenario(
        tools=[*several("prometheus", 2), *several("grafana", 1)],
        overrides="""
tools:
  monitoring/prometheus-0: {url: http://moved.example:81/base, holmesgpt: {query_timeout_seconds_default: 5}}
  monitoring/grafana-0: {holmesgpt: {timeout_seconds: 3}}
toolsets:
  prometheus/metrics: {config: {verify_ssl: false}}
""",
        expected=frozenset({"prometheus/metrics", "grafana/dashboards"}),
        backends={"moved.example:81": Backend("prometheus", "/base")},
    ),
    "an override that is not valid": Scenario(
        tools=ONE_OF_EACH,
        overrides="toolsets: {grafana/dashboards: {config: {url: http://x}}}",
        expected=TOOLSETS | JAEGER,
    ),
    "credentials": Scenario(
        tools=[*several("grafana", 2), *several("prometheus", 2), *several("elasticsearch", 2), *ONE_OF_EACH[3:]],
        options=OutputOptions(
            credentials={
                "monitoring/grafana-0": Credentials(api_key="READER_TOKEN"),
                "monitoring/prometheus-1": BEARER,
                "monitoring/elasticsearch-1": Credentials(username="READER_NAME", password="READER_PASSWORD"),
                "monitoring/jaeger": BEARER,
            }
        ),
        expected=TOOLSETS | JAEGER,
        variables={"READER_TOKEN": "t0ken", "READER_NAME": "reader", "READER_PASSWORD": "pass"},
        backends={
            "grafana-0.monitoring.svc.cluster.local:3000": Backend("grafana", authorization="Bearer t0ken"),
            "prometheus-1.monitoring.svc.cluster.local:9090": Backend("prometheus", authorization="Bearer t0ken"),
            "elasticsearch-1.monitoring.svc.cluster.local:9200": Backend(
                "elasticsearch", authorization="Basic cmVhZGVyOnBhc3M="
            ),
            "jaeger.monitoring.svc.cluster.local:16686": Backend("jaeger", authorization="Bearer t0ken"),
        },
    ),
    "one of several hangs": Scenario(
        tools=[*several("grafana", 2), *several("prometheus", 2)],
        expected=frozenset({"grafana/dashboards", "prometheus/metrics"}),
        dead=frozenset(
            {"grafana-0.monitoring.svc.cluster.local:3000", "prometheus-0.monitoring.svc.cluster.local:9090"}
        ),
    ),
    "more than fit": Scenario(
        tools=[*several("prometheus", 60), *several("grafana", 1), *several("note", 40, check="/ready")],
        options=OutputOptions(limit_kib=16),
        expected=frozenset({"prometheus/metrics", "grafana/dashboards"}),
        published=-1,
    ),
    "more than a model takes": Scenario(
        tools=[*several("note", 90, check="/ready"), candidate()],
        options=OutputOptions(max_http_tools=5),
        expected=frozenset({"prometheus/metrics"}) | {f"note-monitoring-note-{n}" for n in (0, 1, 10, 11, 12)},
        published=6,
    ),
    "as many as the default settings allow": Scenario(
        tools=[*several("note", 90, check="/ready"), *(tool for kind in BUILT_IN[:3] for tool in several(kind, 2))],
        options=OutputOptions(max_per_type=OutputOptions().max_per_type, max_http_tools=OutputOptions().max_http_tools),
        expected=TOOLSETS,
        published=-1,
    ),
    "another base": Scenario(
        tools=[candidate()],
        options=OutputOptions(
            base_toolsets={
                "bash": BaseToolset(enabled=False),
                "internet": BaseToolset(config={"allowed_hosts": ["a.b"]}),
            }
        ),
        expected=frozenset({"prometheus/metrics"}),
        disabled=frozenset({"bash"}),
    ),
}

NEW: Final = ("loki", "tempo", "victorialogs")
NEW_TOOLSETS: Final = frozenset({"grafana/loki", "grafana/tempo", "victorialogs"})
ONE_OF_EACH_NEW: Final = [candidate(kind, tool_type=kind) for kind in NEW]
OWN: Final = tuple(
    Detector(product=kind, type=kind, phrases=(kind,), publish=Publish(toolset))
    for kind, toolset in {
        "prom-a": "prometheus/metrics",
        "logs-a": "grafana/loki",
        "traces-a": "grafana/tempo",
        "vlogs-a": "victorialogs",
    }.items()
)
TENANCY: Final = Detector(
    product="mimir",
    type="tenants",
    phrases=("mimir",),
    publish=Publish(
        "prometheus/multi-tenant-metrics", config={"tenant_header": "X-Scope-OrgID", "tenant_label": "team"}
    ),
)
OUTSIDE: Final = tuple(
    StaticBackend(
        type=kind, name=f"outside-{kind}", url=f"http://{kind}.monitoring.svc.cluster.local:8080", credentials=known
    )
    for kind, known in {"prometheus": BEARER, "loki": Credentials(), "jaeger": Credentials()}.items()
)


def own_types(*detectors: Detector) -> OutputOptions:
    """Return settings with detectors that publish their types through toolsets of the list."""
    return publish_options(OutputOptions(), types_of(BACKEND_TYPES, detectors))


SCENARIOS.update(
    {
        "one of each new type": Scenario(tools=ONE_OF_EACH_NEW, expected=NEW_TOOLSETS),
        "several of each new type": Scenario(
            tools=[tool for kind in NEW for tool in several(kind, 3)], expected=NEW_TOOLSETS
        ),
        "every type": Scenario(tools=[*ONE_OF_EACH, *ONE_OF_EACH_NEW], expected=TOOLSETS | JAEGER | NEW_TOOLSETS),
        "new types over TLS": Scenario(tools=[over_tls(tool) for tool in ONE_OF_EACH_NEW], expected=NEW_TOOLSETS),
        "new types below base paths": Scenario(
            tools=[
                candidate("lokistack", tool_type="loki", path="/api/logs/v1/application"),
                candidate("tempo", tool_type="tempo", path="/api/traces/v1/dev/tempo"),
                candidate("vlogs", tool_type="victorialogs", path="/logs"),
                candidate("vtselect", tool_type="jaeger", path="/select/jaeger"),
            ],
            expected=NEW_TOOLSETS | {"jaeger-monitoring-vtselect"},
        ),
        "credentials of new types": Scenario(
            tools=[tool for kind in NEW for tool in several(kind, 2)],
            options=OutputOptions(
                credentials={
                    "monitoring/loki-0": BEARER,
                    "monitoring/tempo-1": Credentials(username="READER_NAME", password="READER_PASSWORD"),
                    "monitoring/victorialogs-0": BEARER,
                }
            ),
            variables={"READER_TOKEN": "t0ken", "READER_NAME": "reader", "READER_PASSWORD": "pass"},
            expected=NEW_TOOLSETS,
            backends={
                "loki-0.monitoring.svc.cluster.local:8080": Backend("loki", authorization="Bearer t0ken"),
                "tempo-1.monitoring.svc.cluster.local:8080": Backend("tempo", authorization="Basic cmVhZGVyOnBhc3M="),
                "victorialogs-0.monitoring.svc.cluster.local:8080": Backend(
                    "victorialogs", authorization="Bearer t0ken"
                ),
            },
        ),
        "types of the settings": Scenario(
            tools=[candidate(own.type, tool_type=own.type) for own in OWN],
            options=own_types(*OWN),
            expected=NEW_TOOLSETS | {"prometheus/metrics"},
            backends={
                f"{own}.monitoring.svc.cluster.local:8080": Backend(kind)
                for own, kind in {
                    "prom-a": "prometheus",
                    "logs-a": "loki",
                    "traces-a": "tempo",
                    "vlogs-a": "victorialogs",
                }.items()
            },
        ),
        "types of the settings next to built-in ones": Scenario(
            tools=[candidate("prom-a", tool_type="prom-a"), *ONE_OF_EACH[:1], *several("loki", 2)],
            options=own_types(*OWN),
            expected=frozenset({"prometheus/metrics", "grafana/loki"}),
            backends={"prom-a.monitoring.svc.cluster.local:8080": Backend("prometheus")},
        ),
        "a Prometheus with tenants": Scenario(
            tools=[candidate("mimir", tool_type="tenants", path="/prometheus"), candidate()],
            options=own_types(TENANCY),
            expected=frozenset({"prometheus/multi-tenant-metrics"}),
            backends={"mimir.monitoring.svc.cluster.local:8080": Backend("prometheus", "/prometheus")},
            published=1,
        ),
        "types that settings enable": Scenario(
            tools=[candidate(kind, tool_type=kind) for kind in ("alertmanager", "zipkin")],
            expected=frozenset({"alertmanager-monitoring-alertmanager", "zipkin-monitoring-zipkin"}),
        ),
        "static backends": Scenario(
            tools=[*static_candidates(OUTSIDE, DETECTORS).values(), candidate("outside-prometheus", namespace="a")],
            options=publish_options(OutputOptions(), TYPES, static_credentials(OUTSIDE)),
            variables={"READER_TOKEN": "t0ken"},
            expected=frozenset({"prometheus/metrics", "grafana/loki", "jaeger-outside-jaeger"}),
            backends={
                "prometheus.monitoring.svc.cluster.local:8080": Backend("prometheus", authorization="Bearer t0ken")
            },
        ),
        "one of several new ones hangs": Scenario(
            tools=[*several("loki", 2), *several("tempo", 2)],
            expected=frozenset({"grafana/loki", "grafana/tempo"}),
            dead=frozenset({"loki-0.monitoring.svc.cluster.local:8080", "tempo-1.monitoring.svc.cluster.local:8080"}),
        ),
        "overrides refine new types": Scenario(
            tools=[*several("loki", 2), *ONE_OF_EACH_NEW[1:]],
            overrides="""
tools:
  monitoring/loki-0: {holmesgpt: {additional_headers: {X-Scope-OrgID: team-a}}}
  monitoring/victorialogs: {enabled: false}
toolsets:
  grafana/tempo: {config: {timeout_seconds: 3}}
""",
            expected=frozenset({"grafana/loki", "grafana/tempo"}),
            published=3,
        ),
    }
)


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """The address of something that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_holmesgpt_takes_what_is_published_and_reaches_every_instance(
    name: str, holmes: Holmes, plain: Server, secure: Server, silent: str
) -> None:
    scenario = SCENARIOS[name]
    published = publish(scenario.tools, scenario.options, text=scenario.overrides)
    text = published.data[DOCUMENT_KEY]
    backends = {f"{tool.host}:{tool.port}": backend_of(tool) for tool in scenario.tools} | dict(scenario.backends)
    tls = {f"{tool.host}:{tool.port}" for tool in scenario.tools if tool.scheme == "https"}
    addresses = {each: secure.address if each in tls else plain.address for each in backends}
    addresses |= dict.fromkeys(scenario.dead, silent)
    plain.put(backends)
    secure.put(backends)
    calls = calls_of(text, scenario.dead, failing(scenario))

    loaded = holmes.load(text, connect_to=addresses, calls=list(calls.values()), variables=scenario.variables)

    assert_taken(loaded, text, scenario)
    asked = {request.authority for server in (plain, secure) for request in server.requests()}
    for (authority, call), answer in zip(calls.items(), loaded.calls, strict=True):
        assert answer.status in {"success", "no_data"}, (call, answer)
        assert authority.partition("#")[0] in asked, f"{call} reached something else"
    assert {request.method for server in (plain, secure) for request in server.requests()} <= {"GET", "POST"}
    assert loaded.seconds < 20, "HolmesGPT gives a toolset 20 s"


def assert_taken(loaded: Loaded, text: str, scenario: Scenario) -> None:
    """Check every toolset of the file, and that there is no other."""
    blocks = read(text)
    assert loaded.error is None
    on = {toolset.name: toolset for toolset in loaded.toolsets if toolset.enabled}
    said_on = {name for name, block in blocks.items() if block.enabled}
    assert set(on) == said_on | (DEFAULTS - set(blocks)), "a toolset came out of nowhere"
    if scenario.published != -1:
        assert said_on - set(scenario.options.base_toolsets) - failing(scenario) == scenario.expected
    assert {name for name, block in blocks.items() if not block.enabled} == scenario.disabled
    for name in said_on - failing(scenario):
        assert on[name].status == "enabled", (name, on[name].error)
        assert on[name].undeclared == []
        sick = [instance.name for instance in on[name].instances if not instance.healthy]
        kind = CHECKED.get(name, "-")
        assert len(sick) == len([each for each in scenario.dead if each.startswith(kind)])
    names = [tool for toolset in on.values() for tool in toolset.tools]
    assert len(set(names)) == len(names) <= 128, "a language model takes 128 tools, each name once"
    assert all(TOOL_NAME.fullmatch(tool) for tool in names)
    assert [command for command in loaded.commands if command not in KUBECTL] == []


def failing(scenario: Scenario) -> frozenset[str]:
    """Toolsets that are taken, but whose backend is none of ours."""
    return frozenset({"grafana/loki"}) if "nowhere" in (scenario.overrides or "") else frozenset()


def backend_of(tool: Candidate) -> Backend:
    return Backend(tool.type if tool.type in ANSWERS else "custom", tool.path)


def calls_of(text: str, dead: frozenset[str], failing: frozenset[str] = frozenset()) -> dict[str, Call]:
    """Return one read-only call for each instance in the file, by its host and port and, after #, its toolset."""
    calls: dict[str, Call] = {}
    for name, block in read(text).items():
        config = block.config
        if not block.enabled or config is None or name in failing | {"internet"}:
            continue
        for endpoint in config.endpoints:
            url = endpoint.health_check_url or f"{endpoint.hosts[0]}{endpoint.paths[0]}"
            calls[f"{urlsplit(url).netloc}#{name}"] = (name, f"{name.replace('-', '_')}_request", {"url": url})
        for instance in config.instances or ([config] if name in READS else []):
            authority = urlsplit(instance.prometheus_url or instance.api_url).netloc
            if authority not in dead:
                tool, parameters = READS[name]
                chosen = {"instance": instance.name} if instance.name else {}
                calls[f"{authority}#{name}"] = (name, tool, parameters | chosen)
    return calls


READS: Final[Mapping[str, tuple[str, dict[str, str]]]] = {
    "prometheus/metrics": ("execute_prometheus_instant_query", {"query": "up", "description": "what is up"}),
    "grafana/dashboards": ("grafana_search_dashboards", {"query": "shop"}),
    "elasticsearch/data": ("elasticsearch_list_indices", {"index": "*"}),
    "elasticsearch/cluster": ("elasticsearch_cluster_health", {}),
    "grafana/loki": ("grafana_loki_query", {"query": '{app="shop"}'}),
    "grafana/tempo": ("tempo_fetch_traces_comparative_sample", {"base_query": "duration > 1ms"}),
    "victorialogs": ("victorialogs_query", {"query": "*"}),
    "prometheus/multi-tenant-metrics": (
        "execute_prometheus_instant_query",
        {"query": "up", "description": "what is up", "tenant": "shop"},
    ),
}


def test_a_real_prometheus_and_a_real_victoria_metrics_answer_a_query(holmes: Holmes, tmp_path: Path) -> None:
    if absent := missing():
        lack(f"there is no {' and no '.join(absent)}; `make backends` fetches them")
    port = controlplane.free_ports()
    daemons = (prometheus(tmp_path / "p", port), victoria_metrics(tmp_path / "v", port + 1))
    tools = [candidate("prometheus"), candidate("vmsingle", port=8428)]
    try:
        for daemon in daemons:
            daemon.start()
        addresses = {f"{tool.host}:{tool.port}": daemon.address for tool, daemon in zip(tools, daemons, strict=True)}
        text = publish(tools, OutputOptions()).data[DOCUMENT_KEY]
        calls = [
            (toolset, tool, {**parameters, "query": "vector(42)"})
            for toolset, tool, parameters in calls_of(text, frozenset()).values()
        ]
        loaded = holmes.load(text, connect_to=addresses, calls=calls)
    finally:
        for daemon in daemons:
            daemon.kill()
    assert [instance.healthy for instance in loaded.toolset("prometheus/metrics").instances] == [True, True]
    assert [answer.status for answer in loaded.calls] == ["success", "success"]
    assert all("42" in (answer.data or "") for answer in loaded.calls)


def test_what_holmesgpt_turns_on_by_itself_is_known(holmes: Holmes) -> None:
    text = publish([], OutputOptions()).data[DOCUMENT_KEY]
    loaded = holmes.load(text, connect_to={})
    assert {toolset.name for toolset in loaded.toolsets if toolset.enabled} == DEFAULTS | {"kubernetes/core"}


def test_the_fixed_instructions_reach_the_model(holmes: Holmes, plain: Server) -> None:
    plain.put({f"{tool.host}:{tool.port}": backend_of(tool) for tool in ONE_OF_EACH})
    text = publish(ONE_OF_EACH, OutputOptions()).data[DOCUMENT_KEY]
    loaded = holmes.load(text, connect_to={}, elsewhere=plain.address)
    for name, block in read(text).items():
        if block.llm_instructions:
            assert block.llm_instructions in loaded.toolset(name).instructions
