import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolset.core.candidate import Variant
from toolset.core.health.options import DEFAULT_HEALTH, HealthOptions
from toolset.core.health.thresholds import (
    DEFERRED,
    Failure,
    Health,
    Outcome,
    assumed_up,
    next_probe_s,
    observe,
)
from toolset.core.inventory import ALIVE

HEALTHY, UNHEALTHY = Outcome(alive=True), Outcome(alive=False, detail="answered 503")
DENIED = Outcome(alive=True, status=401, unauthorized=True)
OUTCOMES = {"+": HEALTHY, "-": UNHEALTHY, "d": DENIED}
UNKNOWN = Health()
PLAIN, TLS = Variant("http", 9090, ""), Variant("https", 9090, "")
ASSUMED_UP = assumed_up(PLAIN)


def after(outcomes: str, start: Health = UNKNOWN, options: HealthOptions = DEFAULT_HEALTH) -> Health:
    """Return the health after outcomes such as ``+--``."""
    for sign in outcomes:
        start = observe(start, OUTCOMES[sign], options)
    return start


@pytest.mark.parametrize(
    ("outcomes", "up"),
    [
        pytest.param("", None, id="nothing is known at first"),
        pytest.param("+", True, id="one success makes it up"),
        pytest.param("-", False, id="a first failure makes it down, because it was never up"),
        pytest.param("+--", True, id="two failures do not make it down"),
        pytest.param("+---", False, id="three failures do"),
        pytest.param("+--+--", True, id="failures count in a row only"),
        pytest.param("+---+", True, id="one success brings it back"),
        pytest.param("--+-", True, id="a failure before the first success is forgotten"),
    ],
)
def test_it_rises_at_the_first_success_and_falls_at_the_third_failure(outcomes: str, up: bool | None) -> None:
    assert after(outcomes).up is up


@pytest.mark.parametrize(
    ("outcomes", "up"),
    [
        pytest.param("+", False, id="one success is not enough"),
        pytest.param("++", True, id="two are"),
        pytest.param("+-+", False, id="a failure between starts the count afresh"),
        pytest.param("++-", False, id="one failure is enough"),
    ],
)
def test_thresholds_are_followed(outcomes: str, up: bool) -> None:
    assert after(outcomes, options=HealthOptions(rise=2, fall=1)).up is up


def test_a_tool_that_is_up_stays_up_after_a_success_whatever_the_rise() -> None:
    assert after("+", start=ASSUMED_UP, options=HealthOptions(rise=5)).up is True


def test_a_published_tool_is_not_dropped_on_its_first_failed_probe() -> None:
    """Defect of the original: it dropped a tool on one failed probe."""
    assert after("-", start=ASSUMED_UP).up is True
    assert after("--", start=ASSUMED_UP).up is True
    assert after("---", start=ASSUMED_UP).up is False


def test_what_is_assumed_alive_is_up_at_once_whatever_the_rise() -> None:
    assert observe(Health(), ALIVE, HealthOptions(rise=3)).up is True


def test_the_detail_is_that_of_the_last_failure_and_goes_with_a_success() -> None:
    assert after("+-").detail == "answered 503"
    assert after("+-+").detail == ""


@given(st.text(alphabet="+-", max_size=30), st.integers(1, 5), st.integers(1, 5))
def test_the_state_depends_on_the_last_outcomes_in_a_row(outcomes: str, rise: int, fall: int) -> None:
    health = after(outcomes, options=HealthOptions(rise=rise, fall=fall))
    assert health.successes == len(outcomes) - len(outcomes.rstrip("+"))
    assert health.failures == len(outcomes) - len(outcomes.rstrip("-"))
    if health.successes >= rise:
        assert health.up is True
    if health.failures >= fall:
        assert health.up is False


@pytest.mark.parametrize(
    ("outcomes", "seconds"),
    [
        pytest.param("+", 30.0, id="one that is well"),
        pytest.param("+-", 1.0, id="the first failure"),
        pytest.param("+--", 2.0, id="the second failure"),
        pytest.param("+---", 30.0, id="one that is down"),
        pytest.param("", 30.0, id="one that was never seen"),
    ],
)
def test_a_tool_that_begins_to_fail_is_probed_again_soon(outcomes: str, seconds: float) -> None:
    assert next_probe_s(after(outcomes), 30.0) == seconds


def test_a_candidate_that_was_never_up_is_probed_after_twice_the_time_each() -> None:
    looks = [next_probe_s(after("-" * failures), 30.0) for failures in range(1, 8)]
    assert looks == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_the_wait_for_one_that_was_never_up_stays_a_number_however_often_it_failed() -> None:
    assert next_probe_s(Health(up=False, failures=10_000), 3600.0) == 3600.0


@pytest.mark.parametrize(
    "health",
    [
        pytest.param(Health(up=False, failures=1, identity_mismatch=True), id="something else answered"),
        pytest.param(Health(up=False, successes=1), id="it begins to answer"),
        pytest.param(Health(up=False, failures=4, fell_s=10.0), id="it went down"),
    ],
)
def test_other_candidates_that_are_down_wait_for_the_interval(health: Health) -> None:
    assert next_probe_s(health, 30.0) == 30.0


def test_a_tool_that_is_up_in_spite_of_many_failures_waits_for_the_interval() -> None:
    assert next_probe_s(Health(up=True, failures=3), 30.0) == 30.0


def test_a_second_probe_is_never_later_than_the_interval() -> None:
    assert next_probe_s(after("+--"), 0.5) == 0.5


def test_a_dead_backend_is_down_within_twenty_seconds_of_its_first_failure() -> None:
    first, second = after("+-"), after("+--")
    assert next_probe_s(first, 30.0) + next_probe_s(second, 30.0) + 3 * 5.0 < 20.0
    assert after("+---").up is False


def test_an_outcome_has_one_word() -> None:
    assert (HEALTHY.word, UNHEALTHY.word, DEFERRED.word) == ("alive", "failed", "put_off")
    assert Outcome(alive=False, failure=Failure.TLS).word == "tls"
    assert Outcome(alive=True, unauthorized=True).word == "unauthorized"


def test_a_probe_that_was_deferred_leaves_a_doubt_and_changes_nothing_else() -> None:
    doubted = observe(after("+"), DEFERRED, HealthOptions())
    assert doubted == Health(up=True, successes=1, overdue=True)
    assert doubted.doubtful
    assert not observe(doubted, HEALTHY, HealthOptions()).doubtful
    assert observe(UNKNOWN, DEFERRED, HealthOptions()).up is None


def test_a_fall_remembers_when_the_failures_began_and_when_it_came() -> None:
    health = ASSUMED_UP
    for began_s in (10.0, 20.0, 30.0, 40.0):
        health = observe(health, UNHEALTHY, HealthOptions(), began_s=began_s, now_s=began_s + 5.0)
    assert (health.probed_s, health.began_s, health.fell_s) == (40.0, 10.0, 35.0)
    risen = observe(health, HEALTHY, HealthOptions(), asked=PLAIN, began_s=50.0)
    assert risen == Health(up=True, successes=1, probed_s=50.0, variant=PLAIN)


def test_the_variant_that_answered_is_remembered_through_failures() -> None:
    found = observe(
        UNKNOWN, Outcome(alive=True, variant=TLS, requests=2, how="https after http"), DEFAULT_HEALTH, asked=PLAIN
    )
    assert (found.variant, found.how, found.requests) == (TLS, "https after http", 2)
    again = observe(found, HEALTHY, DEFAULT_HEALTH, asked=TLS)
    assert (again.variant, again.how, again.requests) == (TLS, "https after http", 1)
    failed = after("---", start=again)
    assert (failed.up, failed.variant, failed.how) == (False, TLS, "https after http")
    moved = observe(
        failed, Outcome(alive=True, variant=PLAIN, requests=2, how="http after https"), DEFAULT_HEALTH, asked=TLS
    )
    assert (moved.up, moved.variant, moved.how) == (True, PLAIN, "http after https")


def test_the_first_variant_needs_no_word() -> None:
    found = observe(UNKNOWN, HEALTHY, DEFAULT_HEALTH, asked=PLAIN)
    assert (found.variant, found.how) == (PLAIN, "")


def test_a_backend_keeps_its_name_while_it_asks_for_credentials() -> None:
    named = observe(UNKNOWN, Outcome(alive=True, backend_id="a" * 22), DEFAULT_HEALTH)
    locked = after("ddd", start=named)
    assert (locked.up, locked.unauthorized, locked.backend_id) == (True, True, "a" * 22)
    assert after("-", start=locked).backend_id == "a" * 22
    assert observe(locked, HEALTHY, DEFAULT_HEALTH).backend_id == ""


@pytest.mark.parametrize(
    ("outcomes", "start", "unauthorized"),
    [
        pytest.param("d", UNKNOWN, True, id="one that was never served wants credentials at once"),
        pytest.param("-d", UNKNOWN, True, id="also after failures"),
        pytest.param("+dd", UNKNOWN, False, id="two refusals of one that was served may be a proxy that reloads"),
        pytest.param("+ddd", UNKNOWN, True, id="three are as many as a fall takes"),
        pytest.param("+dd+dd", UNKNOWN, False, id="refusals count in a row"),
        pytest.param("+d-d-d", UNKNOWN, True, id="failures among them change nothing"),
        pytest.param("+ddd+d", UNKNOWN, False, id="one good answer ends it"),
        pytest.param("---d", ASSUMED_UP, True, id="one that is down wants credentials at once"),
        pytest.param("dd", ASSUMED_UP, False, id="what is published stays through two refusals after a restart"),
        pytest.param("ddd", ASSUMED_UP, True, id="and not through three"),
    ],
)
def test_one_refusal_takes_nothing_away(outcomes: str, start: Health, unauthorized: bool) -> None:
    found = after(outcomes, start=start)
    assert (found.up, found.unauthorized, found.denials == 0) == (True, unauthorized, unauthorized)


def test_a_refusal_is_probed_soon_and_a_known_one_at_the_interval() -> None:
    assert [next_probe_s(after(outcomes), 30.0) for outcomes in ("+d", "+dd", "+ddd", "+dddd")] == [
        1.0,
        2.0,
        30.0,
        30.0,
    ]
    assert after("+d").doubtful


def test_what_was_never_up_does_not_fall() -> None:
    assert after("---").fell_s is None
