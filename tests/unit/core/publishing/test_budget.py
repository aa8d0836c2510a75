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

SHARED = {"prometheus": ("prometheus/metrics",), "grafana": ("grafana/dashboards",), "elasticsearch": ("a", "b")}


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
            *(candidate(f"l{n}", tool_type="note") for n in range(3)),
            candidate("j", tool_type="jaeger"),
            candidate("t", tool_type="tasks"),
        ]
    )
    cut = within_caps(tools, Caps(single=3, shared=SHARED))
    assert names(cut.kept) == ["j", "l0", "p0", "p1", "p2", "p3", "p4", "t"]
    assert {rejected.detail for rejected in cut.dropped.values()} == {"output.max_http_tools is 3"}


def test_without_caps_everything_stays() -> None:
    tools = instances(candidate(f"l{n}", tool_type="note") for n in range(300))
    assert within_caps(tools, Caps()).kept == tuple(tools)


def test_what_is_cut_for_bytes_comes_from_the_end_of_one_order() -> None:
    """First of each type, known types before others, then by priority and age."""
    tools = instances(
        [candidate(name, tool_type=name) for name in ("note", "grafana")]
        + [candidate("p0"), candidate("p1", priority=-1), candidate("z", tool_type="zigzag", priority=9)]
    )
    order = ["grafana", "p0", "z", "note", "p1"]
    for room in range(6):
        assert set(names(within_bytes(tools, lambda _: 1, room, room).kept)) == set(order[:room])


@pytest.mark.parametrize("known", ["prometheus", "grafana", "jaeger", "elasticsearch"])
def test_a_type_that_readers_know_stays_when_a_custom_one_goes(known: str) -> None:
    tools = instances([candidate("k", tool_type=known, priority=-9), candidate("c", tool_type="a", priority=9)])
    assert names(within_bytes(tools, lambda _: 1, 1, 1).kept) == ["k"]


def test_untrusted_tools_take_turns_in_what_trusted_ones_leave() -> None:
    trusted = [candidate(f"t{n}", namespace="ops") for n in range(3)]
    crowd = [candidate(f"c{n}", namespace="crowd", created="2023", trusted=False, priority=9) for n in range(9)]
    quiet = [candidate(f"q{n}", namespace="quiet", tool_type="note", trusted=False) for n in range(2)]
    tools = instances([*crowd, *quiet, *trusted])
    order = ["t0", "t1", "t2", "c0", "q0", "c1", "q1", "c2", "c3"]
    for room in range(9):
        assert set(names(within_bytes(tools, lambda _: 1, room, room).kept)) == set(order[:room])
    assert set(names(within_bytes(tools, lambda _: 1, 9, 5).kept)) == set(order[:5])
    capped = within_caps(tools, Caps(single=1, per_type=5, shared=SHARED))
    assert set(names(capped.kept)) == {"t0", "t1", "t2", "c0", "q0", "c1"}


def test_one_untrusted_namespace_has_a_limit_of_its_own() -> None:
    crowd = [candidate(f"c{n}", namespace="crowd", trusted=False) for n in range(5)]
    tools = instances(
        [*crowd, candidate("q", namespace="quiet", trusted=False), *(candidate(f"t{n}") for n in range(5))]
    )
    cut = within_caps(tools, Caps(per_untrusted=2))
    assert names(cut.kept) == ["t0", "t1", "t2", "t3", "t4", "c0", "c1", "q"]
    assert {rejected.detail for rejected in cut.dropped.values()} == {
        "discovery.untrusted_limit is 2 for each untrusted namespace"
    }


@pytest.mark.parametrize("caps", [Caps(untrusted={"prometheus": 1}), Caps(per_type=1)], ids=["untrusted", "per type"])
def test_a_newcomer_takes_no_place_of_an_older_tool_that_is_the_first_of_its_type_in_its_namespace(caps: Caps) -> None:
    victims = [
        candidate("g", namespace="victim", tool_type="grafana", created="2024-01-01", trusted=False),
        candidate("p", namespace="victim", created="2024-01-02", trusted=False),
    ]
    evil = [candidate(f"e{n}", namespace=f"evil-{n}", created="2026-01-01", trusted=False) for n in range(5)]
    assert set(victims) <= set(within_caps(instances([*victims, *evil]), caps).kept)


def test_untrusted_instances_of_a_type_are_no_more_than_the_reader_survives() -> None:
    untrusted = [candidate("u", namespace=f"team-{n}", trusted=False) for n in range(3)]
    tools = instances([*untrusted, *(candidate(f"t{n}") for n in range(3))])
    cut = within_caps(tools, Caps(shared=SHARED, untrusted={"prometheus/metrics": 1}))
    assert [str(tool.key) for tool in cut.kept] == ["monitoring/t0", "monitoring/t1", "monitoring/t2", "team-0/u"]
    assert {rejected.detail for rejected in cut.dropped.values()} == {
        "HolmesGPT survives 1 prometheus of untrusted namespaces, should they all hang"
    }


many = st.lists(
    st.builds(
        candidate,
        name=st.sampled_from("abcdefgh"),
        namespace=st.sampled_from("xyz"),
        tool_type=st.sampled_from(["prometheus", "grafana", "note"]),
        priority=st.integers(-1, 1),
        admin_priority=st.integers(0, 1),
        trusted=st.booleans(),
    ),
    unique_by=lambda tool: tool.key,
    max_size=20,
)


@given(many, st.randoms(), st.integers(0, 20))
def test_the_cut_does_not_depend_on_the_order_of_events(tools: list[Candidate], random: Random, room: int) -> None:
    one = within_bytes(instances(tools), lambda _: 1, room, room)
    random.shuffle(tools)
    assert within_bytes(instances(tools), lambda _: 1, room, room) == one
    assert len(one.kept) == min(room, len(tools))
    assert {tool.key for tool in one.kept} | one.dropped.keys() == {tool.key for tool in tools}


@given(many, st.integers(0, 20))
def test_one_tool_more_moves_at_most_one_out(tools: list[Candidate], room: int) -> None:
    newcomer = candidate("newcomer", namespace="n", created="2026-01-01T00:00:00Z", priority=-1)
    before = set(within_bytes(instances(tools), lambda _: 1, room, room).kept)
    after = set(within_bytes(instances([*tools, newcomer]), lambda _: 1, room, room).kept)
    assert len(before - after) <= 1
