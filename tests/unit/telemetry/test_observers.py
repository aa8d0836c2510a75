import logging
from typing import cast

import anyio
import pytest

from support.build import candidate
from support.events import FakeEvents
from support.prober import HEALTHY, HUNG, UNHEALTHY
from support.series import counted, exposed
from toolset.adapters.metrics import Metrics
from toolset.core.candidate import Reason, Rejected
from toolset.core.overrides.baseline import NOTHING
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.plan import Apply
from toolset.core.publishing.publication import publish
from toolset.errors import ForbiddenError, InvalidError, UnavailableError
from toolset.model import Key
from toolset.telemetry.observers import (
    ClientMetrics,
    ControllerMetrics,
    ElectionLog,
    EventMetrics,
    LeaseGuardLog,
    QueueMetrics,
    ReflectorLog,
    handler_failed,
    handler_slow,
)
from toolset.telemetry.reconcile_log import STAYED_S, ReconcileLog

KEY = Key("monitoring", "prometheus")


class Watched:
    """Metrics and log lines of one test."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        log.set_level(logging.DEBUG, "toolset")
        self._log = log
        self.metrics = Metrics("1")

    @property
    def lines(self) -> list[str]:
        return [f"{record.levelname} {record.getMessage()}" for record in self._log.records]

    def field(self, name: str) -> object:
        """Return a field of the last line."""
        return cast("object", vars(self._log.records[-1]).get(name))

    def values(self, prefix: str) -> dict[str, float]:
        """Return what is exposed under ``prefix`` and is not zero."""
        return counted(self.metrics, prefix)


def reconcile_log(watched: Watched) -> ReconcileLog:
    return ReconcileLog(watched.metrics, FakeEvents())


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Watched:
    return Watched(caplog)


async def test_a_queue_is_measured(watched: Watched) -> None:
    queue = QueueMetrics(watched.metrics, "probe")
    queue.watch(lambda: 1, list)
    queue.added()
    queue.taken(0.5)
    queue.finished(0.25)
    queue.retried()
    found = watched.values("workqueue_")
    assert found['workqueue_depth{name="probe"}'] == 1
    assert found['workqueue_adds_total{name="probe"}'] == 1
    assert found['workqueue_retries_total{name="probe"}'] == 1
    assert found['workqueue_queue_duration_seconds_sum{name="probe"}'] == 0.5
    assert found['workqueue_work_duration_seconds_sum{name="probe"}'] == 0.25


def test_a_reconcile_is_counted_by_its_result(watched: Watched) -> None:
    ControllerMetrics(watched.metrics, "target").passed(KEY, "success", 0.5)
    found = watched.values("controller_runtime_")
    assert found['controller_runtime_reconcile_total{controller="target",result="success"}'] == 1
    assert found['controller_runtime_reconcile_time_seconds_sum{controller="target"}'] == 0.5
    assert watched.lines == []


@pytest.mark.parametrize(
    ("error", "text", "traceback"),
    [
        pytest.param(UnavailableError("refused"), "refused", False, id="expected"),
        pytest.param(TimeoutError(), "TimeoutError", False, id="a timeout without words"),
        pytest.param(KeyError("x"), "'x'", True, id="a bug"),
        pytest.param(UnavailableError("x" * 9999), "x" * 512, False, id="long"),
    ],
)
def test_a_failed_reconcile_is_one_line_and_only_a_bug_shows_its_traceback(
    watched: Watched, error: Exception, text: str, traceback: bool
) -> None:
    ControllerMetrics(watched.metrics, "service").failed(KEY, error, 3)
    assert watched.lines == ["ERROR reconcile failed"]
    assert (watched.field("error"), watched.field("failures")) == (text, 3)
    assert (watched.field("k8s.namespace.name"), watched.field("k8s.service.name")) == ("monitoring", "prometheus")
    assert (watched.field("exc_info") is not None) is traceback
    assert watched.values("controller_runtime_reconcile_errors") == {
        'controller_runtime_reconcile_errors_total{controller="service"}': 1
    }
    panics = watched.values("controller_runtime_reconcile_panics")
    assert bool(panics) is traceback


@pytest.mark.parametrize(
    ("error", "series"),
    [
        pytest.param(InvalidError("no"), "controller_runtime_terminal_reconcile_errors", id="terminal"),
        pytest.param(TimeoutError(), "controller_runtime_reconcile_timeouts", id="out of time"),
    ],
)
def test_failures_are_distinguished(watched: Watched, error: Exception, series: str) -> None:
    ControllerMetrics(watched.metrics, "target").failed(KEY, error, 0)
    assert watched.values(series) == {f'{series}_total{{controller="target"}}': 1}


async def test_what_is_in_work_is_measured_when_somebody_asks(watched: Watched) -> None:
    since = [anyio.current_time()]
    QueueMetrics(watched.metrics, "probe").watch(lambda: 0, lambda: since)
    ControllerMetrics(watched.metrics, "probe", workers=32)
    assert watched.values("controller_runtime_active_workers") == {
        'controller_runtime_active_workers{controller="probe"}': 1
    }
    assert watched.values("controller_runtime_max") == {
        'controller_runtime_max_concurrent_reconciles{controller="probe"}': 32
    }
    since[:] = [anyio.current_time() - 3, anyio.current_time() - 4]
    assert watched.values("workqueue_longest")['workqueue_longest_running_processor_seconds{name="probe"}'] >= 4
    assert watched.values("workqueue_unfinished")['workqueue_unfinished_work_seconds{name="probe"}'] >= 7


async def test_the_time_from_a_change_to_its_write_is_measured(watched: Watched) -> None:
    log = reconcile_log(watched)
    log.service_changed(KEY)
    await anyio.sleep(2)
    log.service_changed(KEY)  # the first time counts
    assert log.age_s(KEY) == pytest.approx(2.0, abs=0.1)
    log.verdict_changed(Key("a", "initial"), candidate())
    log.verdict_changed(KEY, candidate())
    log.settled({KEY: Rejected(Reason.UNPROBED)})  # not measured yet: nobody knows whether it lives
    log.published(Apply(b"", written=("a",), removed=()), 1)
    log.settled({KEY: candidate()})
    log.published(Apply(b"", written=("a",), removed=()), 1)
    log.settled({KEY: candidate()})
    assert watched.values("toolset_event_to_write_seconds_count") == {"toolset_event_to_write_seconds_count": 1}
    assert watched.values("toolset_event_to_write_seconds_sum")["toolset_event_to_write_seconds_sum"] >= 2


def test_a_service_that_is_gone_when_another_pipeline_starts_is_reported_as_gone(watched: Watched) -> None:
    log, other = reconcile_log(watched), Key("a", "stays")
    tools = {KEY: candidate(), other: candidate("stays")}
    log.begin(tools, NOTHING)
    for key, tool in tools.items():
        log.verdict_changed(key, tool)
    log.settled(tools)
    log.begin({other}, NOTHING)
    assert watched.lines[-2:] == ["INFO service removed", "INFO tool no longer published"]
    assert watched.values("toolset_services") == {'toolset_services{verdict="Published"}': 1}


async def test_a_change_that_leads_to_no_write_is_not_measured(watched: Watched) -> None:
    log = reconcile_log(watched)
    log.service_changed(KEY)
    log.verdict_changed(KEY, None)
    log.service_reconciled(KEY)
    assert log.age_s(KEY) is None
    log.unchanged(0)
    log.settled({})
    assert watched.values("toolset_event_to_write_seconds_count") == {}


def test_a_reflector_names_its_problem_until_a_list_succeeds(watched: Watched) -> None:
    log = ReflectorLog(watched.metrics, "services")
    log.failed(UnavailableError("refused"), 1.26)
    assert log.problem == "refused"
    assert watched.field("retry_in_s") == 1.3
    log.listed(5, 0.12345, "start")
    assert log.problem == ""
    assert (watched.field("items"), watched.field("took_s")) == (5, 0.123)
    log.watch_ended(7, 60.0)
    assert watched.lines == ["WARNING list or watch failed", "INFO list stored", "DEBUG watch ended"]
    log.watch_ended(0, 0.5)
    for name in ("reflector_lists", "toolset_reflector_failures", "reflector_short_watches"):
        assert watched.values(name) == {f'{name}_total{{resource="services"}}': 1}
    assert watched.values("reflector_watches") == {'reflector_watches_total{resource="services"}': 2}
    assert watched.values("toolset_reflector_relists") == {
        'toolset_reflector_relists_total{reason="start",resource="services"}': 1
    }
    log.watch(lambda: 7.0, lambda: 42)
    assert watched.values("toolset_reflector_last_activity") == {
        'toolset_reflector_last_activity_seconds{resource="services"}': 7
    }
    assert watched.values("toolset_store_objects") == {'toolset_store_objects{resource="services"}': 42}


def test_documents_that_cannot_be_written_are_reported_when_they_change(watched: Watched) -> None:
    recorder = FakeEvents()
    log = ReconcileLog(watched.metrics, recorder)
    free = publish([candidate()], OutputOptions())
    blocked = publish([candidate()], OutputOptions(), occupied={"prometheus-toolset.yaml"})
    for publication in (free, blocked, blocked, free, blocked):
        log.composed(publication)
    assert watched.lines == ["WARNING documents not written; their keys are in binaryData"] * 2
    assert watched.field("keys") == ["prometheus-toolset.yaml"]
    assert recorder.reasons() == [("DocumentBlocked", None)] * 2


def test_a_probe_is_measured_and_logged_only_when_it_failed(watched: Watched) -> None:
    log, tool = reconcile_log(watched), candidate(tool_type="note")
    log.probed(tool, HEALTHY, 0.5)
    assert watched.lines == []
    log.probed(tool, UNHEALTHY, 0.5)
    assert watched.lines == ["INFO probe failed"]
    assert (watched.field("type"), watched.field("detail")) == ("note", "answered 503")
    found = watched.values("toolset_probe")
    assert found['toolset_probes_total{outcome="alive",type="custom"}'] == 1
    assert found['toolset_probes_total{outcome="status",type="custom"}'] == 1
    assert found['toolset_probe_duration_seconds_sum{type="custom"}'] == 1.0


@pytest.mark.parametrize("published", [False, True])
def test_a_backend_that_goes_on_failing_as_before_is_reported_only_while_it_is_published(
    watched: Watched, published: bool
) -> None:
    log, tool = reconcile_log(watched), candidate()
    log.settled({tool.key: tool} if published else {})
    for outcome in (UNHEALTHY, UNHEALTHY, HUNG, HEALTHY, HUNG, HUNG):
        log.probed(tool, outcome, 0.5)
    log.verdict_changed(tool.key, tool)
    log.probed(tool, HUNG, 0.5)
    probes = [line.partition(" ")[0] for line in watched.lines if line.endswith("probe failed")]
    again = "INFO" if published else "DEBUG"
    assert probes == ["INFO", again, "INFO", "INFO", again, "INFO"]


def test_a_write_is_logged_and_drift_is_counted(watched: Watched) -> None:
    log = reconcile_log(watched)
    log.published(Apply(b"", written=("a",), removed=("b",)), 2)
    assert (watched.field("written"), watched.field("removed"), watched.field("tools")) == (["a"], ["b"], 2)
    assert watched.values("toolset_drift") == {}
    assert watched.field("drifted") is None
    log.published(Apply(b"", written=("a",), removed=(), drifted=True), 3)
    assert (watched.field("drifted"), watched.field("removed")) == (True, None)
    assert watched.values("toolset_drift") == {"toolset_drift_repaired_total": 1}
    assert watched.values("toolset_configmap_writes") == {"toolset_configmap_writes_total": 2}


def test_a_reconcile_without_a_write_is_silent(watched: Watched) -> None:
    reconcile_log(watched).unchanged(4)
    assert watched.lines == []


def test_an_edit_that_is_reverted_is_logged_and_recorded_with_who_made_it(watched: Watched) -> None:
    events = FakeEvents()
    log = ReconcileLog(watched.metrics, events)
    log.published(Apply(b"", written=("a",), removed=(), drifted=True), 3, ("kubectl-edit/Update",))
    assert (watched.field("drifted"), watched.field("by")) == (True, "kubectl-edit/Update")
    (event,) = events.recorded
    assert (event.kind, event.reason) == ("Normal", "EditReverted")
    assert event.note == "an edit by kubectl-edit/Update is reverted: a; use overrides.yaml instead"
    log.published(Apply(b"", written=(), removed=(), drifted=True), 3)
    assert events.recorded[-1].note.startswith("an edit by another process of this service is reverted: labels and")


async def test_who_keeps_overwriting_the_config_map_is_reported_until_a_repair_lasts(watched: Watched) -> None:
    events = FakeEvents()
    log = ReconcileLog(watched.metrics, events)
    assert log.problem() == ""
    for _ in range(3):
        log.overwritten(("gitops/Update",))
    assert watched.lines == ["WARNING config map repeatedly overwritten"]
    assert watched.field("by") == "gitops/Update"
    assert [event.reason for event in events.recorded] == ["Overwritten"]
    assert "repeatedly overwritten by gitops/Update" in log.problem()
    series = "toolset_configmap_overwritten"
    assert watched.values(series) == {f'{series}{{manager="gitops/Update"}}': 1}
    log.overwritten(())
    assert watched.values(series) == {f'{series}{{manager="another process of this service"}}': 1}
    log.published(Apply(b"", written=("a",), removed=()), 1)
    log.unchanged(1)
    assert log.problem()
    await anyio.sleep(STAYED_S)
    log.unchanged(1)
    assert log.problem() == ""
    assert watched.values(series) == {}
    assert watched.lines[-1] == "INFO config map no longer overwritten"


def test_a_write_that_waits_names_its_services_once_until_it_is_made(watched: Watched) -> None:
    events = FakeEvents()
    log = ReconcileLog(watched.metrics, events)
    other = Key("team-a", "grafana")
    for services in ({KEY}, {KEY}, {KEY, other}):
        log.paced(services, 12.34)
    assert watched.lines == ["INFO config map write delayed"] * 2
    assert (watched.field("services"), watched.field("wait_s")) == (["team-a/grafana"], 12.3)
    assert [(event.reason, event.related) for event in events.recorded] == [
        ("WriteDelayed", KEY),
        ("WriteDelayed", other),
    ]
    assert watched.values("toolset_configmap_writes_paced") == {"toolset_configmap_writes_paced_total": 3}
    log.published(Apply(b"", written=("a",), removed=()), 1)
    log.paced({KEY}, 1.0)
    assert len(events.recorded) == 3


def test_a_refusal_is_a_problem_until_this_replica_no_longer_leads(watched: Watched) -> None:
    log = reconcile_log(watched)
    log.refused("ConfigMap a/b is kept by another installation")
    assert log.problem() == "ConfigMap a/b is kept by another installation"
    log.overwritten(("gitops/Update",))
    log.close()
    assert log.problem() == ""
    assert watched.values("toolset_configmap_overwritten") == {}


def test_a_conflict_is_counted(watched: Watched) -> None:
    reconcile_log(watched).conflicted()
    assert watched.lines == ["INFO config map changed meanwhile; trying again with the newer version"]
    assert watched.values("toolset_configmap_conflicts") == {"toolset_configmap_conflicts_total": 1}


def test_a_bug_in_a_handler_is_logged_with_its_traceback(watched: Watched) -> None:
    handler_failed(KeyError("x"))
    assert watched.lines == ["ERROR store handler failed"]
    assert watched.field("exc_info") is not None


def test_a_handler_that_holds_up_the_watch_is_logged(watched: Watched) -> None:
    handler_slow(0.01234)
    assert (watched.lines, watched.field("took_s")) == (["DEBUG store handler slow"], 0.012)


def test_verdicts_reach_the_series(watched: Watched) -> None:
    log = reconcile_log(watched)
    log.verdict_changed(KEY, candidate())
    log.settled({KEY: candidate()})
    assert watched.values("toolset_services") == {'toolset_services{verdict="Published"}': 1}


def test_an_election_is_reported_in_log_and_series(watched: Watched) -> None:
    log = ElectionLog(watched.metrics, "lease")
    log.new_leader("")
    assert watched.field("leader") == "nobody"
    log.started_leading(3)
    assert watched.values("leader_election_master") == {'leader_election_master_status{name="lease"}': 1}
    log.took_slow_path()
    log.stopped_leading(3, lost=True)
    log.stopped_leading(4, lost=False)
    assert watched.values("leader_election") == {'leader_election_slowpath_total{name="lease"}': 1}
    assert watched.lines == [
        "INFO leader seen",
        "INFO leadership taken",
        "WARNING leadership ended",
        "INFO leadership ended",
    ]


@pytest.mark.parametrize(("error", "traceback"), [(UnavailableError("refused"), False), (KeyError("x"), True)])
def test_a_request_of_the_election_that_fails_is_one_line(watched: Watched, error: Exception, traceback: bool) -> None:
    ElectionLog(watched.metrics, "lease").failed(error)
    assert watched.lines == ["WARNING election request failed"]
    assert (watched.field("exc_info") is not None) is traceback


def test_a_lease_that_keeps_a_process_without_an_election_back_is_logged(watched: Watched) -> None:
    log = LeaseGuardLog(Metrics("1"), "lease")
    log.held("pod-1")
    assert (watched.field("leader"), watched.field("remedy")) == (
        "pod-1",
        "turn `election.enabled` on, or stop the other process",
    )
    log.unreadable(ForbiddenError("leases is forbidden"))
    assert watched.field("error") == "leases is forbidden"
    log.failed(UnavailableError("refused"))
    assert watched.lines == [
        "WARNING nothing is written: another process leads",
        "WARNING lease not readable, another leader is not noticed",
        "WARNING election request failed",
    ]


def test_requests_to_the_api_server_are_counted_by_code_and_method(watched: Watched) -> None:
    ClientMetrics(watched.metrics).answered("GET", 403, 0.25)
    assert watched.values("rest_client_requests") == {'rest_client_requests_total{code="403",method="GET"}': 1}
    assert watched.values("rest_client_request_duration_seconds_sum") == {
        'rest_client_request_duration_seconds_sum{verb="GET"}': 0.25
    }


def test_kubernetes_events_are_counted(watched: Watched) -> None:
    events = EventMetrics(watched.metrics)
    events.sent()
    events.dropped("full")
    assert watched.values("toolset_events") == {
        "toolset_events_sent_total": 1,
        'toolset_events_dropped_total{reason="full"}': 1,
    }


def test_what_a_server_should_not_send_is_counted_and_logged(watched: Watched) -> None:
    log = ReflectorLog(watched.metrics, "services")
    log.skipped("kind Table")
    log.streaming_given_up(UnavailableError("cut"))
    assert watched.lines == ["WARNING watch event skipped", "INFO lists are paged from now on"]
    assert watched.values("toolset_watchlist") == {'toolset_watchlist_fallback_total{resource="services"}': 1}
    assert watched.values("toolset_reflector_skipped") == {
        'toolset_reflector_skipped_events_total{resource="services"}': 1
    }


def test_a_process_without_an_election_counts_as_a_leader_while_it_works() -> None:
    metrics = Metrics("1")
    log, series = LeaseGuardLog(metrics, "lease"), 'leader_election_master_status{name="lease"}'
    with log.working():
        assert exposed(metrics)[series] == 1
    assert exposed(metrics)[series] == 0
