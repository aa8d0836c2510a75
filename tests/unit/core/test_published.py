import pytest

from fakes.build import candidate
from toolset.core.dialects import kubernaut
from toolset.core.published import published_urls
from toolset.model import ConfigMap


def urls(text: str) -> set[str]:
    return set(published_urls(ConfigMap(data={"a.yaml": text}), ["a.yaml"]))


def test_nothing_is_published_without_a_config_map() -> None:
    assert published_urls(None, ["a.yaml"]) == frozenset()


def test_what_the_dialect_writes_is_read_back() -> None:
    tools = [candidate("p"), candidate("q", path="/select/0/prometheus"), candidate("g", tool_type="grafana")]
    documents = kubernaut.render(tools, {"monitoring/g": "GRAFANA_API_KEY"})
    assert published_urls(ConfigMap(data=documents), documents) == {tool.url for tool in tools}


def test_urls_in_keys_that_are_not_ours_do_not_count() -> None:
    stored = ConfigMap(data={"ours.yaml": "url: http://a", "overrides.yaml": "url: http://b"})
    assert published_urls(stored, ["ours.yaml", "missing.yaml"]) == {"http://a"}


def test_urls_are_found_at_any_depth() -> None:
    assert urls("a: [{b: 'https://x:1/p'}, http://y, ftp://z, 3, null]") == {"https://x:1/p", "http://y"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: [", id="not yaml"),
        pytest.param("a: &a [*a]", id="a list in itself"),
        pytest.param("[" * 5000, id="very deep"),
        pytest.param("\x00", id="not text"),
        pytest.param("", id="empty"),
        pytest.param("day: 2024-13-45", id="no such day"),
        pytest.param("a: !!int x", id="not of its type"),
        pytest.param("a: " + "1" * 5000, id="a number too long"),
    ],
)
def test_a_document_that_somebody_spoiled_is_passed_over(text: str) -> None:
    stored = ConfigMap(data={"a.yaml": text, "b.yaml": "url: http://b"})
    assert published_urls(stored, ["a.yaml", "b.yaml"]) == {"http://b"}


def test_aliases_that_multiply_cost_no_time() -> None:
    laughs = ["l0: &l0 [http://x]", *(f"l{n}: &l{n} [{','.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 40))]
    assert urls("\n".join(laughs)) == {"http://x"}
