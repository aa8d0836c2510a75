import re
from random import Random
from typing import Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from support.rendering import kubernaut
from toolset.core.candidate import Candidate
from toolset.core.dialects.documents import Credentials
from toolset.core.dialects.kubernaut import documents, fault
from toolset.core.dialects.kubernaut_patches import patched
from toolset.core.dialects.texts import Policy
from toolset.core.inventory import instances
from toolset.core.json_values import Document, Json
from toolset.core.publishing.plan import OVERRIDES_KEY

# The three examples of the implementation plan, sections "Builder", "Prometheus" and "Grafana Toolset Generator".
PLAN_KUBERNETES: Final = """\
toolset: kubernetes
enabled: true
config:
  incluster: true
  namespaces: ["*"]
"""
PLAN_PROMETHEUS: Final = """\
toolset: prometheus
enabled: true
config:
  url: "http://prometheus.monitoring.svc.cluster.local:9090"
  timeout: "30s"
  # Prometheus API queries will target this endpoint
  # Example queries: up{}, rate(http_requests_total[5m])
"""
PLAN_GRAFANA: Final = """\
toolset: grafana
enabled: true
config:
  url: "http://grafana.monitoring.svc.cluster.local:3000"
  apiKey: "${GRAFANA_API_KEY}"  # From Kubernetes Secret
  # Grafana API access for dashboard and panel queries
  # Requires GRAFANA_API_KEY environment variable
"""


def config(tool: Candidate) -> object:
    return yaml.safe_load(kubernaut([tool])[f"{tool.type}-toolset.yaml"])["config"]


def test_the_examples_of_the_plan_are_met() -> None:
    tools = instances([candidate("prometheus"), candidate("grafana", tool_type="grafana")])
    texts = kubernaut(tools, {"monitoring/grafana": Credentials(api_key="GRAFANA_API_KEY")})
    assert {key: yaml.safe_load(text) for key, text in texts.items()} == {
        "kubernetes-toolset.yaml": yaml.safe_load(PLAN_KUBERNETES),
        "prometheus-toolset.yaml": yaml.safe_load(PLAN_PROMETHEUS),
        "grafana-toolset.yaml": yaml.safe_load(PLAN_GRAFANA),
    }


def test_kubernetes_is_there_without_any_tool() -> None:
    assert {key: yaml.safe_load(text) for key, text in kubernaut([]).items()} == {
        "kubernetes-toolset.yaml": yaml.safe_load(PLAN_KUBERNETES)
    }


@pytest.mark.parametrize(
    ("tool", "more"),
    [
        pytest.param(candidate(), {"timeout": "30s"}, id="prometheus"),
        pytest.param(candidate(tool_type="grafana"), {"timeout": "30s"}, id="grafana without a key"),
        pytest.param(candidate(tool_type="jaeger"), {"timeout": "30s", "query_endpoint": "/api/traces"}, id="jaeger"),
        pytest.param(
            candidate(tool_type="elasticsearch"),
            {"timeout": "30s", "health_endpoint": "/_cluster/health"},
            id="elasticsearch",
        ),
        pytest.param(
            candidate(tool_type="note", check="/ready"),
            {"timeout": "30s", "health_path": "/ready", "type": "note"},
            id="custom",
        ),
    ],
)
def test_each_type_has_what_its_reader_needs(tool: Candidate, more: dict[str, str]) -> None:
    assert config(tool) == {"url": tool.url} | more


@pytest.mark.parametrize(
    "tool",
    [
        pytest.param(candidate("grafana", tool_type="grafana", namespace="tenant"), id="another grafana"),
        pytest.param(candidate("grafana", tool_type="note"), id="another type under the name"),
    ],
)
def test_an_api_key_is_referred_to_only_for_the_grafana_that_the_settings_name(tool: Candidate) -> None:
    texts = kubernaut([tool], {"monitoring/grafana": Credentials(api_key="GRAFANA_API_KEY")})
    assert "GRAFANA_API_KEY" not in "".join(texts.values())


def test_two_instances_of_a_type_have_two_keys() -> None:
    """Defect of the original: it gave two Prometheus the same key, and the last one won."""
    tools = instances([candidate("b"), candidate("a", namespace="x"), candidate("c", priority=9)])
    texts = kubernaut(tools)
    found = {key: yaml.safe_load(text)["config"].get("url") for key, text in texts.items()}
    assert found == {
        "kubernetes-toolset.yaml": None,
        "prometheus-toolset.yaml": "http://c.monitoring.svc.cluster.local:9090",
        "prometheus.monitoring.b-toolset.yaml": "http://b.monitoring.svc.cluster.local:9090",
        "prometheus.x.a-toolset.yaml": "http://a.x.svc.cluster.local:9090",
    }


labels = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
tools = st.lists(
    st.builds(
        candidate,
        name=labels | st.sampled_from(["a", "a-b", "toolset"]),
        namespace=labels | st.sampled_from(["a", "b-a", "prometheus"]),
        tool_type=(labels | st.sampled_from(["prometheus", "a", "a-b", "overrides"])).filter("kubernetes".__ne__),
        priority=st.integers(-2, 2),
    ),
    unique_by=lambda tool: tool.key,
    max_size=12,
)


@given(tools)
def test_no_two_services_share_a_key(tools: list[Candidate]) -> None:
    texts = kubernaut(instances(tools))
    assert len(texts) == len(tools) + 1
    assert OVERRIDES_KEY not in texts
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) for key in texts)
    assert {tool.url for tool in tools} == {
        yaml.safe_load(text)["config"]["url"] for key, text in texts.items() if key != "kubernetes-toolset.yaml"
    }


@given(tools, st.randoms())
def test_the_order_in_which_tools_came_never_changes_a_byte(tools: list[Candidate], random: Random) -> None:
    other = list(tools)
    random.shuffle(other)
    assert list(kubernaut(instances(tools)).items()) == list(kubernaut(instances(other)).items())


KUBERNAUT_DOCUMENTS: Final = documents([candidate(), candidate("b")], {})
FIRST: Final[Document] = KUBERNAUT_DOCUMENTS["prometheus"]


@pytest.mark.parametrize(
    ("name", "patch", "expected"),
    [
        pytest.param("prometheus", None, None, id="null removes"),
        pytest.param("prometheus", {"enabled": False}, FIRST | {"enabled": False}, id="disabled"),
        pytest.param(
            "extra",
            {"config": {"url": "http://a"}},
            {"toolset": "extra", "enabled": True, "config": {"url": "http://a"}},
            id="a new name adds",
        ),
        pytest.param("grafana", {"config": {"timeout": "60s"}}, None, id="refining waits"),
        pytest.param("grafana", "off", None, id="no map"),
        pytest.param("gone", None, None, id="nothing to remove"),
    ],
)
def test_a_patch_of_a_document(name: str, patch: Json, expected: Json) -> None:
    assert patched(KUBERNAUT_DOCUMENTS, {name: patch}, Policy()).documents.get(name) == expected


def test_the_kubernetes_document_can_be_changed() -> None:
    found = patched(KUBERNAUT_DOCUMENTS, {"kubernetes": {"config": {"namespaces": ["a"]}}}, Policy()).documents[
        "kubernetes"
    ]
    assert found["config"] == {"incluster": True, "namespaces": ["a"]}
    assert fault("kubernetes", found, Policy()) is None
    disabled = patched({}, {"kubernetes": {"enabled": False}}, Policy()).documents
    assert disabled == {"kubernetes": {"toolset": "kubernetes", "enabled": False}}


def test_what_is_laid_over_one_tool_stands_in_its_document_alone() -> None:
    found = documents([candidate(), candidate("b")], {}, {candidate("b").key: {"timeout": "60s", "more": 1}})
    assert found["prometheus"] == FIRST
    assert found["prometheus.monitoring.b"]["config"] == {
        "url": "http://b.monitoring.svc.cluster.local:9090",
        "timeout": "60s",
        "more": 1,
    }


@pytest.mark.parametrize(
    ("name", "document"),
    [
        pytest.param("Upper", FIRST, id="name"),
        pytest.param("a", FIRST | {"more": 1}, id="unknown key"),
        pytest.param("a", FIRST | {"enabled": "yes"}, id="type"),
        pytest.param("a", FIRST | {"config": {}}, id="no URL"),
        pytest.param("a", FIRST | {"config": {"url": "http://user:password@a"}}, id="user in the URL"),
        pytest.param("a", FIRST | {"config": {"url": "http://a", "x": "${HOME}"}}, id="variable of nobody"),
        pytest.param("a", FIRST | {"config": {"url": "http://a", "x": None}}, id="null"),
        pytest.param("kubernetes", FIRST | {"config": {"namespaces": 1}}, id="kubernetes"),
    ],
)
def test_a_document_that_its_reader_could_not_use_is_refused(name: str, document: Document) -> None:
    problem = fault(name, document, Policy())
    assert problem is not None
    assert problem.path[0] == name


@given(tools)
def test_every_document_is_accepted_by_its_own_check(found: list[Candidate]) -> None:
    for name, document in documents(instances(found), {}).items():
        assert fault(name, document, Policy()) is None


def test_a_fault_names_the_document_and_what_is_wrong() -> None:
    message = "Upper: a name has at most 200 lower-case letters, digits, dots and -"
    assert str(fault("Upper", FIRST, Policy())) == message
    assert (
        str(fault("a", FIRST | {"more": 1}, Policy())) == "a > more: unknown name; known are config, enabled, toolset"
    )


@pytest.mark.parametrize(("length", "valid"), [(1, True), (200, True), (201, False)])
def test_a_document_has_a_name_of_200_characters_at_most(length: int, *, valid: bool) -> None:
    assert (fault("a" * length, FIRST, Policy()) is None) is valid
