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


def test_groups_with_an_account_together_get_about_the_turns_of_one() -> None:
    turns = Turns[str](itemgetter(0), account=lambda group: group if group.isupper() else "together")
    few, many = [f"A{number}" for number in range(10)], [f"{group}{n}" for n in range(10) for group in "bcdefghijk"]
    ordered = order(turns, [*many, *few])
    before_the_last = ordered[: ordered.index("A9")]
    assert sum(key[0] != "A" for key in before_the_last) <= 3 * len(few)
    assert {key[0] for key in before_the_last} == set("Abcdefghijk")


def test_a_group_whose_account_changes_while_it_has_turns_leaves_nothing_behind() -> None:
    accounts = {"a": "together", "b": "together"}
    turns = Turns[str](itemgetter(0), account=accounts.__getitem__)
    first = turns.next("a1")
    accounts["a"] = "a"
    turns.passed(first, "a1")
    assert order(turns, ["b1", "a1", "b2", "a2"]) == ["b1", "a1", "b2", "a2"]
    assert turns.groups == 0
