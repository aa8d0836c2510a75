import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from toolset.core.candidate import Candidate, Variant
from toolset.core.dialects.texts import Policy
from toolset.core.inventory import instances
from toolset.core.overrides.baseline import NOTHING, Published, read_back
from toolset.core.overrides.overrides import NO_OVERRIDES, Overrides, OverridesError, read
from toolset.core.publishing.options import Dialect, OutputOptions
from toolset.core.publishing.publication import publish
from toolset.model import ConfigMap

TYPES = ("prometheus", "grafana", "jaeger", "elasticsearch", "tasks", "hosts", "paths")
DIALECT_SETS: list[tuple[Dialect, ...]] = [
    ("kubernaut",),
    ("holmesgpt",),
    ("json",),
    ("kubernaut", "holmesgpt"),
    ("kubernaut", "holmesgpt", "json"),
]
MOVED = "tools: {monitoring/q: {url: 'https://elsewhere.example.com/base'}}"


def overrides(text: str) -> Overrides:
    found = read(text, Policy())
    assert not isinstance(found, OverridesError)
    return found


def urls(text: str) -> frozenset[str]:
    return read_back(ConfigMap(data={"a.yaml": text}), ["a.yaml"]).urls


def test_nothing_is_published_without_a_config_map() -> None:
    assert read_back(None, ["a.yaml"]) == NOTHING


@pytest.mark.parametrize("dialect", ["kubernaut", "holmesgpt", "json"])
@pytest.mark.parametrize("text", ["", MOVED], ids=["as discovered", "with an override"])
@pytest.mark.parametrize("tool_type", ["prometheus", "grafana", "jaeger", "elasticsearch", "tasks"])
@pytest.mark.parametrize("path", ["", "/base", "/base/api"])
def test_what_a_dialect_publishes_is_read_back(dialect: Dialect, text: str, tool_type: str, path: str) -> None:
    tools = [candidate(name, tool_type=tool_type, path=path, check="/health") for name in ("p", "q")]
    absent = [candidate("r", tool_type=tool_type, path=path), candidate("p", tool_type=tool_type, path="/other")]
    found = publish(tools, OutputOptions((dialect,)), last=overrides(text) if text else NO_OVERRIDES, text=text)
    published = read_back(ConfigMap(data=dict(found.data)), found.data, found.overrides)
    assert [tool for tool in (*tools, *absent) if published.holds(tool)] == tools


@given(st.data(), st.sampled_from(DIALECT_SETS))
def test_what_any_dialects_publish_of_any_tools_is_read_back(
    data: st.DataObject, dialects: tuple[Dialect, ...]
) -> None:
    tools: list[Candidate] = []
    patches: list[str] = []
    for name in data.draw(st.sets(st.sampled_from(["a", "b", "c", "d", "hosts", "paths", "http"]), max_size=5)):
        path = data.draw(st.sampled_from(["", "/base", "/api", "/base/api", "/base/api/api"]))
        tools.append(candidate(name, tool_type=data.draw(st.sampled_from(TYPES)), path=path, check="/health"))
        url = data.draw(st.sampled_from(["", "https://[fd00::1]:8443/x/api", f"http://{name}.example.com/y"]))
        kind = data.draw(st.sampled_from(["", *TYPES]))
        shown = data.draw(st.sampled_from(["", "enabled: false"]))
        fields = [url and f"url: '{url}'", kind and f"type: {kind}", shown]
        patches.append(f"  monitoring/{name}: {{{', '.join(filter(None, fields))}}}\n")
    text = "tools:\n" + "".join(patches) if patches else ""
    unpublished = [candidate(name, tool_type=data.draw(st.sampled_from(TYPES)), check="/health") for name in "yz"]
    found = publish(instances(tools), OutputOptions(dialects), text=text)
    assert found.error is None
    published = read_back(ConfigMap(data=dict(found.data)), found.data, found.overrides)

    assert {tool.key for tool in tools + unpublished if published.holds(tool)} == {tool.key for tool in found.tools}


@pytest.mark.parametrize(
    ("dialect", "patch"),
    [("holmesgpt", "holmesgpt: {prometheus_url: 'http://x:1'}"), ("kubernaut", "kubernaut: {url: 'http://x:1'}")],
)
def test_a_tool_whose_url_an_admin_laid_over_its_document_is_read_back(dialect: Dialect, patch: str) -> None:
    tools = [candidate(name, tool_type="prometheus") for name in ("p", "q")]
    found = publish(tools[:1], OutputOptions((dialect,)), text=f"tools: {{monitoring/p: {{{patch}}}}}")
    published = read_back(ConfigMap(data=dict(found.data)), found.data, found.overrides)
    assert [tool for tool in tools if published.holds(tool)] == tools[:1]


def test_a_tool_is_read_back_when_overrides_that_move_or_hide_it_came_while_nobody_wrote() -> None:
    tool = candidate("q")
    found = publish([tool], OutputOptions(("kubernaut",)))
    for text in (MOVED, "suppress: [monitoring/q]"):
        assert read_back(ConfigMap(data=dict(found.data)), found.data, overrides(text)).holds(tool)


def test_where_it_is_remembered_what_is_published_only_a_tool_that_moves_is_waited_for() -> None:
    stays, moves, comes = candidate("stays"), candidate("moves", path="/new"), candidate("comes")
    known = Published(tools={stays.key: stays.url, moves.key: candidate("moves").url})
    tools = (stays, moves, comes)
    assert [tool for tool in tools if known.holds(tool)] == [stays]
    assert [tool for tool in tools if known.awaits(tool)] == [moves]
    assert [tool for tool in tools if NOTHING.awaits(tool)] == [*tools], "where nobody remembers it may be any"


def test_a_url_to_which_an_admin_moved_another_tool_does_not_count_where_it_is_remembered() -> None:
    moved, there = candidate("moved"), candidate("there")
    text = f"tools: {{{moved.key}: {{url: '{there.url}'}}}}"
    found = publish([moved], OutputOptions(("kubernaut",)), text=text)
    assert there.url in str(found.data)
    assert not Published(tools={moved.key: moved.url}).holds(there)


def test_the_paths_of_an_endpoint_are_below_its_own_hosts_only() -> None:
    endpoints = [
        f"{{hosts: ['http://{name}:1', 'http://{name}:2'], paths: ['/{name}/*'], methods: [GET]}}" for name in "ab"
    ]
    found = urls(f"endpoints: [{', '.join(endpoints)}]")
    assert found == {f"http://{name}:{port}{path}" for name in "ab" for port in (1, 2) for path in ("", f"/{name}")}


def test_urls_in_keys_that_are_not_ours_do_not_count() -> None:
    stored = ConfigMap(data={"ours.yaml": "url: http://a", "overrides.yaml": "url: http://b"})
    assert read_back(stored, ["ours.yaml", "missing.yaml"]).urls == {"http://a"}


def test_urls_are_found_at_any_depth() -> None:
    assert urls("a: [{b: 'https://x:1/p'}, http://y, ftp://z, 3, null]") == {"https://x:1/p", "http://y"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: [", id="not yaml"),
        pytest.param("a: &a [*a]", id="a list in itself"),
        pytest.param("[" * 500 + "]" * 500, id="deep"),
        pytest.param("[" * 100_000 + "]" * 100_000, id="very deep"),
        pytest.param("- " * 5000 + "x", id="a deep block"),
        pytest.param("\ud800", id="half of a character"),
        pytest.param("\x00", id="not text"),
        pytest.param("", id="empty"),
        pytest.param("day: 2024-13-45", id="no such day"),
        pytest.param("a: !!int x", id="not of its type"),
        pytest.param("a: " + "1" * 5000, id="a number too long"),
    ],
)
def test_a_document_that_somebody_spoiled_is_passed_over(text: str) -> None:
    stored = ConfigMap(data={"a.yaml": text, "b.yaml": "url: http://b"})
    assert read_back(stored, ["a.yaml", "b.yaml"]).urls == {"http://b"}


def test_only_collections_that_are_open_count_as_depth() -> None:
    beside = "a: [" + "[], " * 100
    assert urls(f"{beside}{'[' * 30}'http://x'{']' * 30}]") == {"http://x"}
    assert urls(f"{beside}{'[' * 31}'http://x'{']' * 31}]") == set()


def test_aliases_that_multiply_cost_no_time() -> None:
    laughs = ["l0: &l0 [http://x]", *(f"l{n}: &l{n} [{','.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 40))]
    assert urls("\n".join(laughs)) == {"http://x"}


@pytest.mark.parametrize("dialects", DIALECT_SETS)
@pytest.mark.parametrize("tool_type", ["prometheus", "grafana", "jaeger", "elasticsearch", "tempo"])
def test_the_variant_that_is_published_is_read_back(dialects: tuple[Dialect, ...], tool_type: str) -> None:
    found = candidate("p", tool_type=tool_type, check="/health")
    ways = [Variant(scheme, found.port, path) for path in ("", "/base") for scheme in ("http", "https")]
    whole = msgspec.structs.replace(found, alternatives=tuple(ways[1:2]), fallbacks=tuple(ways[2:]))
    for way in ways:
        published = publish([whole.at(way)], OutputOptions(dialects))
        stored = read_back(ConfigMap(data=dict(published.data)), published.data)
        assert stored.variant(whole) == way
        assert Published(tools={whole.key: whole.at(way).url}).variant(whole) == way
    assert NOTHING.variant(whole) is None


def test_a_url_that_an_override_sets_is_that_of_the_first_variant() -> None:
    whole = msgspec.structs.replace(candidate("q"), fallbacks=(Variant("https", 9090, ""),))
    published = publish([whole], OutputOptions(), text=MOVED)
    stored = read_back(ConfigMap(data=dict(published.data)), published.data, published.overrides)
    assert stored.variant(whole) == whole.variant
