import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from toolset.core.dialects.documents import Credentials, Url, to_yaml
from toolset.core.faults import Fault, first_fault
from toolset.core.json_values import Json, leaves, merged

# The test cases of RFC 7386, appendix A: target, patch, result.
RFC_7386 = """\
{"a":"b"} | {"a":"c"} | {"a":"c"}
{"a":"b"} | {"b":"c"} | {"a":"b","b":"c"}
{"a":"b"} | {"a":null} | {}
{"a":"b","b":"c"} | {"a":null} | {"b":"c"}
{"a":["b"]} | {"a":"c"} | {"a":"c"}
{"a":"c"} | {"a":["b"]} | {"a":["b"]}
{"a":{"b":"c"}} | {"a":{"b":"d","c":null}} | {"a":{"b":"d"}}
{"a":[{"b":"c"}]} | {"a":[1]} | {"a":[1]}
["a","b"] | ["c","d"] | ["c","d"]
{"a":"b"} | ["c"] | ["c"]
{"a":"foo"} | null | null
{"a":"foo"} | "bar" | "bar"
{"e":null} | {"a":1} | {"e":null,"a":1}
[1,2] | {"a":"b","c":null} | {"a":"b"}
{} | {"a":{"bb":{"ccc":null}}} | {"a":{"bb":{}}}
"""


@pytest.mark.parametrize("case", RFC_7386.splitlines())
def test_a_merge_patch_does_what_the_standard_shows(case: str) -> None:
    target, patch, result = (json.loads(part) for part in case.split(" | "))
    kept = json.dumps(target), json.dumps(patch)
    assert merged(target, patch) == result
    assert (json.dumps(target), json.dumps(patch)) == kept, "it was changed in place"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(values, values)
def test_a_merge_patch_that_is_applied_twice_changes_nothing_more(target: Json, patch: Json) -> None:
    once = merged(target, patch)
    assert merged(once, patch) == once


@given(st.dictionaries(st.text(max_size=8), values, max_size=4))
def test_yaml_holds_what_was_put_into_it(document: dict[str, Json]) -> None:
    assert yaml.safe_load(to_yaml(document)) == document


def test_yaml_has_no_aliases() -> None:
    shared: Json = {"b": [1]}
    assert to_yaml({"a": shared, "c": shared}) == "a:\n  b:\n  - 1\nc:\n  b:\n  - 1\n"


def test_leaves_are_what_holds_nothing_else() -> None:
    assert list(leaves({"a": {"b": 1}, "c": [True, {}], "d": []})) == [
        (("a", "b"), 1),
        (("c", "0"), True),
        (("c", "1"), {}),
        (("d",), []),
    ]
    assert list(leaves("x", ("y",))) == [(("y",), "x")]


def test_a_fault_names_its_place() -> None:
    assert first_fault({"a": [1, "b"]}, dict[str, list[int]], ("top",)) == Fault(
        ("top", "a", "1"), "expected a whole number, not `b`"
    )
    assert first_fault("a", str) is None
    assert str(Fault(("a", "b"), "no")) == "a > b: no"
    assert str(Fault((), "no")) == "no"


@pytest.mark.parametrize(
    "text", ["http://a", "https://a.b-c.svc:9090/x/y_z~1", "http://[fd00::1]:80", "http://10.0.0.1", "http://A_b"]
)
def test_a_plain_url_is_one(text: str) -> None:
    assert first_fault(text, Url) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "ftp://a",
        "http://a b",
        "http://u:p@a",
        "http://a?b",
        "http://a#b",
        "http://a/{{ env.X }}",
        "http://{{env.x}}.b",
        "http://a\n",
        "http://a:123456",
        "http://a.",
        "http://$(id)",
        "file:///etc/passwd",
    ],
)
def test_what_could_mean_more_is_no_url(text: str) -> None:
    assert first_fault(text, Url) is not None


def test_credentials_name_their_variables() -> None:
    assert Credentials(api_key="A", password="B").variables == {"A", "B"}
    assert Credentials().variables == frozenset()
