"""What one namespace says of its own Services moves no Service of another."""

from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from toolset.core.candidate import Candidate
from toolset.core.inventory import instances
from toolset.core.shares import UNTRUSTED, Shares, in_turn

services = st.builds(
    candidate,
    name=st.sampled_from("abcdef"),
    namespace=st.sampled_from("xyz"),
    tool_type=st.sampled_from(["prometheus", "note"]),
    created=st.sampled_from(["2023", "2024", "2025"]),
    priority=st.integers(-2, 2),
    admin_priority=st.integers(0, 1),
)
"""Of namespace ``x`` all are trusted, of the others none."""
fleets = st.lists(services, unique_by=lambda each: each.key, max_size=14).map(
    lambda found: [msgspec.structs.replace(each, trusted=each.key.namespace == "x") for each in found]
)


@given(fleets, st.randoms())
def test_the_order_depends_on_nothing_but_the_services(fleet: list[Candidate], random: Random) -> None:
    ordered = instances(fleet)
    random.shuffle(fleet)
    assert instances(fleet) == ordered
    assert sorted(each.key for each in ordered) == sorted(each.key for each in fleet)


@given(fleets)
def test_of_a_type_trusted_services_come_first(fleet: list[Candidate]) -> None:
    for kind in ("prometheus", "note"):
        trusted = [each.trusted for each in instances(fleet) if each.type == kind]
        assert trusted == sorted(trusted, reverse=True)


@given(fleets, st.sampled_from("xyz"), st.integers(-999999, 999999))
def test_the_priorities_of_a_namespace_move_no_other(fleet: list[Candidate], namespace: str, priority: int) -> None:
    """The places of the others stay, whatever numbers the annotations of one namespace hold."""
    loud = [
        msgspec.structs.replace(each, priority=priority * n) if each.key.namespace == namespace else each
        for n, each in enumerate(fleet)
    ]
    before, after = instances(fleet), instances(loud)
    assert [each for each in before if each.key.namespace != namespace] == [
        each for each in after if each.key.namespace != namespace
    ]
    assert [each.key.namespace == namespace for each in before] == [each.key.namespace == namespace for each in after]


@given(fleets)
def test_within_a_namespace_the_priority_then_the_age_then_the_name_decides(fleet: list[Candidate]) -> None:
    ordered = [each for each in instances(fleet) if each.key.namespace == "y" and each.type == "note"]
    assert ordered == sorted(ordered, key=lambda each: (-each.admin_priority, -each.priority, each.created, each.key))


@given(fleets)
def test_a_fleet_without_priorities_is_ordered_by_trust_age_and_name(fleet: list[Candidate]) -> None:
    plain = [msgspec.structs.replace(each, priority=0, admin_priority=0) for each in fleet]
    assert instances(plain) == sorted(plain, key=lambda each: (each.type, not each.trusted, each.created, each.key))


@given(fleets)
def test_after_the_trusted_ones_every_namespace_has_its_turn(fleet: list[Candidate]) -> None:
    ordered = in_turn(fleet)
    trusted = [each for each in fleet if each.trusted]
    assert ordered[: len(trusted)] == trusted
    rest = [each.key.namespace for each in ordered[len(trusted) :]]
    for count in range(len(rest)):
        taken = {name: rest[:count].count(name) for name in set(rest)}
        waiting = set(rest[count:])
        assert max(taken.values()) <= 1 + min(taken[name] for name in waiting)


def test_untrusted_namespaces_have_one_account_and_trusted_ones_one_each() -> None:
    shares = Shares({"ops", "monitoring"}.__contains__)
    accounts = [shares.account(name) for name in ("ops", "team-a", "monitoring", "team-b")]
    assert accounts == ["ops", UNTRUSTED, "monitoring", UNTRUSTED]
    assert Shares().account("team-a") == "team-a"
