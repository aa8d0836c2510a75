import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from toolset.core.candidate import Reason
from toolset.core.dialects.texts import Policy
from toolset.core.overrides.overrides import (
    NO_OVERRIDES,
    TEXT_LIMIT_BYTES,
    Overrides,
    OverridesError,
    apply,
    follow,
    read,
)
from toolset.core.strict_yaml import Mark

POLICY = Policy(frozenset({"TOKEN"}))


def valid(text: str, policy: Policy = POLICY) -> Overrides:
    found = read(text, policy)
    assert isinstance(found, Overrides), str(found)
    return found


def refused(text: str, policy: Policy = POLICY) -> OverridesError:
    found = read(text, policy)
    assert isinstance(found, OverridesError)
    return found


ALL = """\
tools:
  monitoring/prometheus:
    url: https://other.example:9091/base/
    priority: 5
    holmesgpt: {additional_headers: {Authorization: "Bearer {{ env.TOKEN }}"}}
    kubernaut: {timeout: 60s}
  monitoring/grafana: null
  monitoring/note: {enabled: false}
  monitoring/tempo: {type: jaeger, health_path: /status}
toolsets:
  kubernetes/logs: null
  prometheus/metrics: {config: {verify_ssl: false}}
kubernaut:
  kubernetes: {enabled: false}
suppress: [monitoring/jaeger]
approve: [team-a/prometheus]
"""


def test_everything_that_may_be_said_is_read() -> None:
    found = valid(ALL)
    assert set(found.tools) == {f"monitoring/{name}" for name in ("prometheus", "grafana", "note", "tempo")}
    assert found.tools["monitoring/grafana"] is None
    assert found.toolsets["kubernetes/logs"] is None
    assert found.kubernaut == {"kubernetes": {"enabled": False}}
    assert found.suppress == {"monitoring/jaeger"}
    assert {str(key) for key in found.approved} == {"team-a/prometheus"}
    assert found.text == ALL


@pytest.mark.parametrize("text", ["", "# nothing", "tools:\ntoolsets:\nsuppress:\napprove:", "tools: {}"])
def test_nothing_said_changes_nothing(text: str) -> None:
    found = valid(text)
    assert not any((found.tools, found.toolsets, found.kubernaut, found.suppress, found.approve))


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        pytest.param("tools: [", 2, 1, "this is not valid YAML: did not find expected node content", id="YAML"),
        pytest.param("\ud800", 1, 1, "it is not valid Unicode", id="half of a character"),
        pytest.param("- a", 1, 1, "expected a map of tools, toolsets, kubernaut, suppress, approve", id="no map"),
        pytest.param("supress: []", 1, 1, "supress: unknown name; did you mean `suppress`?", id="misspelt"),
        pytest.param(
            "zzz: []", 1, 1, "zzz: unknown name; known are approve, kubernaut, suppress, tools, toolsets", id="unknown"
        ),
        pytest.param("tools: []", 1, 1, "tools: expected a map", id="tools is no map"),
        pytest.param("suppress: {}", 1, 1, "suppress: expected a list of namespace/name", id="suppress is no list"),
        pytest.param("aprove: []", 1, 1, "aprove: unknown name; did you mean `approve`?", id="misspelt approval"),
        pytest.param("approve: a/b", 1, 1, "approve: expected a list of namespace/name", id="approve is no list"),
        pytest.param(
            "approve:\n- a/b\n- team-*/b",
            3,
            3,
            "approve > 1: expected namespace/name of a Service",
            id="approve holds a glob",
        ),
        pytest.param(
            "suppress:\n- a/b\n- c/",
            3,
            3,
            "suppress > 1: expected namespace/name of a Service, or the name of a static backend",
            id="suppress names no Service",
        ),
        pytest.param(
            "suppress: [1]",
            1,
            12,
            "suppress > 0: expected namespace/name of a Service, or the name of a static backend",
            id="suppress holds a number",
        ),
        pytest.param(
            "tools:\n  Grafana: {}",
            2,
            3,
            "tools > Grafana: expected namespace/name of a Service, or the name of a static backend",
            id="no Service",
        ),
        pytest.param(
            "tools:\n  a/b: 1",
            2,
            3,
            "tools > a/b: expected a mapping such as `{name: value}`, not a number",
            id="tool is no map",
        ),
        pytest.param(
            "tools:\n  a/b: {urL: x}",
            2,
            9,
            "tools > a/b > urL: unknown name; did you mean `url`?",
            id="unknown field of a tool",
        ),
        pytest.param(
            "tools:\n  a/b:\n    url: ftp://x",
            3,
            5,
            "tools > a/b > url: expected a URL such as `http://host:9090/path`",
            id="URL",
        ),
        pytest.param(
            "tools: {a/b: {url: 'http://u:p@x'}}",
            1,
            15,
            "tools > a/b > url: expected a URL such as `http://host:9090/path`",
            id="user in the URL",
        ),
        pytest.param(
            "tools: {a/b: {url: 'http://x:99999'}}", 1, 15, "tools > a/b > url: its port must be 1 to 65535", id="port"
        ),
        pytest.param(
            "tools: {a/b: {url: 'http://x:0'}}", 1, 15, "tools > a/b > url: its port must be 1 to 65535", id="port 0"
        ),
        pytest.param(
            "tools: {a/b: {type: kubernetes}}",
            1,
            15,
            "tools > a/b > type: kubernetes is not a type of a Service",
            id="reserved type",
        ),
        pytest.param(
            "tools: {a/b: {type: A}}",
            1,
            15,
            "tools > a/b > type: expected a lower-case word such as `loki`",
            id="type",
        ),
        pytest.param(
            'tools: {a/b: {type: "jaeger\\n"}}',
            1,
            15,
            "tools > a/b > type: expected a lower-case word such as `loki`",
            id="type with a line feed",
        ),
        pytest.param(
            "tools: {a/b: {health_path: a?b}}",
            1,
            15,
            "tools > a/b > health_path: expected an absolute path of letters, digits and ._~/-",
            id="health path",
        ),
        pytest.param(
            "tools: {a/b: {priority: 1000000}}",
            1,
            15,
            "tools > a/b > priority: expected a whole number of at most 999999, not `1000000`",
            id="priority",
        ),
        pytest.param(
            "tools: {a/b: {holmesgpt: {prometheus_ur: x}}}",
            1,
            27,
            "tools > a/b > holmesgpt > prometheus_ur: HolmesGPT would pass it over; did you mean `prometheus_url`?",
            id="no such config",
        ),
        pytest.param(
            "tools: {a/b: {holmesgpt: {extra_headers: {}}}}",
            1,
            27,
            "tools > a/b > holmesgpt > extra_headers: `extra_headers` is not safe; "
            "output.allow_unsafe_overrides allows it",
            id="unsafe config",
        ),
        pytest.param(
            "tools: {a/b: {kubernaut: {x: '${HOME}'}}}",
            1,
            27,
            "tools > a/b > kubernaut > x: the settings name no environment variable HOME; see output.variables",
            id="variable",
        ),
        pytest.param(
            "toolsets: {a: 1}", 1, 12, "toolsets > a: expected a map, or null to remove it", id="toolset is no map"
        ),
        pytest.param(
            "toolsets:\n  a:\n    tools: []",
            3,
            5,
            "toolsets > a > tools: `tools` is not safe; output.allow_unsafe_overrides allows it",
            id="tools",
        ),
        pytest.param(
            "toolsets: {a: {type: mcp}}",
            1,
            16,
            "toolsets > a > type: `type: mcp` is not safe; output.allow_unsafe_overrides allows it",
            id="type mcp",
        ),
        pytest.param(
            "toolsets: {bash: {enabled: true}}",
            1,
            12,
            "toolsets > bash: it runs commands; output.allow_unsafe_overrides allows it",
            id="bash",
        ),
        pytest.param(
            "toolsets: {a: {llm_instructions: 'file:///x'}}",
            1,
            16,
            "toolsets > a > llm_instructions: file:// would let the reader open its own files; "
            "output.allow_unsafe_overrides allows it",
            id="file",
        ),
        pytest.param(
            "toolsets: {grafana/loki: {config: {url: x}}}",
            1,
            36,
            "toolsets > grafana/loki > config > url: HolmesGPT would pass it over; did you mean `api_url`?",
            id="no such field",
        ),
        pytest.param(
            "kubernaut: {a: {config: {command: x}}}",
            1,
            26,
            "kubernaut > a > config > command: `command` is not safe; output.allow_unsafe_overrides allows it",
            id="command",
        ),
        pytest.param(
            "toolsets: {a: {enabled: 'no'}}",
            1,
            16,
            "toolsets > a > enabled: expected `true` or `false`, not `no`",
            id="type of a block's field",
        ),
        pytest.param(
            "toolsets: {a: {labels: {}}}",
            1,
            16,
            "toolsets > a > labels: unknown name; known are approval_required_tools, description, docs_url, enabled, "
            "expose_remotely, icon_url, installation_instructions, llm_instructions, prerequisites, "
            "status_refresh_interval_seconds, tools, transformers, type",
            id="unknown field of a block",
        ),
        pytest.param(
            "toolsets: {prometheus/metrics: {config: {verify_ssl: 1}}}",
            1,
            42,
            "toolsets > prometheus/metrics > config > verify_ssl: expected `true` or `false`, not `1`",
            id="type of a config field",
        ),
        pytest.param(
            "tools: {a/b: {holmesgpt: {verify_ssl: 1}}}",
            1,
            27,
            "tools > a/b > holmesgpt > verify_ssl: expected `true` or `false`, not `1`",
            id="type of a tool's field",
        ),
        pytest.param(
            "tools: {a/b: {kubernaut: {url: x}}}",
            1,
            27,
            "tools > a/b > kubernaut > url: expected a URL such as `http://host:9090/path`",
            id="URL of a tool",
        ),
        pytest.param(
            "kubernaut: {a: {config: {url: x}}}",
            1,
            26,
            "kubernaut > a > config > url: expected a URL such as `http://host:9090/path`",
            id="URL of a document",
        ),
    ],
)
def test_a_mistake_makes_all_of_it_invalid_and_its_place_is_named(
    text: str, line: int, column: int, message: str
) -> None:
    error = refused(text)
    assert (error.line, error.column) == (line, column)
    assert error.message == message
    assert str(error) == f"overrides.yaml, line {line}, column {column}: {error.message}"


REF = "'{{ env.TOKEN }}'"


@pytest.mark.parametrize(
    ("text", "column", "kind", "place"),
    [
        pytest.param(
            f"toolsets: {{prometheus/metrics: {{config: {{additional_headers: {{A: {REF}}}}}}}}}",
            63,
            "a reference to a variable",
            "`instances`, next to a URL of its own",
            id="a reference",
        ),
        pytest.param(
            "toolsets: {prometheus/metrics: {config: {additional_headers: {A: secret}}}}",
            63,
            "a header",
            "`tools: NAMESPACE/NAME: holmesgpt:`",
            id="a header",
        ),
        pytest.param(
            "toolsets: {grafana/dashboards: {enabled: false, config: {api_key: secret}}}",
            58,
            "a credential",
            "`tools: NAMESPACE/NAME: holmesgpt:`",
            id="a credential",
        ),
        pytest.param(
            "toolsets: {grafana/dashboards: {config: {external_url: 'https://x.example'}}}",
            42,
            "a URL",
            "`tools: NAMESPACE/NAME: holmesgpt:`",
            id="a URL",
        ),
        pytest.param(
            f"toolsets: {{prometheus/metrics: {{description: {REF}}}}}",
            33,
            "a reference to a variable",
            "`tools: NAMESPACE/NAME: holmesgpt:`",
            id="outside the config",
        ),
        pytest.param(
            f"toolsets: {{prometheus/metrics: {{config: {{instances: [{{name: a, prometheus_url: 'http://a'}}], "
            f"additional_headers: {{A: {REF}}}}}}}}}",
            115,
            "a reference to a variable",
            "`instances`",
            id="next to instances",
        ),
        pytest.param(
            f"toolsets: {{elasticsearch/data: {{config: {{instances: [{{name: a, api_key: {REF}}}]}}}}}}",
            64,
            "a reference to a variable",
            "`instances`",
            id="in an instance without a URL",
        ),
        pytest.param(
            f"toolsets: {{note-team-note: {{config: {{default_headers: {{A: {REF}}}}}}}}}",
            56,
            "a reference to a variable",
            "`endpoints`, next to hosts of its own",
            id="of a discovered HTTP API",
        ),
        *(
            pytest.param(
                f"toolsets: {{note-team-note: {{type: http, enabled: {enabled}, "
                f"config: {{default_headers: {{A: {REF}}}}}}}}}",
                column,
                "a reference to a variable",
                "`endpoints`, next to hosts of its own",
                id=f"of an HTTP API without endpoints, enabled: {enabled}",
            )
            for enabled, column in (("true", 83), ("false", 84))
        ),
        pytest.param(
            "kubernaut: {prometheus: {config: {apiKey: '${TOKEN}'}}}",
            35,
            "a reference to a variable",
            "`tools: NAMESPACE/NAME: kubernaut:`",
            id="kubernaut",
        ),
    ],
)
def test_a_value_for_one_backend_is_refused_where_others_would_receive_it(
    text: str, column: int, kind: str, place: str
) -> None:
    """A tenant's Service could become one of them, or the first."""
    error = refused(text)
    assert (error.line, error.column) == (1, column)
    assert f"would receive {kind}, a tenant's too; put it under " in error.message
    assert place in error.message


@pytest.mark.parametrize(
    "text",
    [
        f"tools: {{a/b: {{holmesgpt: {{additional_headers: {{A: {REF}}}}}, kubernaut: {{apiKey: '${{TOKEN}}'}}}}}}",
        f"toolsets: {{prometheus/metrics: {{config: {{prometheus_url: http://a, additional_headers: {{A: {REF}}}}}}}}}",
        f"toolsets: {{grafana/loki: {{config: {{instances: [{{name: a, api_url: http://a, api_key: {REF}}}]}}}}}}",
        f"toolsets: {{note-team-note: {{config: {{endpoints: [{{hosts: ['http://a'], auth: {{token: {REF}}}}}]}}}}}}",
        f"toolsets: {{a-b-c: {{type: http, enabled: true, config: {{default_headers: {{A: {REF}}}, endpoints: []}}}}}}",
        f"toolsets: {{coralogix: {{enabled: true, config: {{api_key: {REF}}}}}}}",
        "toolsets: {prometheus/metrics: {config: {additional_headers: {}, verify_ssl: false}}}",
        "kubernaut: {grafana: {config: {url: 'http://a', apiKey: '${TOKEN}'}}}",
        "kubernaut: {kubernetes: {config: {token: '${TOKEN}'}}}",
    ],
    ids=[
        "tool",
        "own URL",
        "own instance",
        "own endpoints",
        "own toolset",
        "SaaS",
        "nothing bound",
        "document",
        "base",
    ],
)
def test_a_value_for_one_backend_counts_next_to_its_url(text: str) -> None:
    assert valid(text).text == text


def test_a_text_that_is_too_large_is_refused() -> None:
    assert "256 KiB" in refused("#" * (TEXT_LIMIT_BYTES + 1)).message


@pytest.mark.parametrize("text", [ALL, "suppress: {"])
def test_each_version_is_parsed_once(text: str) -> None:
    assert read(text, POLICY) is read("".join(text), Policy(frozenset({"TOKEN"})))


@pytest.mark.parametrize(
    "text",
    [
        "toolsets: {a: {enabled: true, description: x, tools: [], prerequisites: [{command: id}]}}",
        "toolsets: {bash: {enabled: true}}",
        "toolsets: {a: {llm_instructions: 'file:///x'}}",
    ],
)
def test_settings_may_allow_what_is_not_safe(text: str) -> None:
    assert valid(text, Policy(unsafe=True)).toolsets


def test_bash_may_always_be_turned_off() -> None:
    assert valid("toolsets: {bash: {enabled: false}}").toolsets
    assert valid("toolsets: {bash: null}").toolsets == {"bash": None}


def test_the_last_valid_ones_stay_in_force() -> None:
    first, error = follow(NO_OVERRIDES, "suppress: [a/b]", POLICY)
    assert error is None
    same, error = follow(first, "suppress: [a/b]", POLICY)
    assert same is first
    assert error is None
    kept, error = follow(first, "suppress: {", POLICY)
    assert kept is first
    assert error is not None
    assert error.line == 2
    assert follow(first, "suppress: [c/d]", POLICY)[0].suppress == {"c/d"}


@pytest.mark.parametrize("text", [None, ""])
def test_without_a_text_nothing_is_in_force(text: str | None) -> None:
    assert follow(valid("suppress: [a/b]"), text, POLICY) == (NO_OVERRIDES, None)


TOOLS = [candidate(), *(candidate(name, tool_type=name) for name in ("grafana", "note", "tempo", "jaeger"))]


def test_tools_are_changed_and_hidden_before_anything_is_rendered() -> None:
    found = apply(TOOLS, valid(ALL))
    prometheus, tempo = found.tools
    assert prometheus.url == "https://other.example:9091/base"
    assert (prometheus.admin_priority, prometheus.priority, prometheus.type) == (5, 0, "prometheus")
    assert (tempo.type, tempo.readers_path) == ("jaeger", "/status")
    assert found.holmesgpt == {prometheus.key: {"additional_headers": {"Authorization": "Bearer {{ env.TOKEN }}"}}}
    assert found.kubernaut == {prometheus.key: {"timeout": "60s"}}
    assert found.overridden == {
        prometheus.key: ("url", "priority", "holmesgpt", "kubernaut"),
        tempo.key: ("type", "health_path"),
    }
    assert {key.name: rejected.reason for key, rejected in found.hidden.items()} == dict.fromkeys(
        ("grafana", "note", "jaeger"), Reason.SUPPRESSED
    )
    assert found.hidden[candidate("grafana").key].detail == "overrides.yaml, line 7"
    assert found.hidden[candidate("jaeger").key].detail == "overrides.yaml, line 15"


def test_a_tool_that_is_changed_and_hidden_is_hidden_where_suppress_stands() -> None:
    key = candidate("grafana").key
    found = apply(TOOLS, valid(f"tools:\n  {key}: {{priority: 1}}\nsuppress: [{key}]"))
    assert found.hidden[key].detail == "overrides.yaml, line 3"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://x", "http://x:80"),
        ("https://x/", "https://x:443"),
        ("https://[fd00::1]/y", "https://[fd00::1]:443/y"),
    ],
)
def test_a_url_may_leave_out_its_port(url: str, expected: str) -> None:
    found = apply([candidate()], valid(f"tools: {{monitoring/prometheus: {{url: '{url}'}}}}"))
    assert found.tools[0].url == expected


def test_a_tool_that_is_not_there_is_not_made() -> None:
    assert apply([], valid(ALL)).tools == ()


def test_without_overrides_nothing_changes() -> None:
    found = apply(TOOLS, NO_OVERRIDES)
    assert found.tools == tuple(TOOLS)
    assert not any((found.hidden, found.holmesgpt, found.kubernaut, found.overridden))
    assert apply(TOOLS, Overrides(suppress=frozenset({"monitoring/note"}))).hidden[TOOLS[2].key].detail == (
        "overrides.yaml"
    )


def test_an_error_stands_at_the_nearest_part_that_is_written_down() -> None:
    found = valid("tools:\n  a/b:\n    holmesgpt: {verify_ssl: false}\n")
    assert found.error(("tools", "a/b", "holmesgpt", "verify_ssl"), "x").column == 17
    assert found.error(("tools", "a/b", "nothing"), "x").line == 2
    assert found.error(("nowhere",), "x") == OverridesError("x", 1, 1)
    assert NO_OVERRIDES.error((), "x") == OverridesError("x", 1, 1)
    assert Mark(1, 1) == valid("tools:\n").marks["tools",]


words = st.sampled_from(["tools", "toolsets", "kubernaut", "suppress", "a/b", "config", "url", "enabled", "command"])
bodies = st.recursive(
    st.none() | st.booleans() | words | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(bodies)
def test_no_content_makes_it_fail(body: object) -> None:
    text = repr(body).replace("None", "null").replace("True", "true").replace("False", "false")
    found = read(text, POLICY)
    if isinstance(found, Overrides):
        apply(TOOLS, found)
