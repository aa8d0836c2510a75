import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolset.core import globs
from toolset.core.globs import Namespaces, matches_any, matches_glob


@pytest.mark.parametrize(
    ("text", "glob"),
    [
        ("team-a", "team-a"),
        ("", ""),
        ("", "*"),
        ("team-a", "*"),
        ("team-a", "team-*"),
        ("team-", "team-*"),
        ("team-a", "*-a"),
        ("team-a", "t*m*a"),
        ("abab", "ab*ab"),
        ("aXbXc", "a*b*c"),
        ("aa", "*a*a*"),
        ("a", "**a**"),
    ],
)
def test_a_glob_fits(text: str, glob: str) -> None:
    assert matches_glob(text, glob)


@pytest.mark.parametrize(
    ("text", "glob"),
    [
        ("team-a", "team"),
        ("team-a", ""),
        ("team-a", "eam-*"),
        ("team-a", "*-"),
        ("aba", "ab*ba"),
        ("ab", "a*a*b"),
        ("ba", "a*b"),
        ("bab", "*a*a*"),
        ("abc", "*c*b*"),
        ("a", "*a*a"),
    ],
)
def test_each_part_of_a_glob_needs_text_of_its_own_in_order(text: str, glob: str) -> None:
    assert not matches_glob(text, glob)


@given(st.lists(st.text("ab", max_size=3), min_size=2, max_size=4), st.lists(st.text("ab", max_size=3), min_size=4))
def test_a_star_stands_for_any_text(parts: list[str], fillings: list[str]) -> None:
    text = parts[0] + "".join(filling + part for filling, part in zip(fillings, parts[1:], strict=False))
    assert matches_glob(text, "*".join(parts))


def test_any_of_the_globs_may_fit() -> None:
    assert matches_any("b", ["a", "b"])
    assert not matches_any("c", ["a", "b"])
    assert not matches_any("c", [])


def test_excluded_namespaces_are_out_although_they_are_included() -> None:
    namespaces = Namespaces(["team-*"], ["team-b"])
    for _ in range(2):  # the second answer is remembered
        assert [name in namespaces for name in ("team-a", "team-b", "other")] == [True, False, False]


def test_namespaces_are_those_included_and_not_excluded() -> None:
    namespaces = Namespaces(("team-*", "monitoring"), ("*-test",))
    names = ["team-a", "team-test", "monitoring", "default", "team-a"]
    assert [name in namespaces for name in names] == [True, False, True, False, True]


def test_namespaces_remember_a_bounded_number_of_names() -> None:
    namespaces = Namespaces(("*",))
    assert all(f"team-{number}" in namespaces for number in range(3 * globs.REMEMBERED))
    assert namespaces.remembered == globs.REMEMBERED
