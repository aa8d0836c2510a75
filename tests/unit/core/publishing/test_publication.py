import base64
import json
from random import Random
from typing import Any, Final, cast

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from toolset.core.candidate import Candidate, Reason
from toolset.core.dialects.documents import Credentials
from toolset.core.dialects.schema import BaseToolset
from toolset.core.overrides.overrides import NO_OVERRIDES, Overrides, apply
from toolset.core.publishing import budget
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.overrides_source import resumed
from toolset.core.publishing.plan import (
    OVERRIDES_IN_FORCE,
    OVERRIDES_KEPT,
    OVERRIDES_KEY,
    OWNED_LIST_LIMIT_BYTES,
    desired,
)
from toolset.core.publishing.provenance import Field
from toolset.core.publishing.publication import Publication, annotations, foreign_bytes, provenance, publish
from toolset.core.publishing.rendering import cost
from toolset.errors import SettingsError
from toolset.model import ConfigMap, ConfigMapMeta

PREFIX: Final = "kubernaut.io"
HOLMES: Final = "custom_toolset.yaml"
TOOLS: Final = [
    candidate(),
    candidate("b"),
    *(candidate(kind, tool_type=kind) for kind in ("grafana", "jaeger", "note")),
]
UNCAPPED = OutputOptions(max_per_type=0, max_http_tools=0)


def toolsets(published: Publication) -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", yaml.safe_load(published.data[HOLMES])["toolsets"])


def test_both_dialects_are_written_by_default() -> None:
    published = publish(TOOLS, OutputOptions())
    assert set(published.data) == {
        "kubernetes-toolset.yaml",
        "prometheus-toolset.yaml",
        "prometheus.monitoring.prometheus-toolset.yaml",
        "grafana-toolset.yaml",
        "jaeger-toolset.yaml",
        "note-toolset.yaml",
        HOLMES,
    }
    assert len(published.tools) == 5
    assert published.rejected == {}
    assert published.error is None
    assert published.bytes == budget.size(published.data)
    assert not published.is_large


@pytest.mark.parametrize(
    ("dialects", "keys"),
    [
        pytest.param(("kubernaut",), {"kubernetes-toolset.yaml", "prometheus-toolset.yaml"}, id="kubernaut"),
        pytest.param(("holmesgpt",), {HOLMES}, id="holmesgpt"),
        pytest.param(("json",), {"toolset.json"}, id="json"),
    ],
)
def test_the_settings_choose_the_dialects(dialects: tuple[str, ...], keys: set[str]) -> None:
    options = msgspec.convert({"dialects": dialects}, OutputOptions)
    assert set(publish([candidate()], options).data) == keys


def test_an_override_of_a_tool_holds_in_every_dialect() -> None:
    options = OutputOptions(dialects=("kubernaut", "holmesgpt", "json"))
    published = publish([candidate()], options, text="tools: {monitoring/prometheus: {url: http://elsewhere:1}}")
    assert yaml.safe_load(published.data["prometheus-toolset.yaml"])["config"]["url"] == "http://elsewhere:1"
    assert toolsets(published)["prometheus/metrics"]["config"] == {"prometheus_url": "http://elsewhere:1"}
    assert json.loads(published.data["toolset.json"])["tools"][0]["endpoint"] == "http://elsewhere:1"
    assert published.overridden == {candidate().key: ("url",)}


def test_a_tool_costs_in_all_dialects_what_it_costs_in_each() -> None:
    tool, dialects = candidate(), ("kubernaut", "holmesgpt", "json")
    applied = apply([tool], NO_OVERRIDES)
    options = [msgspec.convert({"dialects": names}, OutputOptions) for names in (dialects, *((d,) for d in dialects))]
    together, *alone = (cost(tool, each, applied) for each in options)
    assert together == sum(alone)
    assert min(alone) > 0


def test_what_is_laid_over_a_tool_stands_in_its_documents() -> None:
    text = "tools: {monitoring/prometheus: {kubernaut: {timeout: 60s}, holmesgpt: {verify_ssl: false}}}"
    published = publish([candidate()], OutputOptions(), text=text)
    assert published.error is None
    assert yaml.safe_load(published.data["prometheus-toolset.yaml"])["config"]["timeout"] == "60s"
    assert toolsets(published)["prometheus/metrics"]["config"] == {
        "prometheus_url": candidate().url,
        "verify_ssl": False,
    }


def test_a_hidden_tool_is_in_no_document_and_says_why() -> None:
    options = OutputOptions(dialects=("kubernaut", "holmesgpt", "json"))
    published = publish(TOOLS, options, text="suppress: [monitoring/grafana]")
    assert "grafana.monitoring" not in "".join(published.data.values())
    assert published.rejected[candidate("grafana").key].reason is Reason.SUPPRESSED


def test_an_address_that_is_not_safe_is_left_out_alone() -> None:
    hostile = candidate("evil", host="{{env.openai_api_key}}.evil.example")
    odd = candidate("odd", check="/a#b")
    strange = candidate("strange", namespace="a b")
    published = publish([candidate(), hostile, odd, strange], OutputOptions())
    assert [tool.key for tool in published.tools] == [candidate().key]
    assert {rejected.reason for rejected in published.rejected.values()} == {Reason.BAD_ANNOTATION}
    assert "{{" not in "".join(published.data.values())


VALID: Final = "suppress: [monitoring/grafana]\ntoolsets: {prometheus/metrics: {config: {verify_ssl: false}}}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("suppress: {", 2, id="YAML"),
        pytest.param("\nsupress: []", 2, id="schema"),
        pytest.param("\ntoolsets: {a: {enabled: true, mcp_servers: {}}}", 2, id="unsafe"),
        pytest.param("\n\ntoolsets: {prometheus/metrics: {config: {verify_ssl: 1}}}", 3, id="only once merged"),
        pytest.param("\ntools:\n  monitoring/prometheus: {holmesgpt: {verify_ssl: 1}}", 3, id="of a tool once merged"),
        pytest.param("\nkubernaut:\n  jaeger:\n    config: {url: x}", 4, id="kubernaut once merged"),
        pytest.param(
            "\n\ntoolsets: {grafana/dashboards: {config: {api_key: '{{ env.OPENAI_API_KEY }}'}}}", 3, id="variable"
        ),
    ],
)
def test_overrides_that_are_not_valid_leave_the_last_valid_ones_in_force(text: str, line: int) -> None:
    before = publish(TOOLS, OutputOptions(), text=VALID)
    assert before.error is None
    after = publish(TOOLS, OutputOptions(), last=before.overrides, text=text)
    assert after.error is not None
    assert after.error.line == line
    assert after.data == before.data
    assert after.overrides == before.overrides
    again = publish(TOOLS, OutputOptions(), last=after.overrides, text=text)
    assert again == after


def test_a_field_of_every_instance_is_located_where_it_was_set() -> None:
    text = "toolsets:\n  prometheus/metrics:\n    config: {additional_labels: {a.b: x}}"
    published = publish(TOOLS, OutputOptions(), text=text)
    assert problems(published) == [(3, 34)]
    assert set(toolsets(published)) == set(toolsets(publish(TOOLS, OutputOptions())))


def disabled(published: Publication) -> set[str]:
    return {name for name, block in toolsets(published).items() if not block["enabled"]}


def problems(published: Publication) -> list[tuple[int, int]]:
    return [(problem.line, problem.column) for problem in published.dropped]


def test_a_result_without_any_toolset_disables_what_was_removed() -> None:
    options = OutputOptions(dialects=("holmesgpt",))
    nothing = "toolsets: {kubernetes/core: null, kubernetes/logs: null}"
    published = publish([], options, text=nothing)
    assert "no toolset would be left" in published.overrides_problem
    assert disabled(published) == {"kubernetes/core", "kubernetes/logs"}
    fine = publish([candidate()], options, text=nothing)
    assert fine.overrides_problem == ""
    assert set(toolsets(fine)) == {"prometheus/metrics"}
    kubernaut = publish([], OutputOptions(dialects=("kubernaut",)), text="kubernaut: {kubernetes: null}")
    assert "no document would be left" in kubernaut.overrides_problem
    assert yaml.safe_load(kubernaut.data["kubernetes-toolset.yaml"])["enabled"] is False


PATCHES: Final = """
suppress: [monitoring/grafana]
tools:
  monitoring/b: {holmesgpt: {verify_ssl: false, max_retries: 3}, kubernaut: {timeout: 60s}}
toolsets:
  kubernetes/logs: {enabled: false}
  internet: {enabled: false}
  prometheus/metrics: {enabled: false, config: {query_timeout_seconds_default: 5}}
  note-monitoring-note: {config: {zzz: 1}}
  jaeger-monitoring-jaeger: {enabled: false, config: {zzz: 1}}
  kubernetes/core: null
kubernaut:
  kubernetes: {config: {namespaces: 1}}
  jaeger: {config: {timeout: 60s}}
"""


def test_a_patch_that_does_not_fit_is_dropped_alone() -> None:
    published = publish(TOOLS, OutputOptions(), text=PATCHES)
    assert published.error is None
    assert problems(published) == [(4, 49), (13, 25), (9, 35), (10, 55)]
    assert disabled(published) == {"kubernetes/logs", "internet", "prometheus/metrics", "jaeger-monitoring-jaeger"}
    assert "kubernetes/core" not in toolsets(published)
    config = cast("dict[str, list[dict[str, object]]]", toolsets(published)["prometheus/metrics"]["config"])
    assert [each["query_timeout_seconds_default"] for each in config["instances"]] == [5, 5]
    assert not any("verify_ssl" in each for each in config["instances"])
    assert yaml.safe_load(published.data["jaeger-toolset.yaml"])["config"]["timeout"] == "60s"
    assert published.rejected[candidate("grafana").key].reason is Reason.SUPPRESSED
    assert "max_retries" in published.overrides_problem


def test_a_service_that_comes_brings_back_nothing_that_an_admin_hid() -> None:
    text = "suppress: [monitoring/grafana]\ntoolsets: {kubernetes/logs: {enabled: false}, "
    text += "note-monitoring-note: {config: {zzz: 1}}}"
    before = publish(TOOLS[:3], OutputOptions(), text=text)
    assert before.overrides_problem == ""
    after = publish(TOOLS, OutputOptions(), last=before.overrides, text=text)
    assert problems(after) == [(2, 79)]
    assert disabled(before) == disabled(after) == {"kubernetes/logs"}
    assert after.rejected[candidate("grafana").key].reason is Reason.SUPPRESSED
    assert "note-monitoring-note" in toolsets(after)
    assert publish(TOOLS[:3], OutputOptions(), last=after.overrides, text=text) == before


def test_overrides_may_refer_to_variables_that_the_settings_name() -> None:
    options = OutputOptions(
        credentials={"monitoring/prometheus": Credentials(bearer_token="A")},
        variables=("B",),
        base_toolsets={"robusta": BaseToolset(config={"token": "{{ env.C }}"})},
    )
    for name in "ABC":
        text = f"toolsets: {{x/y: {{enabled: true, config: {{token: '{{{{ env.{name} }}}}'}}}}}}"
        assert publish([], options, text=text).error is None


def test_settings_that_give_no_valid_document_are_an_error_of_the_settings() -> None:
    options = OutputOptions(base_toolsets={"a.b": BaseToolset()})
    with pytest.raises(SettingsError, match=r"settings `output`: toolsets > a\.b: a name has letters"):
        publish([], options)


def test_tools_over_a_limit_say_so() -> None:
    published = publish(
        [candidate(f"p{n}") for n in range(5)] + [candidate(f"l{n}", tool_type="note") for n in range(5)],
        OutputOptions(max_per_type=4, max_http_tools=2),
    )
    assert [tool.key.name for tool in published.tools] == ["l0", "l1", "p0", "p1", "p2", "p3"]
    assert {rejected.reason for rejected in published.rejected.values()} == {Reason.OVER_LIMIT}
    only = OutputOptions(dialects=("kubernaut",), max_http_tools=2)
    assert len(publish([candidate(f"l{n}", tool_type="note") for n in range(5)], only).tools) == 5


def fleet(count: int) -> list[Candidate]:
    return [
        candidate(f"prometheus-{n:04}", namespace=f"tenant-{n % 50}", created=f"2025-01-01T{n // 3600:02}:00:00Z")
        for n in range(count)
    ]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(OutputOptions(), id="default dialects"),
        pytest.param(OutputOptions(dialects=("kubernaut", "holmesgpt", "json")), id="all dialects"),
        pytest.param(OutputOptions(dialects=("json",)), id="json"),
        pytest.param(OutputOptions(max_per_type=500), id="capped"),
    ],
)
def test_5000_services_give_a_valid_config_map_below_the_limit_and_the_rest_is_over_it(options: OutputOptions) -> None:
    tools = fleet(5000)
    published = publish(tools, options)
    assert published.bytes == budget.size(published.data) <= budget.LIMIT_BYTES
    assert len(published.tools) + len(published.rejected) == 5000
    assert {rejected.reason for rejected in published.rejected.values()} == {Reason.OVER_LIMIT}
    listed = desired(published.data, len(published.tools), PREFIX).annotations[f"{PREFIX}/owned-keys"]
    assert len(listed) <= OWNED_LIST_LIMIT_BYTES
    assert publish(tools[::-1], options).data == published.data


def test_what_others_keep_leaves_less_room() -> None:
    tools = fleet(3000)
    alone = publish(tools, UNCAPPED)
    crowded = publish(tools, UNCAPPED, foreign=700 * 1024)
    assert crowded.bytes + 700 * 1024 <= budget.SERVER_LIMIT_BYTES
    assert set(crowded.tools) < set(alone.tools)
    full = publish(tools, UNCAPPED, foreign=budget.SERVER_LIMIT_BYTES)
    assert full.tools == ()
    assert set(full.data) == {"kubernetes-toolset.yaml", HOLMES}


def test_a_large_publication_says_so() -> None:
    assert publish(fleet(2500), UNCAPPED).is_large


def test_what_is_laid_over_a_document_counts_too() -> None:
    note = "x" * 4000
    text = f"toolsets: {{prometheus/metrics: {{description: '{note}', docs_url: '{note}', icon_url: '{note}'}}}}"
    published = publish(fleet(100), OutputOptions(limit_kib=30), text=text)
    assert published.bytes <= 30 * 1024
    assert 0 < len(published.tools) < 100


def test_a_restart_finds_the_overrides_that_were_in_force() -> None:
    before = publish(TOOLS, OutputOptions(), text=VALID)
    assert annotations(before, "me") == {
        "instance": "me",
        "overrides-error": "",
        OVERRIDES_IN_FORCE: "",
        OVERRIDES_KEPT: "",
    }
    after = publish(TOOLS, OutputOptions(), last=before.overrides, text="suppress: {")
    written = desired(after.data, 1, PREFIX, annotations(after)).annotations
    assert written[f"{PREFIX}/overrides-error"].startswith("overrides.yaml, line 2, column 1")
    last = resumed(ConfigMap(ConfigMapMeta(annotations=dict(written))), PREFIX, OutputOptions().policy).overrides
    assert publish(TOOLS, OutputOptions(), last=last, text="suppress: {").data == before.data


def test_overrides_too_large_for_an_annotation_are_not_remembered() -> None:
    large = Overrides(text="#" * 65 * 1024)
    published = publish([], OutputOptions(), last=large, text="{")
    lost = msgspec.structs.replace(published, lost="its ConfigMap was deleted")
    assert annotations(published)[OVERRIDES_IN_FORCE] == ""
    assert annotations(lost)[OVERRIDES_KEPT] == "", "a restart must not take them for empty ones"
    assert annotations(published)["overrides-error"] != ""


def test_it_is_known_of_each_field_where_it_comes_from() -> None:
    text = """
tools: {monitoring/b: {holmesgpt: {verify_ssl: false}}}
toolsets: {grafana/dashboards: {config: {timeout_seconds: 5}}}
kubernaut: {jaeger: null, note: {config: {timeout: 60s}}}
"""
    options = OutputOptions()
    published = publish(TOOLS, options, text=text)
    fields = {(field.document, field.path): field for field in provenance(TOOLS, options, published)}
    instances = ("toolsets", "prometheus/metrics", "config", "instances", "0")
    assert fields[HOLMES, (*instances, "verify_ssl")] == Field(HOLMES, (*instances, "verify_ssl"), False, "overridden")
    assert fields[HOLMES, (*instances, "prometheus_url")].origin == "discovered"
    same = ("toolsets", "grafana/dashboards", "config", "timeout_seconds")
    assert fields[HOLMES, same].origin == "overridden", "the admin set it, to the same value"
    assert fields["jaeger-toolset.yaml", ("config", "url")].origin == "removed"
    assert fields["note-toolset.yaml", ("config", "timeout")] == Field(
        "note-toolset.yaml", ("config", "timeout"), "60s", "overridden"
    )


def test_without_overrides_everything_is_discovered() -> None:
    published = publish(TOOLS, OutputOptions())
    assert {field.origin for field in provenance(TOOLS, OutputOptions(), published)} == {"discovered"}


def test_foreign_is_what_is_not_ours_and_the_overrides() -> None:
    entries = {"a": "12", OVERRIDES_KEY: "12345", "b": "1"}
    assert foreign_bytes(ConfigMap(data=entries), {"a", OVERRIDES_KEY}) == len(OVERRIDES_KEY) + 5 + 2


@given(st.lists(st.sampled_from(TOOLS), unique=True), st.randoms())
def test_a_second_time_gives_the_same_bytes_whatever_the_order(tools: list[Candidate], random: Random) -> None:
    one = publish(tools, OutputOptions(), text=VALID)
    random.shuffle(tools)
    assert publish(tools, OutputOptions(), last=one.overrides, text=VALID) == one


@pytest.mark.parametrize("key", ["prometheus-toolset.yaml", HOLMES])
def test_a_key_that_somebody_keeps_as_binary_data_costs_that_document_alone(key: str) -> None:
    whole = publish(TOOLS, OutputOptions())
    published = publish(TOOLS, OutputOptions(), occupied={key, "logo.png"})
    assert published.blocked == (key,)
    assert published.data == {name: text for name, text in whole.data.items() if name != key}
    assert published.bytes == budget.size(published.data)
    assert key not in desired(published.data, 5, PREFIX).annotations[f"{PREFIX}/owned-keys"].split(",")


def test_binary_data_takes_of_the_room_there_is() -> None:
    many = [candidate(f"p{number}") for number in range(2000)]
    megabyte = ConfigMap(binary_data={"logo.png": base64.b64encode(bytes(2**20 - 300 * budget.KIB)).decode()})
    published = publish(many, OutputOptions(), foreign=foreign_bytes(megabyte, ()))
    assert 0 < len(published.tools) < 2000
    assert published.bytes + foreign_bytes(megabyte, ()) <= budget.SERVER_LIMIT_BYTES


def test_what_is_foreign_is_counted_in_all_of_a_config_map() -> None:
    mine, others = {"a": "1234"}, {"b": "12345678", OVERRIDES_KEY: "xx"}
    cached = ConfigMap(data=mine | others, binary_data={"ccc": base64.b64encode(bytes(100)).decode(), "d": None})
    assert foreign_bytes(cached, {"a"}) == 1 + 8 + len(OVERRIDES_KEY) + 2 + 3 + 100 + 1
    assert foreign_bytes(None, ()) == 0


REFERENCE: Final = "{{ env.TOKEN }}"
OWN_GRAFANA: Final = BaseToolset(config={"api_url": "http://admin.example:1", "api_key": REFERENCE})


def test_discovered_instances_join_a_configured_toolset() -> None:
    options = OutputOptions(base_toolsets={"grafana/dashboards": OWN_GRAFANA})
    alone = publish([candidate()], options)
    assert toolsets(alone)["grafana/dashboards"]["config"] == OWN_GRAFANA.config
    joined = publish(TOOLS, options)
    instances = cast("dict[str, list[dict[str, object]]]", toolsets(joined)["grafana/dashboards"]["config"])[
        "instances"
    ]
    assert instances[0] == {"name": "configured", "api_url": "http://admin.example:1", "api_key": REFERENCE}
    assert instances[1]["api_url"] == "http://grafana.monitoring.svc.cluster.local:3000"
    assert "api_key" not in instances[1]


def test_discovered_instances_join_configured_instances() -> None:
    config = {"verify_ssl": False, "instances": [{"name": "a-b", "prometheus_url": "http://admin.example:1"}]}
    options = OutputOptions(base_toolsets={"prometheus/metrics": BaseToolset(config=config)})
    found = publish([candidate(), candidate("b", namespace="a")], options)
    assert toolsets(found)["prometheus/metrics"]["config"] == {
        "verify_ssl": False,
        "instances": [
            {"name": "a-b", "prometheus_url": "http://admin.example:1"},
            {
                "name": "monitoring-prometheus",
                "prometheus_url": "http://prometheus.monitoring.svc.cluster.local:9090",
            },
        ],
    }
    refused = found.rejected[candidate("b", namespace="a").key]
    assert refused.sentence == "its name is already in use (an instance of prometheus/metrics is configured)"


def test_a_toolset_that_the_settings_disable_stays_disabled() -> None:
    options = OutputOptions(base_toolsets={"prometheus/metrics": BaseToolset(enabled=False)})
    assert toolsets(publish(TOOLS, options))["prometheus/metrics"] == {"enabled": False}


@pytest.mark.parametrize(
    "config",
    [
        {"additional_headers": {"Authorization": REFERENCE}},
        {"instances": [{"name": "a", "prometheus_url": "http://a"}], "additional_headers": {"Authorization": "x"}},
    ],
    ids=["without a URL", "next to instances"],
)
def test_settings_that_give_a_credential_to_any_backend_are_refused(config: dict[str, object]) -> None:
    options = OutputOptions(base_toolsets={"prometheus/metrics": BaseToolset(config=config)})
    with pytest.raises(SettingsError, match=r"settings `output.base_toolsets`: .* every backend of prometheus/metrics"):
        publish([], options)


@pytest.mark.parametrize(
    ("base", "text"),
    [
        pytest.param({"note/monitoring/note": BaseToolset()}, "", id="settings"),
        pytest.param(
            {"internet": BaseToolset()},
            "toolsets: {note-monitoring-note: {type: http, enabled: true, description: x, "
            "config: {endpoints: [{hosts: ['http://a']}]}}}",
            id="overrides",
        ),
    ],
)
def test_a_tool_with_the_name_of_a_configured_toolset_is_rejected_alone(
    base: dict[str, BaseToolset], text: str
) -> None:
    options = OutputOptions(base_toolsets=base)
    before, after = publish(TOOLS[:-1], options, text=text), publish(TOOLS, options, text=text)
    assert after.data == before.data
    assert after.rejected[candidate("note").key].reason is Reason.NAME_TAKEN
    assert after.overrides_problem == ""


def test_a_patch_with_the_name_of_a_configured_toolset_is_dropped_alone() -> None:
    options = OutputOptions(base_toolsets={"note/a": BaseToolset()})
    found = publish([], options, text="toolsets: {internet: {enabled: false}, note-a: {enabled: false}}")
    assert problems(found) == [(1, 40)]
    assert toolsets(found) == {"note/a": {"enabled": True}, "internet": {"enabled": False}}


def test_what_disables_a_toolset_holds_for_every_tool_that_may_have_its_name() -> None:
    """A tenant's Service that would have the same name takes it by its priority."""
    victim = candidate("c", namespace="a-b", tool_type="note")
    attacker = candidate("b-c", namespace="a", tool_type="note", priority=9)
    for name in ("note-a-b-c", "note-a-b-c-291edeb0"):
        for patch in ("{enabled: false}", "null"):
            text = f"toolsets: {{{name}: {patch}}}"
            for tools in ([victim], [attacker, victim]):
                found = toolsets(publish(tools, OutputOptions(), text=text))
                on = [block for block in found.values() if block["enabled"] and "c.a-b.svc" in str(block)]
                assert on == [], (name, patch, tools)


@pytest.mark.parametrize("patch", ["{enabled: false}", "null"])
def test_what_disables_a_type_holds_for_every_instance_of_it(patch: str) -> None:
    """A tenant's Service becomes the first instance by its priority."""
    options = OutputOptions(("kubernaut",))
    found = publish(
        [candidate(priority=9, namespace="tenant"), candidate()], options, text=f"kubernaut: {{prometheus: {patch}}}"
    )
    assert [text for text in found.data.values() if "http://" in text and "enabled: true" in text] == []


def test_a_document_of_the_admin_is_neither_replaced_nor_mixed_with_a_discovered_one() -> None:
    options = OutputOptions(("kubernaut",), {"monitoring/grafana": Credentials(api_key="KEY")})
    text = "kubernaut: {grafana: {config: {url: http://admin.example}}}"
    found = publish([candidate("grafana", tool_type="grafana")], options, text=text)
    assert yaml.safe_load(found.data["grafana-toolset.yaml"])["config"] == {"url": "http://admin.example"}
    moved = yaml.safe_load(found.data["grafana.monitoring.grafana-toolset.yaml"])["config"]
    assert moved == {"url": "http://grafana.monitoring.svc.cluster.local:3000", "apiKey": "${KEY}"}


def test_an_own_url_in_a_patch_leaves_no_credential_of_a_discovered_instance() -> None:
    options = OutputOptions(credentials={"monitoring/prometheus": Credentials(bearer_token="KEY")})
    text = "toolsets: {prometheus/metrics: {config: {prometheus_url: http://admin.example}}}"
    found = toolsets(publish([candidate()], options, text=text))
    assert found["prometheus/metrics"]["config"] == {"prometheus_url": "http://admin.example"}


FOREIGN: Final = "note-toolset.yaml"


def test_a_key_that_somebody_else_owns_is_never_claimed() -> None:
    found = publish(TOOLS, OutputOptions(), taken={FOREIGN, "notes"})
    assert FOREIGN not in found.data
    assert "note.monitoring.note-toolset.yaml" in found.data
    assert found.notes == {
        candidate("note").key: "data key note-toolset.yaml in the ConfigMap is not owned by this service and stays, so "
        "the document of this tool has the key note.monitoring.note-toolset.yaml"
    }
    holmesgpt = publish(TOOLS, OutputOptions(("holmesgpt",)), taken={FOREIGN})
    assert holmesgpt.notes == {}
    assert holmesgpt.rejected == {}


def test_a_tool_without_any_key_of_its_own_is_rejected() -> None:
    found = publish(TOOLS, OutputOptions(), taken={FOREIGN, "note.monitoring.note-toolset.yaml"})
    refused = found.rejected[candidate("note").key]
    assert refused.reason is Reason.NAME_TAKEN
    assert "does not own data key note.monitoring.note-toolset.yaml" in refused.sentence
    assert "note" not in "".join(found.data)


ELSEWHERE: Final = msgspec.structs.replace(candidate(host="evil.example"), external=True)


@pytest.mark.parametrize(
    ("credentials", "text"),
    [
        pytest.param({"monitoring/prometheus": Credentials(bearer_token="KEY")}, "", id="settings"),
        pytest.param(
            {},
            "tools: {monitoring/prometheus: {holmesgpt: {additional_headers: {A: b}}}}",
            id="a header of the overrides",
        ),
        pytest.param({}, "tools: {monitoring/prometheus: {kubernaut: {token: x}}}", id="a token of the overrides"),
    ],
)
def test_no_credential_goes_to_a_host_that_is_not_the_services_own(
    credentials: dict[str, Credentials], text: str
) -> None:
    options = OutputOptions(credentials=credentials)
    found = publish([ELSEWHERE, candidate("b")], options, text=text)
    refused = found.rejected[ELSEWHERE.key]
    assert refused.reason is Reason.EXTERNAL_HOST
    assert "evil.example; to send them there" in refused.sentence
    assert [tool.key.name for tool in found.tools] == ["b"]
    assert publish([ELSEWHERE], OutputOptions()).tools == (ELSEWHERE,)


def test_an_admin_may_send_a_credential_to_any_host() -> None:
    options = OutputOptions(credentials={"monitoring/prometheus": Credentials(bearer_token="KEY")})
    found = publish([ELSEWHERE], options, text="tools: {monitoring/prometheus: {url: 'http://evil.example:9090'}}")
    assert found.rejected == {}
    assert "{{ env.KEY }}" in found.data[HOLMES]


def test_a_patch_that_takes_the_url_away_is_dropped_alone() -> None:
    text = "tools: {monitoring/prometheus: {kubernaut: {url: null}, holmesgpt: {verify_ssl: false}}}"
    found = publish([candidate()], OutputOptions(), text=text)
    assert problems(found) == [(1, 33)]
    assert (
        found.data["prometheus-toolset.yaml"] == publish([candidate()], OutputOptions()).data["prometheus-toolset.yaml"]
    )
    assert "verify_ssl: false" in found.data[HOLMES]
