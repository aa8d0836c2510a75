from operator import itemgetter

from toolset.runtime.turns import Turns


def order(turns: Turns[str], keys: list[str]) -> list[str]:
    """Return ``keys`` in the order of their turns, the first of one turn first."""
    ranked = sorted(((turns.next(key), place, key) for place, key in enumerate(keys)))
    for turn, _, key in ranked:
        turns.passed(turn, key)
    return [key for _, _, key in ranked]


def test_a_group_of_many_delays_no_other() -> None:
    turns = Turns[str](itemgetter(0))
    assert order(turns, ["a1", "a2", "a3", "b1", "c1", "b2"]) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_group_that_comes_later_neither_waits_for_the_past_nor_overtakes_more_than_a_turn() -> None:
    turns = Turns[str](itemgetter(0))
    order(turns, [f"a{number}" for number in range(10)])
    assert order(turns, ["a1", "a2", "b1", "b2"]) == ["a1", "b1", "a2", "b2"]
