import pytest

from toolset.runtime.pacing import Pace, Paces, Pacing

FREE, CALM_S = Pacing().free, Pacing().calm_s


def times(gap_s: float, until_s: float) -> list[float]:
    """Return when something happens that is wanted all the time, with at least ``gap_s`` in between."""
    pace, now_s, found = Pace(), 0.0, list[float]()
    while now_s < until_s:
        found.append(now_s)
        pace = pace.acted(now_s)
        now_s += max(gap_s, pace.wait_s(now_s))
    return found


@pytest.mark.parametrize("gap_s", [0.0, 0.1, 0.5, 1.0, 2.5, 10.0, 29.0])
def test_what_goes_on_happens_ten_times_in_forty_seconds_and_twice_a_minute_after(gap_s: float) -> None:
    found = times(gap_s, 3600.0)
    assert sum(at_s <= 40.0 for at_s in found) <= 10
    if gap_s < 2.5:
        later = [at_s for at_s in found if at_s > 40.0]
        assert max(sum(start <= at_s < start + 60.0 for at_s in later) for start in later) <= 2


def test_the_first_actions_after_a_calm_do_not_wait() -> None:
    pace = Pace()
    for number in range(FREE):
        assert pace.wait_s(number / 10) == 0.0
        pace = pace.acted(number / 10)
    assert pace.wait_s(FREE / 10) == pytest.approx(0.9, abs=0.05)


def test_a_pace_is_calm_after_a_while() -> None:
    pace = Pace()
    assert pace.is_calm(0.0)
    for number in range(100):
        pace = pace.acted(float(number))
    assert pace.wait_s(99.0) == pytest.approx(30.0)
    assert not pace.is_calm(99.0 + 7 * CALM_S)
    assert pace.is_calm(99.0 + 9 * CALM_S)


def test_causes_have_paces_of_their_own() -> None:
    paces: Paces[str] = Paces()
    for number in range(20):
        paces.acted(["a"], float(number))
    assert paces.wait_s("a", 19.0) > 20.0
    assert paces.wait_s("b", 19.0) == 0.0


def test_paces_forget_calm_causes() -> None:
    paces: Paces[int] = Paces()
    for number in range(1000):
        paces.acted([number], float(number))
    assert len(vars(paces)["_paces"]) <= CALM_S + 1
