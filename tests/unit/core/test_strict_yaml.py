import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from toolset.core.strict_yaml import INTEGER_LIMIT, NODE_LIMIT, Mark, StrictYaml, YamlFault, parse


def test_it_reads_what_json_knows_and_marks_every_part() -> None:
    found = parse("a: 1\nb:\n  - x\n  - {c: true}\nd: 1.5\ne:\nf: 0x1F\n")
    assert isinstance(found, StrictYaml)
    assert found.value == {"a": 1, "b": ["x", {"c": True}], "d": 1.5, "e": None, "f": 31}
    assert found.marks["b", "1", "c"] == Mark(4, 6)
    assert found.marks["d",] == Mark(5, 1)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_nothing_is_none(text: str) -> None:
    found = parse(text)
    assert isinstance(found, StrictYaml)
    assert found.value is None


@pytest.mark.parametrize(
    ("text", "mark", "message"),
    [
        pytest.param("a: 1\na: 2", Mark(2, 1), "`a` is there twice; merge the two", id="a key twice"),
        pytest.param("a: &x 1\nb: *x", Mark(1, 4), "anchors and aliases are not allowed; write it out", id="anchor"),
        pytest.param("a: !!python/name:os.system x", Mark(1, 4), "tags are not allowed", id="tag"),
        pytest.param("a: !!str 1", Mark(1, 4), "tags are not allowed", id="harmless tag"),
        pytest.param("a: 1\n---\nb: 2", Mark(2, 1), "expected one document, there is another", id="two documents"),
        pytest.param("[" * 40, Mark(1, 33), "it is nested more than 32 deep", id="depth"),
        pytest.param(
            "a: 1\nb: " + "[" * 5000,
            Mark(2, 35),
            "it is nested more than 32 deep",
            id="depth beyond what libyaml reads",
        ),
        pytest.param(
            "# " + "[" * 40 + "\n}",
            Mark(2, 1),
            "this is not valid YAML: did not find expected node content",
            id="brackets in a comment",
        ),
        pytest.param(
            "}" + "[" * 40,
            Mark(1, 1),
            "this is not valid YAML: did not find expected node content",
            id="brackets after what is not valid",
        ),
        pytest.param("- " * 5000, Mark(1, 65), "it is nested more than 32 deep", id="depth of a block"),
        pytest.param(
            'a: "' + "[" * 40 + '", b',
            Mark(1, 46),
            "this is not valid YAML: did not find expected key",
            id="brackets in a text that is quoted",
        ),
        pytest.param(
            "a: [" + "b,\n" * NODE_LIMIT + "]",
            Mark(NODE_LIMIT - 2, 1),
            "it has more than 10000 keys and values",
            id="too much",
        ),
        pytest.param("1: 2", Mark(1, 1), "a key must be text; put it into quotes", id="number as key"),
        pytest.param("? [a]\n: 1", Mark(1, 3), "a key must be text; put it into quotes", id="list as key"),
        pytest.param("<<: {a: 1}", Mark(1, 1), "a key must be text; put it into quotes", id="merge key"),
        pytest.param("a: 2024-01-01", Mark(1, 4), "`2024-01-01` is read as a timestamp; put it into quotes", id="date"),
        pytest.param("a: .inf", Mark(1, 4), "`.inf` is read as a float; put it into quotes", id="infinity"),
        pytest.param(
            f"a: {INTEGER_LIMIT + 1}",
            Mark(1, 4),
            "`9007199254740993` is read as a int; put it into quotes",
            id="too large",
        ),
        pytest.param(
            "a: " + "1" * 5000,
            Mark(1, 4),
            "`1111111111111111111111111111111111111111111111111111111111111111` is read as a int; put it into quotes",
            id="more digits than Python reads",
        ),
        pytest.param("a: 0b_", Mark(1, 4), "`0b_` is read as a int; put it into quotes", id="a number without digits"),
        pytest.param("a: =", Mark(1, 4), "`=` is read as a value; put it into quotes", id="value"),
        pytest.param("a:\n\t- b", Mark(2, 1), "a tab is used for indentation; use spaces", id="tab"),
        pytest.param(
            "a: [1,", Mark(2, 1), "this is not valid YAML: did not find expected node content", id="open list"
        ),
        pytest.param("a: 1\nb: \x01", Mark(2, 1), "it holds control characters", id="control"),
        pytest.param("\ud800", Mark(1, 1), "it is not valid Unicode", id="surrogate"),
    ],
)
def test_what_surprises_is_refused_with_its_place(text: str, mark: Mark, message: str) -> None:
    found = parse(text)
    assert isinstance(found, YamlFault)
    assert found.mark == mark
    assert found.message == message


@given(st.text(max_size=60) | st.text(alphabet="{}[]:-&*!|>'\" \n\t#a1", max_size=60))
def test_no_text_makes_it_fail(text: str) -> None:
    found = parse(text)
    assert isinstance(found, StrictYaml | YamlFault)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-INTEGER_LIMIT, INTEGER_LIMIT) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=3))
def test_what_json_can_say_is_read_as_it_is(content: dict[str, object]) -> None:
    found = parse(yaml.safe_dump(content))
    assert isinstance(found, StrictYaml)
    assert found.value == content
