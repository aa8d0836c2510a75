from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from toolset.core.candidate import Candidate, Variant
from toolset.core.health.options import HealthOptions
from toolset.core.health.search import Search, to_request
from toolset.core.health.thresholds import DEFERRED, EXHAUSTED, Failure, Health, Outcome

PLAIN, TLS = Variant("http", 9090, ""), Variant("https", 9090, "")
BELOW, TLS_BELOW = Variant("http", 9090, "/prometheus"), Variant("https", 9090, "/prometheus")
OTHER_PORT: Final = Variant("http", 9091, "")
OPEN: Final = msgspec.structs.replace(candidate(), fallbacks=(TLS, BELOW, TLS_BELOW))
SECURE: Final = OPEN.at(TLS)

ALIVE: Final = Outcome(alive=True, status=200)
LOGIN: Final = Outcome(alive=True, status=401, unauthorized=True)
NO_HTTP: Final = Outcome(alive=False, detail="it does not speak HTTP", failure=Failure.PROTOCOL)
NO_TLS: Final = Outcome(alive=False, detail="it does not speak TLS", failure=Failure.PROTOCOL)
UNTRUSTED: Final = Outcome(alive=False, detail="the certificate is not trusted", failure=Failure.TLS)
REFUSED: Final = Outcome(alive=False, detail="connection refused", failure=Failure.REFUSED)
HUNG: Final = Outcome(alive=False, detail="no answer within 5 s", failure=Failure.TIMEOUT)
ELSE: Final = Outcome(
    alive=False, detail="something else", failure=Failure.IDENTITY, identity_mismatch=True, status=200
)


def answered(status: int) -> Outcome:
    return Outcome(alive=False, detail=f"answered {status}", failure=Failure.STATUS, status=status)


def searched(asked: Candidate, *outcomes: Outcome) -> tuple[list[Variant], Outcome]:
    """Return which variants were requested when they came to ``outcomes``, and what all of it came to."""
    search, requested = Search(asked), list[Variant]()
    for outcome in outcomes:
        requested.append(search.candidate.variant)
        search.met(outcome)
        if not search.advance():
            break
    return requested, search.outcome()


@pytest.mark.parametrize(
    ("outcome", "following"),
    [
        pytest.param(ALIVE, None, id="an answer ends it"),
        pytest.param(LOGIN, None, id="a challenge ends it"),
        pytest.param(NO_HTTP, TLS, id="no HTTP leads to TLS"),
        pytest.param(answered(400), TLS, id="400 is what servers with TLS answer to plain HTTP"),
        pytest.param(answered(426), TLS, id="426 as well"),
        pytest.param(answered(404), BELOW, id="404 leads to another path by the same scheme"),
        pytest.param(answered(301), BELOW, id="a redirect is not followed, and leads to another path"),
        pytest.param(ELSE, BELOW, id="something else leads to another path"),
        pytest.param(answered(422), None, id="an agent refuses the query, wherever"),
        pytest.param(answered(503), None, id="one that is not ready is no other"),
        pytest.param(answered(401), None, id="a challenge that is not the product's leads nowhere"),
        pytest.param(REFUSED, None, id="nothing listens on the port"),
        pytest.param(HUNG, None, id="there is no time left"),
        pytest.param(DEFERRED, None, id="nothing was found out"),
        pytest.param(EXHAUSTED, None, id="this process lacks resources"),
    ],
)
def test_an_answer_to_plain_http_leads_to_what_it_reports(outcome: Outcome, following: Variant | None) -> None:
    requested, _ = searched(OPEN, outcome, ALIVE)
    assert requested[1:] == ([following] if following else [])


@pytest.mark.parametrize(
    ("outcome", "following"),
    [
        pytest.param(NO_TLS, PLAIN, id="no TLS leads to plain HTTP"),
        pytest.param(UNTRUSTED, None, id="a certificate that is not trusted never leads to plain HTTP"),
        pytest.param(answered(400), TLS_BELOW, id="400 over TLS is about the path"),
        pytest.param(answered(426), None, id="426 over TLS is no scheme"),
        pytest.param(answered(404), TLS_BELOW, id="404 leads to another path by the same scheme"),
    ],
)
def test_an_answer_over_tls_leads_to_what_it_reports(outcome: Outcome, following: Variant | None) -> None:
    requested, _ = searched(SECURE, outcome, ALIVE)
    assert requested[1:] == ([following] if following else [])


def test_after_an_untrusted_certificate_nothing_is_sent_in_the_clear_to_another_port_either() -> None:
    other_tls = Variant("https", 9091, "")
    several = msgspec.structs.replace(SECURE, fallbacks=(OTHER_PORT, PLAIN, other_tls))
    assert searched(several, UNTRUSTED, ALIVE)[0] == [TLS, other_tls]


def test_scheme_and_path_are_found_one_after_the_other() -> None:
    requested, outcome = searched(OPEN, NO_HTTP, answered(404), ALIVE)
    assert requested == [PLAIN, TLS, TLS_BELOW]
    assert outcome.variant == TLS_BELOW
    assert outcome.requests == 3
    assert outcome.how == "https /prometheus after http / did not speak HTTP and https / answered 404"


def test_a_wrong_path_that_answers_400_to_plain_http_is_found_after_the_other_scheme() -> None:
    """VictoriaMetrics says 400 where its -http.pathPrefix is missing."""
    requested, outcome = searched(OPEN, answered(400), NO_TLS, ALIVE)
    assert requested == [PLAIN, TLS, BELOW]
    assert outcome.variant == BELOW


def test_the_first_variant_that_answers_needs_no_explanation() -> None:
    assert searched(OPEN, ALIVE)[1] == ALIVE


def test_one_other_scheme_is_reported_in_a_few_words() -> None:
    assert searched(OPEN, NO_HTTP, ALIVE)[1].how == "https after http did not speak HTTP"


def test_a_failure_says_what_each_variant_met_and_what_decides() -> None:
    _, outcome = searched(OPEN, NO_HTTP, answered(404), answered(404))
    assert outcome.detail == (
        "http /: it does not speak HTTP; https /: answered 404; https /prometheus: answered 404; "
        "annotate it with kubernaut.io/toolset-scheme and kubernaut.io/toolset-path to decide"
    )
    assert (outcome.alive, outcome.failure, outcome.status, outcome.requests) == (False, Failure.STATUS, 404, 3)


def test_a_failure_of_both_schemes_names_the_port_as_well() -> None:
    _, outcome = searched(OPEN, NO_HTTP, NO_TLS)
    assert outcome.detail == (
        "http: it does not speak HTTP; https: it does not speak TLS; "
        "annotate it with kubernaut.io/toolset-port and kubernaut.io/toolset-scheme to decide"
    )


def test_a_certificate_that_is_not_trusted_names_the_setting_that_trusts_it() -> None:
    _, outcome = searched(OPEN, answered(400), UNTRUSTED)
    assert outcome.failure is Failure.TLS
    assert outcome.detail == (
        "http: answered 400; https: the certificate is not trusted; "
        "setting health.detectors.prometheus.ca_file names who signs its certificate"
    )


def test_something_else_at_every_path_is_an_identity_mismatch() -> None:
    _, outcome = searched(OPEN, ELSE, answered(404))
    assert outcome.identity_mismatch


def test_one_that_hangs_at_another_path_counts_as_slow() -> None:
    _, outcome = searched(OPEN, answered(404), HUNG)
    assert (outcome.failure, outcome.requests) == (Failure.TIMEOUT, 2)
    assert outcome.detail.startswith("/: answered 404; /prometheus: no answer within 5 s; ")


def test_what_was_deferred_in_between_found_nothing_out() -> None:
    assert searched(OPEN, NO_HTTP, EXHAUSTED)[1] == EXHAUSTED


def test_another_port_is_requested_where_nothing_listens_on_the_first() -> None:
    ports = msgspec.structs.replace(candidate(), alternatives=(OTHER_PORT,))
    requested, outcome = searched(ports, REFUSED, ALIVE)
    assert requested == [PLAIN, OTHER_PORT]
    assert outcome.how == "port 9091 after port 9090 refused the connection"


def test_a_candidate_whose_only_variant_fails_keeps_its_detail() -> None:
    assert searched(candidate(), answered(404), ALIVE) == ([PLAIN], answered(404))


@given(
    st.lists(
        st.sampled_from([ALIVE, LOGIN, NO_HTTP, NO_TLS, UNTRUSTED, REFUSED, HUNG, ELSE, DEFERRED])
        | st.integers(300, 599).map(answered),
        min_size=4,
        max_size=4,
    ),
    st.sampled_from([OPEN, SECURE]),
)
def test_a_search_requests_each_variant_once_and_never_steps_down_from_tls(
    outcomes: list[Outcome], asked: Candidate
) -> None:
    requested, _ = searched(asked, *outcomes)
    assert len(set(requested)) == len(requested) <= 4
    spoke_tls = False
    for variant, outcome in zip(requested, outcomes, strict=False):
        assert not (spoke_tls and variant.scheme == "http")
        spoke_tls = spoke_tls or (variant.scheme == "https" and outcome.failure is not Failure.PROTOCOL)


@pytest.mark.parametrize(
    ("health", "first", "alone"),
    [
        pytest.param(Health(), PLAIN, False, id="nothing is known: all of them"),
        pytest.param(Health(up=False, failures=7), PLAIN, False, id="none has answered so far"),
        pytest.param(Health(up=True, variant=TLS), TLS, True, id="what answered last, alone"),
        pytest.param(Health(up=True, variant=TLS, failures=1), TLS, True, id="and after a first failure"),
        pytest.param(Health(up=True, variant=TLS, failures=2), TLS, False, id="the others before it falls"),
        pytest.param(Health(up=False, variant=TLS, failures=9), TLS, False, id="and as long as it is down"),
    ],
)
def test_what_answered_last_is_requested_first_and_the_others_after_it_failed(
    health: Health, first: Variant, alone: bool
) -> None:
    asked = to_request(OPEN, health, HealthOptions(fall=3))
    assert asked.variant == first
    assert (not asked.alternatives and not asked.fallbacks) is alone
