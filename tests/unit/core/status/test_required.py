"""A required tool is reported once it has been missing for five minutes, and once until it is back."""

from datetime import datetime, timedelta, timezone

from toolset.core.candidate import Reason, Rejected
from toolset.core.status.problems import missing_tools
from toolset.core.status.required import MISSING_S, Missing, RequiredTools
from toolset.model import Key

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
GRAFANA, JAEGER = Key("monitoring", "grafana"), Key("tracing", "jaeger")
Observed = tuple[tuple[Key, ...], tuple[Key, ...]]


class World:
    """Time, and what is published."""

    def __init__(self) -> None:
        self.tools = RequiredTools()
        self.published: set[Key] = set()
        self.required = [GRAFANA, JAEGER]

    def at(self, seconds: float) -> Observed:
        now = NOW + timedelta(seconds=seconds)
        return self.tools.observe(self.required, self.published.__contains__, now, 1000.0 + seconds)


def test_what_is_missing_for_less_than_five_minutes_is_not_reported() -> None:
    world = World()
    assert world.at(0) == ((), ())
    assert world.at(MISSING_S - 1) == ((), ())
    assert [each.is_overdue for each in world.tools.missing.values()] == [False, False]


def test_what_is_missing_for_longer_is_reported_once_and_then_its_return() -> None:
    world = World()
    world.at(0)
    world.published.add(JAEGER)
    assert world.at(MISSING_S) == ((GRAFANA,), ())
    assert world.at(MISSING_S + 5) == ((), ())
    assert world.tools.missing[GRAFANA].since == NOW
    world.published.add(GRAFANA)
    assert world.at(MISSING_S + 10) == ((), (GRAFANA,))
    assert world.tools.missing == {}


def test_a_tool_that_is_back_for_a_moment_starts_again() -> None:
    world = World()
    world.at(0)
    world.published = {GRAFANA, JAEGER}
    assert world.at(200) == ((), ())
    world.published = set()
    world.at(205)
    assert world.at(MISSING_S + 10) == ((), ())


def test_what_is_no_longer_required_is_forgotten_without_a_word() -> None:
    world = World()
    world.at(0)
    world.at(MISSING_S)
    world.required = []
    world.published = {GRAFANA}
    assert world.at(MISSING_S + 5) == ((), ())
    assert world.tools.missing == {}


def test_another_leader_is_another_start() -> None:
    world = World()
    world.at(0)
    world.tools.clear()
    assert world.at(MISSING_S) == ((), ())


def test_a_missing_tool_is_an_error_with_its_reason() -> None:
    missing = {
        GRAFANA: Missing(NOW - timedelta(minutes=7), 0.0, is_overdue=True),
        JAEGER: Missing(NOW - timedelta(minutes=6), 0.0, is_overdue=True),
        Key("a", "b"): Missing(NOW, 0.0),
    }
    verdicts = {GRAFANA: Rejected(Reason.UNHEALTHY, "answered 503", "grafana")}
    found = list(missing_tools(missing, verdicts, NOW))
    assert [(each.word, each.severity) for each in found] == [("RequiredToolMissing", "error")] * 2
    assert found[0].sentence == (
        "monitoring/grafana must be published and has not been for 7 min: its health check fails (answered 503)"
    )
    assert found[1].sentence.endswith("for 6 min: there is no such Service")
