import re
from random import Random
from typing import Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fakes.build import candidate
from toolset.core.dialects.kubernaut import render
from toolset.core.findings import instances
from toolset.core.plan import OVERRIDES_KEY
from toolset.core.verdict import Candidate

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
    return yaml.safe_load(render([tool], {})[f"{tool.type}-toolset.yaml"])["config"]


def test_the_examples_of_the_plan_are_met() -> None:
    tools = instances([candidate("prometheus"), candidate("grafana", tool_type="grafana")])
    documents = render(tools, {"monitoring/grafana": "GRAFANA_API_KEY"})
    assert {key: yaml.safe_load(text) for key, text in documents.items()} == {
        "kubernetes-toolset.yaml": yaml.safe_load(PLAN_KUBERNETES),
        "prometheus-toolset.yaml": yaml.safe_load(PLAN_PROMETHEUS),
        "grafana-toolset.yaml": yaml.safe_load(PLAN_GRAFANA),
    }


def test_kubernetes_is_there_without_any_tool() -> None:
    assert {key: yaml.safe_load(text) for key, text in render([], {}).items()} == {
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
            candidate(tool_type="loki", check="/ready"),
            {"timeout": "30s", "health_path": "/ready", "type": "loki"},
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
        pytest.param(candidate("grafana", tool_type="loki"), id="another type under the name"),
    ],
)
def test_an_api_key_is_referred_to_only_for_the_grafana_that_the_settings_name(tool: Candidate) -> None:
    documents = render([tool], {"monitoring/grafana": "GRAFANA_API_KEY"})
    assert "GRAFANA_API_KEY" not in "".join(documents.values())


def test_two_instances_of_a_type_have_two_keys() -> None:
    """Defect of the original: it gave two Prometheus the same key, and the last one won."""
    tools = instances([candidate("b"), candidate("a", namespace="x"), candidate("c", priority=9)])
    documents = render(tools, {})
    found = {key: yaml.safe_load(text)["config"].get("url") for key, text in documents.items()}
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
    documents = render(instances(tools), {})
    assert len(documents) == len(tools) + 1
    assert OVERRIDES_KEY not in documents
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) for key in documents)
    assert {tool.url for tool in tools} == {
        yaml.safe_load(text)["config"]["url"] for key, text in documents.items() if key != "kubernetes-toolset.yaml"
    }


@given(tools, st.randoms())
def test_the_order_in_which_tools_came_never_changes_a_byte(tools: list[Candidate], random: Random) -> None:
    other = list(tools)
    random.shuffle(other)
    assert list(render(instances(tools), {}).items()) == list(render(instances(other), {}).items())
