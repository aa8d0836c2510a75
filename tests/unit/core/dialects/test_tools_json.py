import json

from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from toolset.core.candidate import Candidate
from toolset.core.dialects.documents import from_struct
from toolset.core.dialects.tools_json import document, fault, text
from toolset.core.inventory import instances


def test_it_is_the_list_that_the_original_wrote() -> None:
    assert json.loads(text(from_struct(document([candidate("web", path="/p")])))) == {
        "tools": [
            {
                "name": "web",
                "type": "prometheus",
                "endpoint": "http://web.monitoring.svc.cluster.local:9090/p",
                "description": "Metrics and alerts (Prometheus query API)",
                "namespace": "monitoring",
                "metadata": {"service": "web", "service_port": "9090", "health_path": "/-/healthy"},
            }
        ]
    }


def test_without_any_tool_it_is_an_empty_list() -> None:
    assert json.loads(text(from_struct(document([])))) == {"tools": []}


def test_a_name_that_is_taken_carries_its_namespace() -> None:
    """Defect of the original: two Prometheus had the same name."""
    tools = [candidate("web", namespace="a"), candidate("web", namespace="b"), candidate("web", namespace="c")]
    assert [tool.name for tool in document(tools).tools] == ["web", "web.b", "web.c"]


labels = st.from_regex(r"[a-z]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)


@given(st.lists(st.builds(candidate, name=labels, namespace=labels), unique_by=lambda tool: tool.key))
def test_no_two_tools_share_a_name(tools: list[Candidate]) -> None:
    assert fault(from_struct(document(instances(tools)))) is None


def test_what_is_not_such_a_list_is_refused() -> None:
    entry = from_struct(document([candidate()]))["tools"]
    assert isinstance(entry, list)
    assert str(fault({"tools": [*entry, *entry]})) == "tools: two tools have the same name"
    assert str(fault({"tools": "none"})) == "tools: expected a list such as `[a, b]`, not text"
