from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolset.core.faults import Fault, faults, first_fault, nearest
from toolset.core.json_values import Json


class Part(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: Annotated[int, msgspec.Meta(ge=1)] = 1


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    parts: tuple[Part, ...] = ()
    labels: dict[Annotated[str, msgspec.Meta(pattern="^[a-z]+$", description="a small word")], float] = {}
    level: Literal["low", "high"] | None = None
    short: Annotated[str, msgspec.Meta(max_length=3)] = ""
    either: int | str = 0
    flag: bool = False


class Words:
    def __init__(self, text: str) -> None:
        self.text = text

    @staticmethod
    def decode(kind: type[object], value: object) -> object:
        assert kind is Words
        if isinstance(value, str):
            return Words(value)
        raise ValueError("expected words")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param({}, [], id="nothing wrong"),
        pytest.param(
            {"parts": [{"name": "a"}, {"size": 0}]},
            ["parts > 1 > size: expected a whole number of at least 1, not `0`", "parts > 1: `name` is missing"],
            id="two in one part",
        ),
        pytest.param({"partz": []}, ["partz: unknown name; did you mean `parts`?"], id="a name"),
        pytest.param(
            {"labels": {"B": 1, "c": "x"}},
            ["labels > B: expected a small word", "labels > c: expected a number, not `x`"],
            id="keys and values",
        ),
        pytest.param(
            {"level": "HIGH"},
            ["level: expected one of low, high, not `HIGH`; did you mean `high`?"],
            id="a word of some",
        ),
        pytest.param({"level": ["low"]}, ["level: expected one of low, high, not a list"], id="a list for a word"),
        pytest.param({"short": "abcd"}, ["short: expected text of length at most 3"], id="too long"),
        pytest.param({"short": 1}, ["short: expected text, not a number"], id="a number for text"),
        pytest.param({"either": []}, ["either: Expected `int | str`, got `array`"], id="neither of two types"),
        pytest.param({"flag": "y" * 41}, ["flag: expected `true` or `false`, not text"], id="a long value"),
        pytest.param({"flag": None}, ["flag: expected `true` or `false`, not nothing"], id="nothing"),
        pytest.param({"flag": {}}, ["flag: expected `true` or `false`, not a mapping"], id="a mapping"),
        pytest.param({"parts": True}, ["parts: expected a list such as `[a, b]`, not `true` or `false`"], id="no list"),
        pytest.param([], ["expected a mapping such as `{name: value}`, not a list"], id="no mapping"),
    ],
)
def test_every_fault_has_its_innermost_place_and_words_for_people(value: Json, found: list[str]) -> None:
    assert [str(fault) for fault in faults(value, Whole)] == found


def test_a_type_that_allows_other_names_is_judged_by_those_it_knows() -> None:
    class Open(msgspec.Struct):
        size: int = 0

    assert [str(fault) for fault in faults({"size": "x", "more": 1}, Open)] == [
        "size: expected a whole number, not `x`"
    ]


def test_a_decoder_has_words_of_its_own() -> None:
    assert first_fault([1], list[Words], ("top",), decode=Words.decode) == Fault(("top", "0"), "expected words")
    assert first_fault(["a"], list[Words], decode=Words.decode) is None


def test_the_nearest_name_is_proposed_or_all_of_them() -> None:
    assert nearest("tiemout", ["timeout", "interval"]) == "did you mean `timeout`?"
    assert nearest("x", ["timeout", "interval"]) == "known are interval, timeout"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | st.sampled_from(["low", "a", "abcd"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Whole.__struct_fields__, "name", "size", "b"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_there_is_a_fault_exactly_where_the_value_cannot_be_converted(value: Json) -> None:
    found = list(faults(value, Whole))
    try:
        msgspec.convert(value, Whole)
    except msgspec.ValidationError:
        assert found
        assert all(fault.message for fault in found)
    else:
        assert found == []
