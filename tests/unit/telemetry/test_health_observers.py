import logging

import pytest
from msgspec.structs import replace

from support.build import candidate
from support.events import FakeEvents
from support.series import exposed
from toolset.adapters.metrics import Metrics
from toolset.core.candidate import Variant
from toolset.core.health.removal_brake import Hold
from toolset.core.health.thresholds import Failure, Outcome
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import publish
from toolset.model import Key
from toolset.reconciler.spans import outcome_attributes
from toolset.telemetry.reconcile_log import ReconcileLog

LOST = frozenset({Key("a", "one"), Key("a", "two"), Key("b", "three")})


def log_of(metrics: Metrics, events: FakeEvents | None = None) -> ReconcileLog:
    return ReconcileLog(metrics, events or FakeEvents())


def test_removals_that_are_held_are_counted_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "toolset")
    metrics, events = Metrics("1"), FakeEvents()
    log = log_of(metrics, events)
    log.held(Hold())
    assert caplog.records == []
    log.held(Hold(LOST, begins=True, known=4, again_s=120.0))
    log.held(Hold(LOST, again_s=60.0))
    assert exposed(metrics)["toolset_removals_held"] == 3
    assert exposed(metrics)["toolset_removal_holds_total"] == 1
    [line] = caplog.records
    assert line.getMessage() == "removals held: most tools stopped answering at once"
    assert (vars(line)["held"], vars(line)["known"]) == (3, 4)
    assert vars(line)["some"] == ["a/one", "a/two", "b/three"]
    [event] = events.recorded
    assert (event.kind, event.reason, event.action) == ("Warning", "RemovalsHeld", "Hold")
    assert event.note == (
        "most of 4 published tools stopped answering at once, so nothing is removed for 120 s: a/one, a/two, b/three"
    )
    log.held(Hold(ends=True))
    assert exposed(metrics)["toolset_removals_held"] == 0
    assert caplog.records[-1].getMessage() == "removals no longer held"


@pytest.mark.parametrize("failure", [kind for kind in Failure if kind is not Failure.DEFERRED])
def test_each_kind_of_failure_is_a_series_that_stands_at_zero_from_the_start(failure: Failure) -> None:
    metrics = Metrics("1")
    series = f'toolset_probes_total{{outcome="{failure.value}",type="prometheus"}}'
    assert exposed(metrics)[series] == 0
    log_of(metrics).probed(candidate(), Outcome(alive=False, failure=failure), 0.1)
    assert exposed(metrics)[series] == 1


@pytest.mark.parametrize(
    ("outcome", "attributes"),
    [
        pytest.param(
            Outcome(alive=True, status=200),
            {"toolset.probe.outcome": "alive", "http.response.status_code": 200},
            id="alive",
        ),
        pytest.param(
            Outcome(alive=False, failure=Failure.STATUS, status=503),
            {"toolset.probe.outcome": "status", "http.response.status_code": 503, "error.type": "503"},
            id="a bad status",
        ),
        pytest.param(
            Outcome(alive=False, failure=Failure.TIMEOUT),
            {"toolset.probe.outcome": "timeout", "error.type": "timeout"},
            id="no answer",
        ),
        pytest.param(
            Outcome(
                alive=True,
                status=200,
                variant=Variant("https", 9090, "/base"),
                requests=3,
                how="https /base after http / did not speak HTTP",
            ),
            {
                "toolset.probe.outcome": "alive",
                "http.response.status_code": 200,
                "toolset.probe.variants": 3,
                "toolset.probe.variant": "https://prometheus.monitoring.svc.cluster.local:9090/base",
                "toolset.probe.how": "https /base after http / did not speak HTTP",
            },
            id="another variant",
        ),
    ],
)
def test_a_span_says_how_a_probe_ended(outcome: Outcome, attributes: dict[str, str | int]) -> None:
    assert outcome_attributes(outcome, candidate()) == attributes


def test_overrides_that_do_not_count_are_reported_once_and_so_is_their_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "toolset")
    metrics, recorder = Metrics("1"), FakeEvents()
    log = ReconcileLog(metrics, recorder)
    unfit = "tools: {monitoring/prometheus: {holmesgpt: {max_retries: 1}}}\nsuppress: [a/b]"
    for text, valid, dropped in ((unfit, 0, 1), (unfit, 0, 1), ("suppress: {", 0, 0), ("", 1, 0)):
        log.composed(publish([candidate()], OutputOptions(), text=text))
        assert exposed(metrics)["toolset_overrides_valid"] == valid
        assert exposed(metrics)["toolset_overrides_dropped"] == dropped
    assert [record.getMessage() for record in caplog.records] == [
        "overrides dropped in part",
        "overrides not valid; those that were in force stay",
        "overrides valid again",
    ]
    first, second = recorder.recorded
    assert first.reason == second.reason == "OverridesInvalid"
    assert first.note.startswith("1 of the patches in overrides.yaml cannot be applied, the others are in force: ")
    assert "line 1, column 45: tools > monitoring/prometheus > holmesgpt > max_retries" in first.note
    assert second.note.startswith("overrides.yaml is ignored")
    log.composed(publish([candidate()], OutputOptions(), text=unfit))
    log.close()
    assert exposed(metrics)["toolset_overrides_valid"] == 1
    assert exposed(metrics)["toolset_overrides_dropped"] == 0


@pytest.mark.parametrize(
    ("field", "message", "reason"),
    [
        ("withheld", "nothing written; overrides missing", "OverridesMissing"),
        ("lost", "overrides deleted; those that were in force stay", "OverridesDeleted"),
        ("ignored", "overrides ignored", "OverridesIgnored"),
    ],
)
def test_overrides_that_are_not_where_they_should_be_are_reported_once_and_so_is_their_end(
    field: str, message: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "toolset")
    metrics, recorder = Metrics("1"), FakeEvents()
    log, well = ReconcileLog(metrics, recorder), publish([candidate()], OutputOptions())
    for publication, problem in ((well, ""), *[(replace(well, **{field: "put them there"}), "put them there")] * 2):
        log.composed(publication)
        assert log.problem() == (problem if field == "withheld" else "")
        assert exposed(metrics)["toolset_overrides_valid"] == (not problem)
    log.composed(well)
    assert log.problem() == ""
    assert [record.getMessage() for record in caplog.records] == [message, "overrides valid again"]
    assert [(each.kind, each.reason, each.note) for each in recorder.recorded] == [
        ("Warning", reason, "put them there")
    ]


def test_a_tool_whose_usual_key_somebody_else_owns_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    log = log_of(Metrics("1"))
    for taken in ({"prometheus-toolset.yaml"}, {"prometheus-toolset.yaml"}, set[str]()):
        log.composed(publish([candidate()], OutputOptions(), taken=taken))
    [line] = caplog.records
    assert line.getMessage() == "tool published with a warning"
    assert vars(line)["k8s.service.name"] == "prometheus"
    assert "stays" in str(vars(line)["detail"])
