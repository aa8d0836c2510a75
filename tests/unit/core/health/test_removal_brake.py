from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolset.core.candidate import Variant
from toolset.core.durations import Duration
from toolset.core.health.options import HealthOptions
from toolset.core.health.removal_brake import FEWEST, Hold, RemovalBrake
from toolset.core.health.thresholds import DEFERRED, Health, Outcome, assumed_up, observe
from toolset.model import Key

HEALTHY, UNHEALTHY = Outcome(alive=True), Outcome(alive=False, detail="answered 503")
PLAIN: Final = Variant("http", 9090, "")
UP: Final = observe(assumed_up(PLAIN), HEALTHY, HealthOptions(), began_s=90.0, now_s=90.0)
"""Probed ten seconds before anything fails, and healthy."""

CONFIRMED: Final = observe(assumed_up(PLAIN), HEALTHY, HealthOptions(), began_s=101.0, now_s=101.0)
"""Probed after the first failure of :func:`lost`, and healthy."""


def lost(fell_s: float = 103.0) -> Health:
    """Return the health of a tool that fell; its first failure was 3 s before."""
    health = UP
    for at_s in (fell_s - 3.0, fell_s - 2.0, fell_s):
        health = observe(health, UNHEALTHY, HealthOptions(), began_s=at_s, now_s=at_s)
    return health


def failing() -> Health:
    return observe(UP, UNHEALTHY, HealthOptions(), began_s=101.0, now_s=101.0)


def healths(**count: int) -> dict[Key, Health]:
    """Return so many tools of each kind."""
    kinds = {"lost": lost(), "failing": failing(), "confirmed": CONFIRMED, "unseen": UP, "down": Health(up=False)}
    return {Key("a", f"{kind}-{number}"): kinds[kind] for kind, many in count.items() for number in range(many)}


def keys(known: Mapping[Key, Health], kind: str) -> frozenset[Key]:
    return frozenset(key for key in known if key.name.startswith(kind))


@pytest.mark.parametrize(
    ("known", "held", "begins"),
    [
        pytest.param(healths(confirmed=3), 0, False, id="nothing is lost"),
        pytest.param(healths(lost=1, confirmed=9), 0, False, id="one of ten"),
        pytest.param(healths(lost=5, confirmed=5), 0, False, id="half is not more than half"),
        pytest.param(healths(lost=6, confirmed=4), 6, True, id="more than half"),
        pytest.param(healths(lost=2), 0, False, id="all, but fewer than three"),
        pytest.param(healths(lost=3), 3, True, id="all of three"),
        pytest.param(healths(lost=1, failing=5, confirmed=4), 1, True, id="the others are on their way"),
        pytest.param(healths(lost=1, failing=4, confirmed=5), 0, False, id="not enough of them are"),
        pytest.param(healths(lost=1, unseen=9), 1, False, id="the others are not probed yet"),
        pytest.param(healths(lost=1, unseen=5, confirmed=4), 1, False, id="they could still be the most"),
        pytest.param(healths(lost=1, unseen=4, confirmed=5), 0, False, id="they could not"),
        pytest.param(healths(lost=3, down=100), 3, True, id="what was never up does not count"),
    ],
)
def test_losses_are_held_when_they_are_or_may_be_the_most(known: dict[Key, Health], held: int, *, begins: bool) -> None:
    hold = RemovalBrake(HealthOptions()).decide(known, 103.0, known)
    assert (len(hold.keys), hold.begins) == (held, begins)
    assert hold.keys <= keys(known, "lost")
    assert (hold.again_s is not None) == bool(held)


def test_a_hold_lasts_two_minutes_and_then_reality_wins() -> None:
    brake, known = RemovalBrake(HealthOptions()), healths(lost=3)
    assert brake.decide(known, 103.0, known) == Hold(frozenset(known), begins=True, known=3, again_s=120.0)
    assert brake.decide(known, 163.0, known) == Hold(frozenset(known), again_s=60.0)
    assert brake.decide(known, 223.0, known) == Hold(ends=True)
    assert brake.decide(known, 224.0, known) == Hold()


def test_what_is_lost_during_a_hold_is_held_as_long_as_the_rest() -> None:
    brake, known = RemovalBrake(HealthOptions()), healths(lost=3)
    brake.decide(known, 103.0, known)
    known[Key("a", "later")] = lost(200.0)
    assert brake.decide(known, 200.0, known) == Hold(frozenset(known), again_s=23.0)
    assert brake.decide(known, 223.0, known).keys == frozenset()


def test_a_service_that_is_gone_is_not_held() -> None:
    brake, known = RemovalBrake(HealthOptions()), healths(lost=4)
    brake.decide(known, 103.0, known)
    del known[Key("a", "lost-0")]
    assert brake.decide(known, 104.0, known).keys == frozenset(known)


def test_a_hold_ends_when_everything_is_back() -> None:
    brake = RemovalBrake(HealthOptions())
    known = healths(lost=3)
    brake.decide(known, 103.0, known)
    known = dict.fromkeys(known, CONFIRMED)
    assert brake.decide(known, 110.0, known) == Hold(ends=True)
    assert brake.decide(known, 111.0, known) == Hold()


def test_what_was_let_go_counts_for_an_interval_with_what_is_lost_after_it() -> None:
    brake, known = RemovalBrake(HealthOptions()), healths(lost=2, confirmed=3)
    assert not brake.decide(known, 103.0, known).keys
    known[Key("a", "later")] = lost(120.0)
    del known[Key("a", "confirmed-0")]
    assert brake.decide(known, 120.0, known).keys == {Key("a", "later")}

    brake, known = RemovalBrake(HealthOptions()), healths(lost=2, confirmed=3)
    brake.decide(known, 103.0, known)
    later = lost(140.0)
    known = {key: health for key, health in known.items() if key.name.startswith("lost")}
    known |= {Key("a", f"new-{number}"): observe(UP, HEALTHY, HealthOptions(), began_s=138.0) for number in range(2)}
    known[Key("a", "later")] = later
    assert not brake.decide(known, 140.0, known).keys


def test_one_that_was_let_go_came_back_and_falls_again_is_a_new_loss() -> None:
    brake, known = RemovalBrake(HealthOptions()), healths(lost=1)
    assert not brake.decide(known, 103.0, known).keys
    known = {Key("a", f"lost-{number}"): lost(300.0) for number in range(3)}
    assert brake.decide(known, 300.0, known).keys == frozenset(known)


def test_a_loss_waits_for_the_others_no_longer_than_a_hold() -> None:
    brake, known = RemovalBrake(HealthOptions()), healths(lost=1, unseen=9)
    assert brake.decide(known, 103.0, known) == Hold(keys(known, "lost"), known=10, again_s=120.0)
    assert brake.waits
    assert brake.decide(known, 222.0, known).again_s == 1.0
    assert brake.decide(known, 223.0, known) == Hold()
    assert not brake.waits


def test_a_backend_that_keeps_others_waiting_is_a_doubt() -> None:
    slow = observe(UP, DEFERRED, HealthOptions(), began_s=101.0)
    known = healths(lost=1) | {Key("a", f"slow-{number}"): slow for number in range(2)}
    assert RemovalBrake(HealthOptions()).decide(known, 103.0, known).begins


def test_without_a_hold_nothing_is_held() -> None:
    known = healths(lost=9)
    assert RemovalBrake(HealthOptions(hold=Duration(0))).decide(known, 103.0, known) == Hold()


def test_what_is_not_published_is_no_loss() -> None:
    known = healths(lost=5, confirmed=4)
    published = keys(known, "confirmed") | {Key("a", "lost-0")}
    assert RemovalBrake(HealthOptions()).decide(known, 103.0, published) == Hold()


def test_what_answers_and_is_not_published_prevents_no_hold() -> None:
    known = healths(lost=3, confirmed=4, unseen=4)
    hold = RemovalBrake(HealthOptions()).decide(known, 103.0, keys(known, "lost"))
    assert hold == Hold(keys(known, "lost"), begins=True, known=3, again_s=120.0)


def test_what_was_let_go_still_counts_once_it_is_not_published_any_more() -> None:
    brake, known = RemovalBrake(HealthOptions()), healths(lost=2, confirmed=3)
    assert not brake.decide(known, 103.0, known).keys
    known[Key("a", "later")] = lost(120.0)
    del known[Key("a", "confirmed-0")]
    published = keys(known, "confirmed") | {Key("a", "later")}
    assert brake.decide(known, 120.0, published).keys == {Key("a", "later")}


@given(
    st.dictionaries(st.sampled_from(["lost", "failing", "confirmed", "unseen", "down"]), st.integers(0, 6)),
    st.lists(st.floats(0, 60), max_size=8),
)
def test_only_what_is_lost_is_held_and_never_for_longer_than_a_hold(count: dict[str, int], steps: list[float]) -> None:
    brake, known, now_s = RemovalBrake(HealthOptions()), healths(**count), 103.0
    for step_s in (0.0, *steps):
        now_s += step_s
        hold = brake.decide(known, now_s, known)
        assert hold.keys <= keys(known, "lost")
        assert not hold.keys or (len(known) >= FEWEST and now_s < 103.0 + 120.0)


def spread(**namespaces: dict[Key, Health]) -> dict[Key, Health]:
    """Return the tools of each namespace."""
    return {
        Key(name.replace("_", "-"), key.name): health
        for name, found in namespaces.items()
        for key, health in found.items()
    }


@pytest.mark.parametrize(
    ("known", "held"),
    [
        pytest.param(
            spread(team=healths(lost=100), victim=healths(confirmed=3)), False, id="a tenant alone triggers nothing"
        ),
        pytest.param(
            spread(
                team=healths(lost=100),
                one=healths(lost=1, confirmed=9),
                two=healths(confirmed=3),
                three=healths(confirmed=3),
            ),
            False,
            id="nor makes one more loss enough",
        ),
        pytest.param(
            spread(team=healths(confirmed=500), one=healths(lost=3), two=healths(lost=3)),
            True,
            id="a tenant with many healthy tools prevents nothing",
        ),
        pytest.param(
            spread(team=healths(unseen=500), one=healths(lost=3, confirmed=5), two=healths(confirmed=3)),
            False,
            id="a tenant that is not probed yet makes no loss wait",
        ),
    ],
)
def test_the_brake_weighs_namespaces_and_not_tools(known: dict[Key, Health], *, held: bool) -> None:
    hold = RemovalBrake(HealthOptions()).decide(known, 103.0, known)
    assert bool(hold.keys) == held
    assert hold.begins == held
