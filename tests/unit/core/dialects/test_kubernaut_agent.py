import yaml

from support.build import candidate
from toolset.core.candidate import Candidate
from toolset.core.dialects.documents import from_struct
from toolset.core.dialects.kubernaut_agent import DOCUMENT_KEY, document, fault
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import publish

PROMETHEUS = [candidate(name, namespace=name) for name in "ab"]
ALERTMANAGER = candidate("alerts", tool_type="alertmanager", port=9093)


def published(*tools: Candidate, text: str | None = None) -> object:
    found = publish(tools, OutputOptions(dialects=("kubernaut-agent",)), text=text)
    assert [*found.data] == [DOCUMENT_KEY]
    return yaml.safe_load(found.data[DOCUMENT_KEY])


def test_it_names_the_first_backend_of_each_tool_that_the_agent_has() -> None:
    assert published(*PROMETHEUS, ALERTMANAGER, candidate("grafana", tool_type="grafana")) == {
        "integrations": {
            "tools": {
                "alertmanager": {"url": "http://alerts.monitoring.svc.cluster.local:9093"},
                "prometheus": {"url": "http://a.a.svc.cluster.local:9090"},
            }
        }
    }


def test_without_any_tool_it_is_an_empty_map_that_changes_nothing_when_merged() -> None:
    assert published() == {"integrations": {"tools": {}}}


def test_overrides_of_tools_hold_for_it() -> None:
    hidden = published(*PROMETHEUS, text="suppress: [a/a]")
    assert hidden == {"integrations": {"tools": {"prometheus": {"url": "http://b.b.svc.cluster.local:9090"}}}}
    moved = published(PROMETHEUS[0], text="tools: {a/a: {url: 'https://p.example.com'}}")
    assert moved == {"integrations": {"tools": {"prometheus": {"url": "https://p.example.com:443"}}}}


def test_it_has_a_share_of_the_room() -> None:
    options = OutputOptions(dialects=("kubernaut-agent",), limit_kib=1)
    many = [candidate(f"p{number:02}") for number in range(30)]
    found = publish(many, options)
    assert 0 < len(found.tools) < 30
    assert found.bytes <= 1024


def test_what_is_not_such_a_document_is_refused() -> None:
    content = from_struct(document(PROMETHEUS))
    assert fault(content) is None
    assert str(fault({**content, "ai": {}})) == "ai: unknown name; known are integrations"
