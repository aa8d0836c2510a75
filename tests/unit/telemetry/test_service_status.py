import logging
from typing import Final, Literal, cast

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.build import candidate
from support.series import counted
from toolset.adapters.metrics import Metrics
from toolset.core.candidate import Candidate, Reason, Rejected
from toolset.core.overrides.baseline import Published
from toolset.model import Key
from toolset.telemetry.service_status import ServiceStatusLog

KEY, SHOP = Key("monitoring", "prometheus"), Key("a", "shop")
URL: Final = candidate().url
UNHEALTHY = Rejected(Reason.UNHEALTHY, "answered 503", "prometheus")


class Reported:
    """What one test heard: log lines, series, and Kubernetes Events."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        log.set_level(logging.DEBUG, "toolset")
        self._log = log
        self._metrics = Metrics("1")
        self.events: list[tuple[str, str, str]] = []
        self.verdicts = ServiceStatusLog(self._metrics, self)

    def record(
        self,
        kind: Literal["Normal", "Warning"],
        reason: str,
        note: str,
        *,
        related: Key | None = None,
        action: str = "Publish",
    ) -> None:
        assert (related is not None, action) == (True, "Publish")
        self.events.append((kind, reason, note))

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._log.records]

    @property
    def visible(self) -> list[str]:
        """Lines that are written without `log.level: debug`."""
        return [record.getMessage() for record in self._log.records if record.levelno > logging.DEBUG]

    def field(self, name: str) -> object:
        """Return a field of the last line."""
        return cast("object", vars(self._log.records[-1]).get(name))

    @property
    def count(self) -> dict[str, int]:
        """Services by verdict, where there are any."""
        return self._values("toolset_services")

    @property
    def candidates(self) -> dict[tuple[str, str], int]:
        """Candidates by type and verdict, where there are any."""
        found = text_string_to_metric_families(self._metrics.expose()[0].decode())
        samples = [each for family in found if family.name == "toolset_candidates" for each in family.samples]
        return {(each.labels["type"], each.labels["verdict"]): int(each.value) for each in samples if each.value}

    @property
    def tools(self) -> dict[str, int]:
        """Tools by type, where there are any."""
        return self._values("toolset_tools")

    def _values(self, name: str) -> dict[str, int]:
        values = counted(self._metrics, f"{name}{{").items()
        return {labelled.split('"')[1]: int(value) for labelled, value in values}


@pytest.fixture
def reported(caplog: pytest.LogCaptureFixture) -> Reported:
    return Reported(caplog)


def test_a_service_that_is_nothing_is_counted_and_nothing_else(reported: Reported) -> None:
    reported.verdicts.detected(SHOP, Rejected(Reason.NO_MATCH))
    assert (reported.lines, reported.events, reported.count) == ([], [], {"NoMatch": 1})
    reported.verdicts.detected(SHOP, None)
    reported.verdicts.detected(Key("a", "never-known"), None)
    assert (reported.lines, reported.events, reported.count) == ([], [], {})


def test_a_tool_is_reported_once_it_is_published(reported: Reported) -> None:
    reported.verdicts.detected(KEY, candidate())
    assert (reported.lines, reported.field("evidence"), reported.events) == (["service added"], "label", [])
    for _ in range(2):
        reported.verdicts.settled({KEY: candidate()})
    assert reported.lines == ["service added", "tool published"]
    assert reported.events == [
        ("Normal", "Published", f"Service monitoring/prometheus is published as prometheus at {URL}")
    ]
    assert reported.count == {"Published": 1}


def test_what_stood_in_the_config_map_at_the_start_is_not_reported(reported: Reported) -> None:
    reported.verdicts.resume(Published(frozenset({URL})))
    reported.verdicts.detected(KEY, candidate())
    reported.verdicts.settled({KEY: candidate()})
    assert (reported.visible, reported.events, reported.count) == ([], [], {"Published": 1})
    reported.verdicts.settled({KEY: UNHEALTHY})
    assert reported.visible == ["tool no longer published"]


def test_a_tool_that_is_lost_says_why_and_one_that_was_never_published_stays_silent(reported: Reported) -> None:
    reported.verdicts.detected(KEY, candidate())
    reported.verdicts.settled({KEY: Rejected(Reason.UNPROBED, "", "prometheus")})
    reported.verdicts.settled({KEY: UNHEALTHY})
    assert (reported.events, reported.count) == ([], {"Unhealthy": 1})
    reported.verdicts.settled({KEY: candidate()})
    reported.verdicts.settled({KEY: UNHEALTHY})
    assert (reported.lines[-1], reported.field("reason")) == ("tool no longer published", "Unhealthy")
    note = "Service monitoring/prometheus is no longer published: its health check fails (answered 503)"
    assert reported.events[-1] == ("Warning", "Unhealthy", note)
    assert reported.count == {"Unhealthy": 1}


@pytest.mark.parametrize(
    ("verdict", "word", "why"),
    [
        pytest.param(None, "Deleted", "it was deleted", id="deleted"),
        pytest.param(Rejected(Reason.OPTED_OUT), "OptedOut", "its annotation opts it out", id="opted out"),
    ],
)
def test_a_published_service_that_is_taken_away_says_so(
    reported: Reported, verdict: Rejected | None, word: str, why: str
) -> None:
    reported.verdicts.detected(KEY, candidate())
    reported.verdicts.settled({KEY: candidate()})
    reported.verdicts.detected(KEY, verdict)
    assert reported.lines[-2:] == ["service removed", "tool no longer published"]
    assert (reported.field("reason"), reported.field("type"), reported.field("url")) == (word, "prometheus", URL)
    assert reported.events[-1] == ("Normal", word, f"Service monitoring/prometheus is no longer published: {why}")
    assert reported.count == ({} if verdict is None else {word: 1})


def test_a_service_that_asked_for_it_gets_a_reason(reported: Reported) -> None:
    bad = Rejected(Reason.BAD_ANNOTATION, "annotation x must be http or https", asked=True)
    reported.verdicts.detected(KEY, bad)
    note = "Service monitoring/prometheus is not published: one of its annotations is not valid"
    assert reported.events == [("Warning", "BadAnnotation", f"{note} (annotation x must be http or https)")]
    reported.verdicts.detected(KEY, candidate(asked=True))
    reported.verdicts.settled({KEY: Rejected(Reason.UNPROBED, asked=True)})
    assert len(reported.events) == 1, "that it is not probed yet is not reported"
    reported.verdicts.settled({KEY: Rejected(Reason.UNHEALTHY, "answered 503", "prometheus", asked=True)})
    assert reported.events[-1][:2] == ("Warning", "Unhealthy")


def test_a_bad_annotation_has_an_event_and_a_log_line(reported: Reported) -> None:
    reported.verdicts.detected(KEY, Rejected(Reason.BAD_ANNOTATION, "detail", asked=True))
    assert [event[:2] for event in reported.events] == [("Warning", "BadAnnotation")]
    assert (reported.lines, reported.field("reason"), reported.field("detail")) == (
        ["service not usable"],
        "BadAnnotation",
        "detail",
    )


UNREAD = "annotation `kubernaut.io/toolset-prot` is not read; did you mean `kubernaut.io/toolset-port`?"


@pytest.mark.parametrize(
    "verdict",
    [
        pytest.param(msgspec.structs.replace(candidate(), unread=UNREAD), id="candidate"),
        pytest.param(Rejected(Reason.NO_MATCH, unread=UNREAD), id="nothing recognised"),
        pytest.param(Rejected(Reason.NO_USABLE_PORT, "", "prometheus", unread=UNREAD), id="near match"),
    ],
)
def test_an_annotation_that_is_not_read_is_reported_once(reported: Reported, verdict: Candidate | Rejected) -> None:
    for _ in range(2):
        reported.verdicts.detected(KEY, verdict)
        reported.verdicts.settled({})
    assert reported.lines.count("annotation not read") == 1
    assert reported.events == [("Warning", "UnknownAnnotation", f"Service monitoring/prometheus: {UNREAD}")]

    reported.verdicts.detected(KEY, msgspec.structs.replace(verdict, unread="another one"))
    assert len(reported.events) == 2
    reported.verdicts.detected(KEY, msgspec.structs.replace(verdict, unread=""))
    assert len(reported.events) == 2


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.word)
def test_an_event_warns_of_a_fault_and_not_of_a_decision(reported: Reported, reason: Reason) -> None:
    decisions = {"NoMatch", "OptedOut", "NamespaceExcluded", "NotOptedIn", "Terminating", "Duplicate", "Suppressed"}
    reported.verdicts.detected(KEY, candidate())
    reported.verdicts.settled({KEY: candidate()})
    reported.verdicts.detected(KEY, Rejected(reason))
    kind = "Normal" if reason.word in decisions else "Warning"
    assert [event[:2] for event in reported.events] == [("Normal", "Published"), (kind, reason.word)]


def test_a_service_that_is_nearly_a_tool_is_logged_with_the_reason(reported: Reported) -> None:
    reported.verdicts.detected(KEY, Rejected(Reason.NO_USABLE_PORT, "detail", "prometheus"))
    assert (reported.lines, reported.events) == (["service not usable"], [])
    assert (reported.field("reason"), reported.field("detail")) == ("NoUsablePort", "detail")


def test_a_replica_that_works_no_more_counts_nothing(reported: Reported) -> None:
    reported.verdicts.detected(KEY, candidate())
    reported.verdicts.detected(SHOP, Rejected(Reason.NO_MATCH))
    reported.verdicts.settled({KEY: candidate()})
    assert reported.tools == {"prometheus": 1}
    reported.verdicts.close()
    assert (reported.count, reported.tools) == ({}, {})


def test_a_service_that_changes_says_what_and_how_it_was(reported: Reported) -> None:
    reported.verdicts.detected(KEY, candidate())
    reported.verdicts.detected(KEY, candidate(port=9091, priority=7))
    assert reported.lines == ["service added", "service changed"]
    assert reported.field("changed") == ["port", "priority", "backend"]
    assert (reported.field("url"), reported.field("url_before")) == (URL.replace("9090", "9091"), URL)
    assert (reported.field("type"), reported.field("type_before")) == ("prometheus", None)


@pytest.mark.parametrize(
    ("now", "fields"),
    [
        pytest.param(candidate(port=9091), {"url_before": URL}, id="port"),
        pytest.param(candidate(path="/prometheus"), {"url_before": URL}, id="path"),
        pytest.param(candidate(tool_type="tasks", port=9090), {"type_before": "prometheus"}, id="type"),
        pytest.param(
            candidate(tool_type="tasks"), {"type_before": "prometheus", "url_before": URL}, id="type and port"
        ),
    ],
)
@pytest.mark.parametrize("looked_at_between", [False, True])
def test_a_published_tool_that_changes_is_reported_as_such_however_soon_it_is_probed(
    reported: Reported, now: Candidate, fields: dict[str, str], looked_at_between: bool
) -> None:
    reported.verdicts.detected(KEY, candidate())
    reported.verdicts.settled({KEY: candidate()})
    reported.verdicts.detected(KEY, now)
    if looked_at_between:
        reported.verdicts.settled({KEY: Rejected(Reason.UNPROBED, "", now.type)})
        assert reported.count == {"Unprobed": 1}
    reported.verdicts.settled({KEY: now})
    assert reported.lines[2:] == ["service changed", "tool changed"]
    assert {name: reported.field(name) for name in ("type_before", "url_before") if reported.field(name)} == fields
    was = f"it was prometheus at {URL}"
    note = f"Service monitoring/prometheus is now published as {now.type} at {now.url}; {was}"
    assert reported.events[1:] == [("Normal", "Published", note)]
    assert reported.count == {"Published": 1}


def test_a_changed_tool_that_does_not_answer_is_reported_as_lost(reported: Reported) -> None:
    reported.verdicts.detected(KEY, candidate())
    reported.verdicts.settled({KEY: candidate()})
    reported.verdicts.detected(KEY, candidate(port=9091))
    reported.verdicts.settled({KEY: Rejected(Reason.UNPROBED, "", "prometheus")})
    reported.verdicts.settled({KEY: UNHEALTHY})
    assert (reported.lines[-1], reported.field("url")) == ("tool no longer published", URL)
    assert reported.events[-1][:2] == ("Warning", "Unhealthy")


def test_what_waits_for_an_approval_is_counted_as_a_candidate_and_reported_to_its_owner(reported: Reported) -> None:
    pending = Rejected(Reason.PENDING, "`approve: [monitoring/prometheus]`", "prometheus", asked=True)
    reported.verdicts.detected(KEY, pending)
    reported.verdicts.detected(
        SHOP, Rejected(Reason.NOT_OPTED_IN, type="grafana")
    )  # recognised, but nobody asks for it
    reported.verdicts.settled({})
    assert reported.candidates == {("prometheus", "Pending"): 1}
    assert reported.count == {"Pending": 1, "NotOptedIn": 1}
    why = "it awaits an admin's approval (`approve: [monitoring/prometheus]`)"
    assert reported.events == [("Warning", "Pending", f"Service monitoring/prometheus is not published: {why}")]
    reported.verdicts.detected(KEY, candidate())
    reported.verdicts.settled({KEY: candidate()})
    assert reported.candidates == {("prometheus", "Published"): 1}


def test_candidates_are_counted_by_type_and_last_word(reported: Reported) -> None:
    other = Key("a", "note")
    reported.verdicts.settled({KEY: candidate(), other: Rejected(Reason.UNHEALTHY, "", "note")})
    assert reported.candidates == {("prometheus", "Published"): 1, ("custom", "Unhealthy"): 1}
    reported.verdicts.settled({KEY: UNHEALTHY})
    assert reported.candidates == {("prometheus", "Unhealthy"): 1}
    reported.verdicts.close()
    assert reported.candidates == {}


@pytest.mark.parametrize(
    "verdict",
    [
        pytest.param(candidate(), id="a candidate"),
        pytest.param(Rejected(Reason.NO_USABLE_PORT, "detail", "prometheus"), id="nearly a tool"),
        pytest.param(Rejected(Reason.BAD_ANNOTATION, "detail", asked=True), id="asked for it"),
        pytest.param(Rejected(Reason.NO_MATCH), id="nothing"),
    ],
)
def test_the_same_verdict_again_is_not_reported(reported: Reported, verdict: Candidate | Rejected) -> None:
    reported.verdicts.detected(KEY, verdict)
    reported.verdicts.settled({KEY: verdict} if isinstance(verdict, Candidate) else {})
    lines, events, count = reported.lines, list(reported.events), reported.count
    reported.verdicts.detected(KEY, verdict)
    assert (reported.lines, reported.events, reported.count) == (lines, events, count)
