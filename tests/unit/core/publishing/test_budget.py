from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from toolset.core.candidate import Candidate, Reason
from toolset.core.inventory import instances
from toolset.core.publishing.budget import (
    KIB,
    MARGIN_BYTES,
    SERVER_LIMIT_BYTES,
    Caps,
    allowance,
    size,
    within_bytes,
    within_caps,
)

SHARED = frozenset({"prometheus", "grafana", "elasticsearch"})


def names(tools: tuple[Candidate, ...]) -> list[str]:
    return [tool.key.name for tool in tools]


def test_the_size_is_that_of_keys_and_texts_in_bytes() -> None:
    assert size({"ab": "cd", "ü": "x"}) == 7
    assert size({}) == 0


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        pytest.param(0, 900 * KIB, id="alone"),
        pytest.param(SERVER_LIMIT_BYTES // 2, SERVER_LIMIT_BYTES // 2 - MARGIN_BYTES, id="half is theirs"),
        pytest.param(2 * SERVER_LIMIT_BYTES, 0, id="all is theirs"),
    ],
)
def test_what_others_keep_leaves_less_for_us(foreign: int, ours: int) -> None:
    assert allowance(900 * KIB, foreign) == ours


def test_a_cap_keeps_the_best_of_each_type() -> None:
    tools = instances(
        [
            candidate("a"),
            candidate("b", priority=1),
            candidate("c", created="2024"),
            candidate("g", tool_type="grafana"),
        ]
    )
    cut = within_caps(tools, Caps(per_type=2))
    assert names(cut.kept) == ["g", "b", "c"]
    (dropped,) = cut.dropped.values()
    assert (dropped.reason, dropped.detail) == (Reason.OVER_LIMIT, "output.max_per_type is 2")


def test_a_cap_on_tools_of_a_model_counts_only_types_that_cost_one_each() -> None:
    tools = instances(
        [
            *(candidate(f"p{n}") for n in range(5)),
            *(candidate(f"l{n}", tool_type="loki") for n in range(3)),
            candidate("j", tool_type="jaeger"),
            candidate("t", tool_type="tempo"),
        ]
    )
    cut = within_caps(tools, Caps(single=3, shared=SHARED))
    assert names(cut.kept) == ["j", "l0", "p0", "p1", "p2", "p3", "p4", "t"]
    assert {rejected.detail for rejected in cut.dropped.values()} == {"output.max_http_tools is 3"}


def test_without_caps_everything_stays() -> None:
    tools = instances(candidate(f"l{n}", tool_type="loki") for n in range(300))
    assert within_caps(tools, Caps()).kept == tuple(tools)


def test_what_is_cut_for_bytes_comes_from_the_end_of_one_order() -> None:
    """First of each type, known types before others, then by priority and age."""
    tools = instances(
        [candidate(name, tool_type=name) for name in ("loki", "grafana")]
        + [candidate("p0"), candidate("p1", priority=-1), candidate("z", tool_type="zipkin", priority=9)]
    )
    order = ["grafana", "p0", "z", "loki", "p1"]
    for room in range(6):
        assert set(names(within_bytes(tools, lambda _: (1,), (room,)).kept)) == set(order[:room])


@pytest.mark.parametrize("known", ["prometheus", "grafana", "jaeger", "elasticsearch"])
def test_a_type_that_readers_know_stays_when_a_custom_one_goes(known: str) -> None:
    tools = instances([candidate("k", tool_type=known, priority=-9), candidate("c", tool_type="a", priority=9)])
    assert names(within_bytes(tools, lambda _: (1,), (1,)).kept) == ["k"]


def test_each_of_several_sums_has_its_room() -> None:
    tools = [candidate("a"), candidate("b"), candidate("c")]
    assert names(within_bytes(tools, lambda _: (1, 10), (99, 25)).kept) == ["a", "b"]
    assert names(within_bytes(tools, lambda _: (1, 10), (-1, 99)).kept) == []


many = st.lists(
    st.builds(
        candidate,
        name=st.sampled_from("abcdefgh"),
        namespace=st.sampled_from("xyz"),
        tool_type=st.sampled_from(["prometheus", "grafana", "loki"]),
        priority=st.integers(-1, 1),
    ),
    unique_by=lambda tool: tool.key,
    max_size=20,
)


@given(many, st.randoms(), st.integers(0, 20))
def test_the_cut_does_not_depend_on_the_order_of_events(tools: list[Candidate], random: Random, room: int) -> None:
    one = within_bytes(instances(tools), lambda _: (1,), (room,))
    random.shuffle(tools)
    assert within_bytes(instances(tools), lambda _: (1,), (room,)) == one
    assert len(one.kept) == min(room, len(tools))
    assert {tool.key for tool in one.kept} | one.dropped.keys() == {tool.key for tool in tools}


@given(many, st.integers(0, 20))
def test_one_tool_more_moves_at_most_one_out(tools: list[Candidate], room: int) -> None:
    newcomer = candidate("newcomer", namespace="n", created="2026-01-01T00:00:00Z", priority=-1)
    before = set(within_bytes(instances(tools), lambda _: (1,), (room,)).kept)
    after = set(within_bytes(instances([*tools, newcomer]), lambda _: (1,), (room,)).kept)
    assert len(before - after) <= 1
