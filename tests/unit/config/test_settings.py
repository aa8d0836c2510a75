import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.inspect import is_struct_type

import toolset
from support.stores import unexpected
from toolset.config.loader import load
from toolset.config.options import detectors, doubts, elector_options, shares, static_tools, target_options
from toolset.config.settings import Settings
from toolset.core.dialects.documents import Credentials
from toolset.core.durations import Duration
from toolset.errors import SettingsError
from toolset.runtime.election import ElectorOptions
from toolset.runtime.store import Store


def settings(
    text: str = "", environment: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Settings:
    return load(text, environment or {}, flags or {}, source="toolset.yaml")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("5m", 300.0, id="minutes"),
        pytest.param("30s", 30.0, id="seconds"),
        pytest.param("1m30s", 90.0, id="both"),
        pytest.param("1h1m1s1ms", 3661.001, id="all"),
        pytest.param("250ms", 0.25, id="milliseconds"),
        pytest.param("0.5s", 0.5, id="a part of a second"),
        pytest.param("0s", 0.0, id="nothing"),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert Duration.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("30", id="no unit"),
        pytest.param("-5s", id="negative"),
        pytest.param("5 s", id="a space"),
        pytest.param("1s1m", id="units in the wrong order"),
        pytest.param(30, id="a number"),
        pytest.param(None, id="nothing"),
    ],
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        Duration.parse(text)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 999))
def test_every_duration_that_is_written_is_read_back(hours: int, minutes: int, seconds: int, millis: int) -> None:
    text = f"{hours}h{minutes}m{seconds}s{millis}ms"
    assert Duration.parse(text) == pytest.approx(hours * 3600 + minutes * 60 + seconds + millis / 1000)


def test_the_defaults_are_those_of_the_plan() -> None:
    found = settings()
    assert found == Settings()
    assert (found.target.namespace, found.target.name) == ("kubernaut-system", "kubernaut-toolset-config")
    assert (found.controller.resync, found.controller.reconcile_interval, found.health.timeout) == (300.0, 30.0, 5.0)


def test_a_file_sets_values_of_every_form() -> None:
    found = settings("""
target: {name: other}
discovery:
  namespaces: [team-*, ops]
  external_endpoints: true
health:
  timeout: 2s
  concurrency: 8
output:
  credentials: {monitoring/grafana: {api_key: GRAFANA_API_KEY}}
log: {level: debug}
server:
""")
    assert found.target.name == "other"
    assert found.discovery.namespaces == ("team-*", "ops")
    assert found.discovery.external_endpoints
    assert (found.health.timeout, found.health.concurrency) == (2.0, 8)
    assert found.output.credentials == {"monitoring/grafana": Credentials(api_key="GRAFANA_API_KEY")}
    assert found.log.level == "debug"


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() -> None:
    text = "health: {timeout: 2s, interval: 2s, rise: 2}"
    environment = {"TOOLSET_HEALTH__TIMEOUT": "3s", "TOOLSET_HEALTH__INTERVAL": "3s"}
    found = settings(text, environment, {"health.timeout": "4s"}).health
    assert (found.timeout, found.interval, found.rise, found.fall) == (4.0, 3.0, 2, 3)


def test_the_environment_sets_values_of_every_form() -> None:
    environment = {
        "TOOLSET_HEALTH__ENABLED": "false",
        "TOOLSET_HEALTH__CONCURRENCY": "4",
        "TOOLSET_DISCOVERY__NAMESPACES": "[a, 'b*']",
        "TOOLSET_CONFIG": "/etc/toolset.yaml",
        "HOME": "/root",
    }
    found = settings("", environment)
    assert (found.health.enabled, found.health.concurrency) == (False, 4)
    assert found.discovery.namespaces == ("a", "b*")


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=value or "empty") for value in ("123", "on", "", "1:30", "*")]
)
def test_text_in_the_environment_is_taken_as_it_is(value: str) -> None:
    assert settings("", {"TOOLSET_KUBE__CONTEXT": value}).kube.context == value


@pytest.mark.parametrize(
    ("text", "environment", "flags", "message"),
    [
        pytest.param(
            "healt: {}", {}, {}, "toolset.yaml:1:1: `healt`: unknown name; did you mean `health`?", id="section"
        ),
        pytest.param(
            "health: {timout: 5s}",
            {},
            {},
            "toolset.yaml:1:10: `health.timout`: unknown name; did you mean `timeout`?",
            id="name",
        ),
        pytest.param(
            "target: {zzzzz: 1}",
            {},
            {},
            "toolset.yaml:1:10: `target.zzzzz`: unknown name; known are name, namespace",
            id="a name like no other",
        ),
        pytest.param("5", {}, {}, "toolset.yaml: expected a mapping of sections such as `health:`", id="no mapping"),
        pytest.param(
            "health: 5",
            {},
            {},
            "toolset.yaml:1:1: `health`: it is a section; set one of its settings",
            id="a section's value",
        ),
        pytest.param(
            "discovery: {trusted_namespaces: [monitoring]}\nhealth: {}\ndiscovery: {mode: auto}",
            {},
            {},
            "toolset.yaml:3:1: `discovery` is there twice; merge the two",
            id="a section twice",
        ),
        pytest.param(
            "output:\n  credentials: {a/b: {username: A}, a/b: {password: B}}",
            {},
            {},
            "toolset.yaml:2:37: `a/b` is there twice; merge the two",
            id="a name twice, deeper down",
        ),
        pytest.param(
            "",
            {"TOOLSET_OUTPUT__CREDENTIALS": "{a/b: {username: A}, a/b: {password: B}}"},
            {},
            "environment variable TOOLSET_OUTPUT__CREDENTIALS:1:22: `a/b` is there twice; merge the two",
            id="a name twice in a variable",
        ),
        pytest.param(
            "a: [}",
            {},
            {},
            "toolset.yaml:1:5: this is not valid YAML: did not find expected node content",
            id="not YAML",
        ),
        pytest.param(
            "log:\n\tlevel: info",
            {},
            {},
            "toolset.yaml:2:1: a tab is used for indentation; use spaces",
            id="a tab",
        ),
        pytest.param(
            "log: {level: info}\n---\nlog: {format: json}",
            {},
            {},
            "toolset.yaml:2:1: expected one document, there is another",
            id="two documents",
        ),
        pytest.param("a: \x00", {}, {}, "toolset.yaml:1:1: it holds control characters", id="not text"),
        pytest.param(
            "log: 2024-13-45",
            {},
            {},
            "toolset.yaml:1:6: `2024-13-45` is read as a timestamp; put it into quotes",
            id="a date",
        ),
        pytest.param(
            "log: " + "[" * 1200,
            {},
            {},
            "toolset.yaml:1:37: it is nested more than 32 deep",
            id="deeper than anybody writes",
        ),
        pytest.param(
            "output: {base_toolsets: {a: {config: &c {b: *c}}}}",
            {},
            {},
            "toolset.yaml:1:38: anchors and aliases are not allowed; write it out",
            id="an anchor",
        ),
        pytest.param(
            'output: {base_toolsets: {a: {config: {b: "\\ud800"}}}}',
            {},
            {},
            "toolset.yaml:1:45: this is not valid YAML: found invalid Unicode character escape code",
            id="half of a character",
        ),
        pytest.param(
            "",
            {"TOOLSET_HEALTH__TIMOUT": "5s"},
            {},
            "environment variable TOOLSET_HEALTH__TIMOUT: there is no such setting;"
            " did you mean TOOLSET_HEALTH__TIMEOUT?",
            id="a variable's name",
        ),
        pytest.param(
            "",
            {"TOOLSET_HEALTH": "5s"},
            {},
            "environment variable TOOLSET_HEALTH: `health`: it is a section; set one of its settings",
            id="a variable for a section",
        ),
        pytest.param(
            "",
            {"TOOLSET_HELTH__TIMEOUT": "5s"},
            {},
            "environment variable TOOLSET_HELTH__TIMEOUT: there is no such setting;"
            " did you mean TOOLSET_HEALTH__TIMEOUT?",
            id="a variable for a section that is none",
        ),
        pytest.param(
            "",
            {"TOOLSET_HEALTH_TIMEOUT": "5s"},
            {},
            "environment variable TOOLSET_HEALTH_TIMEOUT: there is no such setting;"
            " did you mean TOOLSET_HEALTH__TIMEOUT?",
            id="a variable with one underscore where two belong",
        ),
        pytest.param(
            "",
            {"TOOLSET_TARGET__ZZZZZ": "5s"},
            {},
            "environment variable TOOLSET_TARGET__ZZZZZ: `target.zzzzz`: unknown name; known are name, namespace",
            id="a variable like no other",
        ),
        pytest.param(
            "",
            {"TOOLSET_HEALTH__DETECTORS": "{"},
            {},
            "environment variable TOOLSET_HEALTH__DETECTORS:2:1: this is not valid YAML:"
            " did not find expected node content",
            id="a variable that is not YAML",
        ),
        pytest.param(
            "",
            {},
            {"health.timout": "5s"},
            "command line: `health.timout`: unknown name; did you mean `timeout`?",
            id="flag",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_remedy(
    text: str, environment: dict[str, str], flags: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(text, environment, flags)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("health: {timeout: 5}", "`health.timeout`: .*duration such as `30s`", id="a number as duration"),
        pytest.param("health: {timeout: }", "`health.timeout`: .*duration such as `30s`", id="nothing as duration"),
        pytest.param("health: {interval: 0s}", "`health.interval`: .*more than `0s`", id="an interval that spins"),
        pytest.param(
            "controller: {reconcile_interval: 0s}",
            "`controller.reconcile_interval`: .*more than `0s`",
            id="a resync that spins",
        ),
        pytest.param("health: {concurrency: 0}", "health.concurrency", id="no slot"),
        pytest.param("health: {enabled: 5}", "health.enabled", id="a number as yes or no"),
        pytest.param("target: {namespace: Not_A_Name}", "target.namespace", id="no name of a namespace"),
        pytest.param("server: {port: 65536}", "server.port", id="no port"),
        pytest.param("log: {level: loud}", "log.level", id="no level"),
        pytest.param('target: {namespace: "a\\n"}', "target.namespace", id="a name of a namespace with a line break"),
        pytest.param('target: {name: "a\\n"}', "target.name", id="a name with a line break"),
        pytest.param('output: {variables: ["X\n"]}', "output.variables", id="a variable with a line break"),
        pytest.param(
            'discovery: {detectors: [{product: a, type: b, phrases: ["a\\n"]}]}',
            "phrases",
            id="a phrase with a line break",
        ),
        pytest.param(
            'discovery: {detectors: [{product: "a\\n", type: b, phrases: [a]}]}', "product", id="a line break in a word"
        ),
    ],
)
def test_a_wrong_value_is_named_by_its_path(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"toolset.yaml:1:[0-9]+: .*{words}"):
        settings(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "log: {level: INFO}",
            "1:7: `log.level`: expected one of debug, info, warning, error, not `INFO`; did you mean `info`?",
            id="a word of some",
        ),
        pytest.param(
            "output: {dialects: [holmes]}",
            "1:21: `output.dialects[0]`: expected one of kubernaut, holmesgpt, json, "
            "kubernaut-agent, not `holmes`; did you mean `holmesgpt`?",
            id="a word of some in a list",
        ),
        pytest.param(
            "output: {credentials: {grafana: {}}}",
            "1:24: `output.credentials.grafana`: expected a Service as `namespace/name`",
            id="a name in a mapping",
        ),
        pytest.param(
            "output: {credentials: {a/b: {api_key: 'x y'}}}",
            "1:30: `output.credentials.a/b.api_key`: expected the name of an environment variable",
            id="a value that may be left out",
        ),
        pytest.param(
            "discovery: {namespaces: monitoring}",
            "1:13: `discovery.namespaces`: expected a list such as `[a, b]`, not text",
            id="one value in the place of a list",
        ),
        pytest.param(
            "health: {enabled: 1}",
            "1:10: `health.enabled`: expected `true` or `false`, not `1`",
            id="neither yes nor no",
        ),
        pytest.param(
            "health: {detectors: [grafana]}",
            "1:10: `health.detectors`: expected a mapping such as `{name: value}`, not a list",
            id="a list in the place of a mapping",
        ),
        pytest.param(
            "output: {base_toolsets: {bash: {enabled: maybe}}}",
            "1:33: `output.base_toolsets.bash.enabled`: expected `true` or `false`, not `maybe`",
            id="a value in a mapping",
        ),
        pytest.param(
            "discovery: {detectors: [{type: a}]}",
            "1:25: `discovery.detectors[0]`: `product` is missing",
            id="a part that is missing",
        ),
    ],
)
def test_a_wrong_value_is_reported_in_words_of_yaml(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(text)
    assert str(caught.value) == f"toolset.yaml:{message}"


def test_no_setting_explains_itself_by_a_regular_expression() -> None:
    def metas(kind: object) -> Iterator[msgspec.Meta]:
        if isinstance(kind, msgspec.Meta):
            yield kind
        inner = msgspec.structs.fields(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else ()
        for part in (*get_args(kind), *(field.type for field in inner)):
            yield from metas(part)

    patterns = [meta for meta in metas(Settings) if meta.pattern]
    assert patterns
    assert all(meta.description for meta in patterns)


def test_every_setting_that_a_message_names_exists() -> None:
    every = {section.name: section.type for section in msgspec.structs.fields(Settings)}
    sections = {name: kind for name, kind in every.items() if is_struct_type(kind)}
    known = {f"{name}.{field.name}" for name, kind in sections.items() for field in msgspec.structs.fields(kind)}
    places = re.compile(rf"(?<!`)`((?:{'|'.join(sections)})\.[a-z_]+(?:\.[a-z_]+)*)`(?!`)")
    source = Path(toolset.__file__).parent
    named = {name for file in source.rglob("*.py") for name in places.findall(file.read_text("utf-8"))}
    assert named
    assert named <= known


def test_a_shutdown_without_delay_is_allowed() -> None:
    assert settings("shutdown: {delay: 0s}").shutdown.delay == 0.0


def test_every_problem_is_named_at_once_with_the_line_of_each() -> None:
    text = """\
health:
  timeout: 5 s
  intervall: 3s
timeout: 5s
static:
- {type: loki, url: ftp://logs, name: logs, nam: 3}
"""
    with pytest.raises(SettingsError) as caught:
        settings(text, {"TOOLSET_LOG__LEVEL": "LOUD"}, {"health.rise": 0})
    assert caught.value.problems == (
        "toolset.yaml:2:3: `health.timeout`: expected a duration such as `30s`, `5m` or `250ms`, not `5 s`; write `5s`",
        "toolset.yaml:3:3: `health.intervall`: unknown name; did you mean `interval`?",
        "toolset.yaml:4:1: `timeout`: unknown name; did you mean `health.timeout`?",
        "toolset.yaml:6:16: `static[0].url`: expected a URL such as `https://metrics.example.com/prometheus`",
        "toolset.yaml:6:45: `static[0].nam`: unknown name; did you mean `name`?",
        "environment variable TOOLSET_LOG__LEVEL: `log.level`: expected one of debug, info, warning, error, not `LOUD`",
        "command line: `health.rise`: expected a whole number of at least 1, not `0`",
    )
    assert str(caught.value) == "; ".join(caught.value.problems)


def test_a_file_of_mistakes_is_a_list_of_bounded_length() -> None:
    with pytest.raises(SettingsError) as caught:
        settings("health:\n  detectors:\n" + "".join(f"    a{number}: 1\n" for number in range(50)))
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "30 more problems"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "output: {credentials: {a/b: {api_key: 'glsa_secret!'}}}", id="a key for the name of its variable"
        ),
        pytest.param("static: [{type: loki, name: l, url: 'https://u:glsa_secret!@logs'}]", id="a password in a URL"),
        pytest.param("discovery: {namespaces: 'glsa_secret!'}", id="text for a list"),
        pytest.param("health: {detectors: 'glsa_secret!'}", id="text for a mapping"),
    ],
)
def test_text_that_may_be_a_secret_is_not_repeated(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(text)
    assert "glsa" not in str(caught.value)


@given(st.text(max_size=40))
def test_no_file_leads_to_another_error_than_a_settings_error(text: str) -> None:
    with suppress(SettingsError):
        settings(text)


def test_a_wrong_value_in_the_environment_is_named_by_its_variable() -> None:
    with pytest.raises(SettingsError, match=r"^environment variable TOOLSET_HEALTH__TIMEOUT: `health.timeout`: "):
        load("", {"TOOLSET_HEALTH__TIMEOUT": "5"}, {})


DETECTOR = "discovery: {detectors: [{product: tempo, type: tempo, phrases: [tempo]%s}]}"


def test_a_detector_of_ones_own_has_the_schema_of_the_built_in_ones() -> None:
    found = settings(DETECTOR % ", port: {numbers: [3200]}, check: {path: /ready, statuses: [401]}")
    (tempo,) = found.discovery.detectors
    assert (tempo.product, tempo.port.numbers, tempo.check.path) == ("tempo", (3200,), "/ready")


def test_detectors_of_ones_own_come_first_and_replace_or_switch_off_built_in_ones() -> None:
    names = [detector.product for detector in detectors(Settings())]
    text = "discovery: {disabled_detectors: [cortex], detectors: [{product: grafana, type: grafana, phrases: [g]}]}"
    mine = [detector.product for detector in detectors(settings(text))]
    assert mine == ["grafana", *(name for name in names if name not in {"grafana", "cortex"})]


def test_detectors_that_are_off_by_default_are_enabled_by_product() -> None:
    by_default = {detector.product for detector in detectors(Settings())}
    found = {detector.product for detector in detectors(settings("discovery: {enabled_detectors: [alertmanager]}"))}
    assert found - by_default == {"alertmanager"}


def test_a_detector_of_ones_own_publishes_its_type_through_a_toolset_of_the_list() -> None:
    found = settings(DETECTOR % ", publish: {toolset: grafana/tempo, url_key: api_url}")
    types = target_options(found).output.types
    assert types["tempo"].toolsets == ("grafana/tempo",)
    assert types["prometheus"].toolsets == ("prometheus/metrics",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            DETECTOR % ", prot: {}",
            "`discovery.detectors[0].prot`: unknown name; did you mean `port`?",
            id="a name",
        ),
        pytest.param(
            DETECTOR % ", port: {nmes: [a]}",
            "`discovery.detectors[0].port.nmes`: unknown name; did you mean `names`?",
            id="a name deeper down",
        ),
        pytest.param(
            DETECTOR % ", port: {names: [3]}",
            "`discovery.detectors[0].port.names[0]`: expected text, not a number",
            id="a value deeper down",
        ),
        pytest.param(DETECTOR % ", path: x", "`path`: expected an absolute path without a trailing slash", id="a path"),
        pytest.param(DETECTOR % ", check: {path: x}", "`check.path`: expected an absolute path", id="a probe path"),
        pytest.param(
            (DETECTOR % ", known_ports: [{name: a, number: 1}]").replace("type: tempo", "type: own"),
            "`known_ports` need `check.identity`, `check.body` or `check.fields`",
            id="no proof",
        ),
        pytest.param(
            (DETECTOR % ", port: {phrases: [a]}").replace("type: tempo", "type: own"),
            "`port.phrases` need `check.identity`",
            id="no proof for a phrase",
        ),
        pytest.param(
            "discovery: {detectors: [{product: a, type: kubernetes, phrases: [a]}]}",
            "`discovery.detectors[0]`: `type`: `kubernetes` is taken; choose another word",
            id="a type that is taken",
        ),
        pytest.param(
            "discovery: {detectors: [{product: a, type: b}]}",
            "it can match nothing; give it `phrases`",
            id="empty",
        ),
        pytest.param(
            "discovery: {detectors: [{product: a, type: b, label_keys: [x]}, {product: a, type: b, label_keys: [y]}]}",
            "`discovery.detectors[1]`: there is another one of this product",
            id="twice",
        ),
        pytest.param(
            DETECTOR % ", publish: {toolset: grafana/lokki}",
            "`discovery.detectors[0].publish.toolset`: discovered backends cannot be published as `grafana/lokki`; "
            "did you mean `grafana/loki`?",
            id="a toolset that is misspelt",
        ),
        pytest.param(
            DETECTOR % ", publish: {toolset: bash}",
            "cannot be published as `bash`; known are elasticsearch/cluster, elasticsearch/data, grafana/dashboards",
            id="a toolset that is not in the list",
        ),
        pytest.param(
            DETECTOR % ", publish: {toolset: grafana/loki, url_key: prometheus_url}",
            "`discovery.detectors[0].publish.url_key`: grafana/loki has no `prometheus_url`; did you mean `api_url`?",
            id="a key for the URL that the toolset does not have",
        ),
        pytest.param(
            DETECTOR % ", publish: {toolset: prometheus/multi-tenant-metrics, config: {tenant_hedder: X}}",
            "`discovery.detectors[0].publish.config.tenant_hedder`: prometheus/multi-tenant-metrics takes "
            "`tenant_header`, `tenant_label` here; did you mean `tenant_header`?",
            id="a field of the config",
        ),
        pytest.param(
            DETECTOR % ", publish: {toolset: grafana/loki, config: {api_key: X}}",
            "`discovery.detectors[0].publish.config.api_key`: grafana/loki takes no such fields here",
            id="a credential",
        ),
        pytest.param(
            DETECTOR % ", publish: {toolst: grafana/loki}",
            "`discovery.detectors[0].publish.toolst`: unknown name; did you mean `toolset`?",
            id="a field of publish",
        ),
        pytest.param(
            "discovery: {detectors: [{product: a, type: jaeger, phrases: [a], publish: {toolset: grafana/tempo}}]}",
            "`discovery.detectors[0].publish`: the type `jaeger` is built in and published as a toolset of type http; "
            "choose another `type`",
            id="another toolset for a built-in type",
        ),
        pytest.param(
            "discovery: {detectors: [{product: a, type: b, phrases: [a], publish: {toolset: victorialogs}}, "
            "{product: c, type: b, phrases: [c]}]}",
            "`discovery.detectors[1].publish`: another detector of the type `b` is published in another way",
            id="two ways for one type",
        ),
        pytest.param(
            "discovery: {enabled_detectors: [zipkn]}",
            "`discovery.enabled_detectors[0]`: no detector is called `zipkn`; did you mean `zipkin`?",
            id="a detector to enable",
        ),
        pytest.param(
            "discovery: {disabled_detectors: [cortx]}",
            "`discovery.disabled_detectors[0]`: no detector is called `cortx`; did you mean `cortex`?",
            id="an unknown product",
        ),
    ],
)
def test_a_wrong_detector_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(text)
    assert str(caught.value).startswith("toolset.yaml:1:")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        pytest.param("health: {detectors: {elasticsaerch: {}}}", ["elasticsearch"], id="letters in another order"),
        pytest.param("health: {detectors: {thanos: {}}}", ["thanos-query"], id="half of a name"),
        pytest.param("health: {detectors: {elasticsearch: {}, thanos-query: {}}}", [], id="products"),
        pytest.param("health: {detectors: {loki: {}}}", [], id="a custom type"),
        pytest.param(
            "discovery: {detectors: [{product: grafana-lab, type: graphs, phrases: [a]}]}\n"
            "health: {detectors: {grafana-lab: {}, graphs: {}}}",
            [],
            id="a product and a type of one's own",
        ),
    ],
)
def test_a_product_that_is_nearly_a_known_one_is_in_doubt(text: str, meant: list[str]) -> None:
    assert [doubt.rpartition("did you mean ")[2] for doubt in doubts(settings(text))] == [f"`{one}`?" for one in meant]


def test_the_times_of_an_election_have_to_fit_together() -> None:
    wrong = settings("election: {lease_duration: 5s}")
    with pytest.raises(SettingsError, match=r"^settings `election`: "):
        elector_options(wrong)
    assert elector_options(Settings()) == ElectorOptions()


STATIC = "static: [{type: prometheus, name: prod, url: 'https://metrics.example.com'}, {%s}]"


def test_static_backends_are_a_list_of_the_settings() -> None:
    found = settings(STATIC % "type: loki, name: logs, url: 'http://10.0.0.9:3100', credentials: {bearer_token: T}")
    assert [str(key) for key in static_tools(found)] == ["prod", "logs"]
    assert target_options(found).output.credentials["logs"].bearer_token == "T"
    assert target_options(found).output.policy.variables == {"T"}
    assert settings("static:") == Settings()


def test_static_backends_are_trusted_whatever_namespaces_are() -> None:
    found = settings("discovery: {trusted_namespaces: [ops]}\n" + STATIC % "type: a, name: b, url: 'http://c'")
    divided = shares(found, Store(unexpected))
    assert [divided.trusted(name) for name in ("", "ops", "team")] == [True, True, False]
    assert all(tool.trusted for tool in static_tools(found).values())


def test_static_backends_come_from_the_environment_too() -> None:
    text = "[{type: prometheus, name: prod, url: 'https://metrics.example.com'}]"
    found = load("", {"TOOLSET_STATIC": text}, {})
    assert [backend.name for backend in found.static] == ["prod"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        pytest.param(
            "type: loki, nme: a, url: 'http://a'",
            "`static[1].nme`: unknown name; did you mean `name`?",
            id="a field",
        ),
        pytest.param("type: loki, url: 'http://a'", "`name` is missing", id="no name"),
        pytest.param("type: Loki, name: a, url: 'http://a'", "`static[1].type`: expected a lower-case word", id="type"),
        pytest.param(
            "type: kubernetes, name: a, url: 'http://a'", "`static[1].type`: `kubernetes` is taken", id="taken"
        ),
        pytest.param("type: loki, name: a/b, url: 'http://a'", "`static[1].name`: expected a name", id="two names"),
        pytest.param("type: loki, name: prod, url: 'http://a'", "`static[1].name`: another static", id="twice"),
        pytest.param(
            "type: prometheus, name: a, url: 'https://metrics.example.com:443/'",
            "`static[1].url`: `https://metrics.example.com:443/` is listed twice as prometheus",
            id="one backend twice",
        ),
        pytest.param(
            "type: loki, name: a, url: 'http://u:p@a'",
            "`static[1].url`: expected a URL such as `https://metrics.example.com/prometheus`",
            id="a password",
        ),
        pytest.param("type: loki, name: a, url: 'http://a:0'", "the port must be 1 to 65535", id="port 0"),
        pytest.param("type: loki, name: a, url: 'http://a:99999'", "the port must be 1 to 65535", id="port 99999"),
        pytest.param(
            "type: prometheus, name: a, url: 'http://a', product: vmselct",
            "`static[1].product`: no detector of the type `prometheus` is called `vmselct`; known are ",
            id="a product",
        ),
        pytest.param(
            "type: shop, name: a, url: 'http://a', product: b", "is called `b`; leave it out", id="no product at all"
        ),
        pytest.param(
            "type: loki, name: a, url: 'http://a', health_path: x", "`static[1].health_path`: `x`: expected", id="path"
        ),
        pytest.param(
            "type: loki, name: a, url: 'https://a', ca_file: x, insecure_skip_verify: true",
            "`static[1].ca_file`: it means nothing with `insecure_skip_verify`",
            id="a contradiction",
        ),
        pytest.param(
            "type: loki, name: a, url: 'http://a', allowed_ranges: [x]",
            "`static[1].allowed_ranges[0]`: expected a range of addresses",
            id="a range",
        ),
    ],
)
def test_a_wrong_static_backend_is_named_with_its_place(entry: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(STATIC % entry)
    assert str(caught.value).startswith("toolset.yaml:1:")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("static: {type: loki}", "`static`: expected a list", id="a mapping"),
        pytest.param("static: 3", "`static`: expected a list", id="a number"),
        pytest.param("statc: []", "`statc`: unknown name; did you mean `static`?", id="misspelt"),
    ],
)
def test_static_backends_are_nothing_but_a_list(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        settings(text)
    with pytest.raises(SettingsError, match="`static`: it is a list; set it as a whole"):
        load("", {"TOOLSET_STATIC__0": "{}"}, {})


@pytest.mark.parametrize(
    ("entry", "meant"),
    [
        pytest.param("type: promtheus, name: a, url: 'http://a'", "did you mean `prometheus`?", id="a type"),
        pytest.param(
            "type: shop, name: a, url: 'http://a.b.svc.cluster.local'", "annotate the Service instead", id="a Service"
        ),
    ],
)
def test_a_static_backend_that_is_likely_a_mistake_is_in_doubt(entry: str, meant: str) -> None:
    (doubt,) = doubts(settings(STATIC % entry))
    assert doubt.startswith("`static[1].")
    assert doubt.endswith(meant)
