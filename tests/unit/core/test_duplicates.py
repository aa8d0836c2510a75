"""Which candidates of a namespace and type are of one backend, whatever the order in which they come."""

from collections.abc import Iterable
from itertools import chain

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from toolset.core.candidate import UNKNOWN_BACKEND, Backend, Candidate
from toolset.core.duplicates import (
    CONTAINERS_LIMIT,
    Duplicates,
    SameBackend,
    by_backend,
    containments,
    joined,
    preference,
)

Groups = frozenset[SameBackend]


def behind(
    name: str,
    selector: str,
    port: int | str = 9090,
    *,
    headless: bool = False,
    created: str = "2025-01-01T00:00:00Z",
    installation: str = "",
    part: int = 0,
    governing: bool = False,
) -> Candidate:
    """Return a candidate whose selector has a pair for each letter of ``selector``."""
    pairs = frozenset((letter, letter) for letter in selector)
    backend = Backend(pairs, port, installation, part, governing)
    return candidate(name, backend=backend, headless=headless, created=created)


def grouped(*candidates: Candidate) -> list[str]:
    """Return the names of each backend's members, the preferred one first, and after a ``|`` those of its followers."""
    found = [
        " ".join(each.key.name for each in same.members)
        + ("| " + " ".join(each.key.name for each in same.followers) if same.followers else "")
        for same in by_backend(candidates)
    ]
    return sorted(found)


@pytest.mark.parametrize(
    ("candidates", "backends"),
    [
        pytest.param([behind("a", "x"), behind("b", "x")], ["a b"], id="the same selector"),
        pytest.param([behind("a", "xy"), behind("b", "x")], ["b a"], id="a selector contained in the other"),
        pytest.param([behind("a", "xy"), behind("b", "xz")], ["a", "b"], id="selectors that overlap"),
        pytest.param([behind("a", "x"), behind("b", "y")], ["a", "b"], id="other pods"),
        pytest.param([behind("a", "xyz"), behind("b", "xy"), behind("c", "x")], ["c b a"], id="a chain of three"),
        pytest.param(
            [behind("a", "xy"), behind("b", "xz"), behind("c", "x")], ["c a b"], id="two disjoint below a wide"
        ),
        pytest.param(
            [behind("a", "xyz"), behind("b", "xy"), behind("c", "xz")], ["b c a"], id="two wide above a narrow"
        ),
        pytest.param([behind("a", "x", 9090), behind("b", "x", 9091)], ["a", "b"], id="another number"),
        pytest.param([behind("a", "x", "web"), behind("b", "x", "web")], ["a b"], id="the same name"),
        pytest.param([behind("a", "x", "web"), behind("b", "x", "tls")], ["a", "b"], id="another name"),
        pytest.param([behind("a", "xy", 9090), behind("b", "x", "web")], ["b a"], id="a number and a name"),
        pytest.param(
            [behind("a", "x", 9090), behind("b", "x", "web"), behind("c", "x", 9091)],
            ["a b", "c"],
            id="a name between two numbers is the number of the preferred Service",
        ),
        pytest.param(
            [behind("a", "xy", 9090), behind("b", "x", "web"), behind("c", "xz", 9090)],
            ["b a c"],
            id="a name between two Services with one number",
        ),
        pytest.param(
            [candidate("a", backend=UNKNOWN_BACKEND), candidate("b", backend=UNKNOWN_BACKEND)],
            ["a", "b"],
            id="no selector: nobody knows what is behind them",
        ),
        pytest.param(
            [behind("a", "xy", 80, installation="i"), behind("b", "xz", 8080, installation="i")],
            ["a b"],
            id="parts of one installation, whatever their ports",
        ),
        pytest.param(
            [behind("a", "xy", installation="i"), behind("b", "xz", installation="j")],
            ["a", "b"],
            id="two installations",
        ),
        pytest.param(
            [behind("a", "xy", 80, installation="i"), behind("b", "xy", 81, installation="i")],
            ["a", "b"],
            id="two ports of one part",
        ),
    ],
)
def test_candidates_are_grouped_by_backend(candidates: list[Candidate], backends: list[str]) -> None:
    assert grouped(*candidates) == backends


@pytest.mark.parametrize(
    ("others", "backends"),
    [
        pytest.param([], ["governing"], id="alone"),
        pytest.param([behind("a", "xy", "web")], ["a governing"], id="of one instance"),
        pytest.param([behind("a", "x", "web")], ["a governing"], id="the same selector"),
        pytest.param([behind("a", "xy", 9090)], ["a governing"], id="a port by number"),
        pytest.param(
            [behind("a", "xy", "web"), behind("b", "xz", 9090)], ["a| governing", "b"], id="of two, which stay two"
        ),
        pytest.param([behind("a", "y", "web")], ["a", "governing"], id="next to somebody else's"),
        pytest.param(
            [behind("old", "xy", "web", governing=True, headless=True)], ["governing old"], id="two of one operator"
        ),
    ],
)
def test_a_governing_service_joins_no_instances(others: list[Candidate], backends: list[str]) -> None:
    assert grouped(behind("governing", "x", "web", governing=True, headless=True), *others) == backends


def test_the_preferred_candidate_of_a_backend_is_chosen_in_the_documented_order() -> None:
    ordered = [
        behind("z", "x", installation="i", created="2026"),
        behind("y", "xy", installation="i", created="2024"),
        behind("x", "xyz", installation="i", created="2024"),
        behind("b", "xyz", installation="i", created="2025"),
        behind("c", "xyz", installation="i", created="2025"),
        behind("a", "x", installation="i", part=1, created="2020"),
        behind("governing", "x", governing=True, created="2020"),
        behind("headless", "x", headless=True, created="2020"),
        behind("operated", "x", headless=True, governing=True, created="2020"),
    ]
    turned = ordered[::-1]
    assert sorted(turned, key=preference) == ordered


letters = st.text(alphabet="vwxyz", max_size=4)
candidates = st.builds(
    behind,
    st.text(alphabet="abcdefgh", min_size=1, max_size=2),
    letters,
    st.sampled_from([9090, 9091, "web", "tls"]),
    headless=st.booleans(),
    created=st.sampled_from(["2024", "2025"]),
    installation=st.sampled_from(["", "", "i", "j"]),
    part=st.integers(0, 1),
    governing=st.booleans(),
)
several = st.lists(candidates, max_size=8, unique_by=lambda each: each.key)


def groups_of(candidates: Iterable[Candidate]) -> Groups:
    return frozenset(by_backend(candidates))


@given(several, st.data())
def test_the_order_of_candidates_never_changes_their_backends(candidates: list[Candidate], data: st.DataObject) -> None:
    assert groups_of(candidates) == groups_of(data.draw(st.permutations(candidates)))


@given(several)
def test_each_candidate_is_of_one_backend(candidates: list[Candidate]) -> None:
    found = [each.key for same in by_backend(candidates) for each in same.all]
    assert sorted(found) == sorted(each.key for each in candidates)


@given(several)
def test_the_members_of_a_backend_are_in_the_order_of_preference(candidates: list[Candidate]) -> None:
    for same in by_backend(candidates):
        assert list(same.members) == sorted(same.members, key=preference)


@given(st.lists(candidates, max_size=12), st.lists(st.booleans(), max_size=12))
def test_changes_one_by_one_lead_to_the_same_backends_as_all_at_once(
    changes: list[Candidate], looks: list[bool]
) -> None:
    """A name that comes again is a change of its Service; every third change takes the Service away again."""
    duplicates, now = Duplicates(), dict[str, Candidate]()
    for number, each in enumerate(changes):
        if (before := now.pop(each.key.name, None)) is not None:
            duplicates.remove(before)
        if number % 3 < 2:
            duplicates.put(each)
            now[each.key.name] = each
        if looks[number : number + 1] == [True]:  # what was grouped before must not stay
            assert frozenset(chain.from_iterable(duplicates)) == groups_of(now.values())
    assert frozenset(chain.from_iterable(duplicates)) == groups_of(now.values())
    for same in chain.from_iterable(duplicates):
        assert all(duplicates.of(each) == same in duplicates.near(each) for each in same.all)


def plain(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates as they are with ports by number, of no installation and not governing."""
    return [
        msgspec.structs.replace(each, backend=Backend(each.backend.selector, 9090 if number % 2 else 9091))
        for number, each in enumerate(candidates)
    ]


@given(several.map(plain))
def test_backends_are_what_containment_joins(candidates: list[Candidate]) -> None:
    """The oracle compares each with each, and follows what it finds."""
    left = [each for each in candidates if each.backend.selector]
    expected = {frozenset({each.key}) for each in candidates if not each.backend.selector}
    while left:
        same, grows = [left.pop()], True
        while grows:
            near = [each for each in left if any(_contained(each.backend, other.backend) for other in same)]
            left = [each for each in left if each not in near]
            same, grows = [*same, *near], bool(near)
        expected.add(frozenset(each.key for each in same))
    assert {frozenset(each.key for each in same.all) for same in by_backend(candidates)} == expected


def _contained(one: Backend, other: Backend) -> bool:
    within = one.selector <= other.selector or other.selector <= one.selector
    return within and one.port == other.port


def test_the_work_on_a_hostile_namespace_is_bounded() -> None:
    """All subsets of 16 pairs contain each other: compared pair by pair that would be millions of comparisons."""
    pairs = [(f"k{number}", "v") for number in range(16)]
    selectors = [frozenset(pair for bit, pair in enumerate(pairs) if number >> bit & 1) for number in range(1, 3001)]
    assert sum(1 for _ in containments(selectors)) <= len(selectors) * (CONTAINERS_LIMIT + 1)


def test_containment_is_found_whatever_else_is_in_the_namespace() -> None:
    """A thousand backends with two Services each: no limit leaves any of them out."""
    many = [
        candidate(f"{kind}{number}", backend=Backend(frozenset({("cluster", f"{number}"), *more}), 9200))
        for number in range(1000)
        for kind, more in (("wide", ()), ("narrow", (("set", "data"),)))
    ]
    found = by_backend(many)
    assert len(found) == 1000
    assert all(len(same.members) == 2 and same.members[0].key.name.startswith("wide") for same in found)


@pytest.mark.parametrize(
    ("ids", "backends"),
    [
        pytest.param({}, ["a", "b", "c"], id="nobody says"),
        pytest.param({"a": "1", "b": "2", "c": "3"}, ["a", "b", "c"], id="three clusters"),
        pytest.param({"a": "1", "c": "1"}, ["a c", "b"], id="one cluster behind two Services"),
        pytest.param({"a": "1", "b": "1", "c": "1"}, ["a b c"], id="one cluster behind all"),
    ],
)
def test_services_whose_backend_names_itself_alike_are_of_one_backend(ids: dict[str, str], backends: list[str]) -> None:
    groups = by_backend([behind("c", "z"), behind("b", "y"), behind("a", "x")])
    found = joined(groups, lambda key: ids.get(key.name, ""))
    assert sorted(" ".join(each.key.name for each in same.members) for same in found) == backends


def test_backends_are_joined_across_each_other_with_all_their_services() -> None:
    groups = by_backend([behind("a", "x"), behind("b", "xy"), behind("c", "z"), behind("d", "w")])
    ids = {"a": "1", "c": "1", "b": "2", "d": "2"}
    (found,) = joined(groups, lambda key: ids[key.name])
    assert [each.key.name for each in found.members] == ["a", "c", "d", "b"]


@given(several, st.dictionaries(st.text(alphabet="abcdefgh", min_size=1, max_size=2), st.sampled_from("12")))
def test_joining_backends_loses_no_candidate(candidates: list[Candidate], ids: dict[str, str]) -> None:
    found = joined(by_backend(candidates), lambda key: ids.get(key.name, ""))
    assert sorted(each.key for same in found for each in same.all) == sorted(each.key for each in candidates)
    named = [{ids[each.key.name] for each in same.members if each.key.name in ids} for same in found]
    assert sum(map(len, named)) == len(frozenset[str]().union(*named))
