import logging
from datetime import datetime, timezone

import anyio
import pytest

from support.background import running
from support.build import candidate
from support.events import FakeEvents
from support.series import exposed
from toolset.adapters.metrics import TOOLS_LIMIT, Metrics, ToolSeries
from toolset.core.overrides.baseline import NOTHING
from toolset.core.status.history import History
from toolset.core.status.required import MISSING_S
from toolset.model import Key
from toolset.telemetry.required_tools import CHECK_S, RequiredToolsMonitor

TOOL = candidate("grafana", tool_type="grafana")
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Watched:
    """A monitor of one required tool."""

    def __init__(self) -> None:
        self.history = History(Key("a", "b"))
        self.history.begin(NOTHING)
        self.events = FakeEvents()
        self.leads = True
        self.monitor = RequiredToolsMonitor(lambda: [TOOL.key], lambda: self.leads, self.history, self.events)


async def test_a_required_tool_that_is_missing_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "toolset")
    watched = Watched()
    async with running(watched.monitor.run):
        await anyio.sleep(MISSING_S - 1)
        assert watched.events.recorded == []
        revision = watched.history.revision
        await anyio.sleep(CHECK_S + 600)
        assert watched.events.reasons() == [("RequiredToolMissing", TOOL.key)]
        assert "toolset status monitoring/grafana" in watched.events.recorded[0].note
        assert watched.history.revision == revision + 1
        watched.history.settled({TOOL.key: TOOL}, NOW)
        await anyio.sleep(CHECK_S)
    assert [record.getMessage() for record in caplog.records] == [
        "required tool missing",
        "required tool published again",
    ]


async def test_a_standby_misses_nothing() -> None:
    watched = Watched()
    async with running(watched.monitor.run):
        await anyio.sleep(MISSING_S - 10)
        watched.leads = False
        await anyio.sleep(60)
        assert (watched.monitor.missing, watched.monitor.published()) == ({}, {})
        watched.leads = True
        await anyio.sleep(MISSING_S - 10)
        assert watched.events.recorded == []
        assert watched.monitor.published() == {TOOL.key: False}


def test_series_of_single_tools_are_read_at_each_scrape_and_bounded() -> None:
    metrics, watched = Metrics("1"), Watched()
    tools = [
        ToolSeries("a", "one", "loki", "loki", healthy=True),
        ToolSeries("a", "two", "grafana", "grafana", healthy=False),
    ]
    metrics.follow_tools(lambda: tools, watched.monitor.published)
    found = exposed(metrics)
    assert found['toolset_tool_info{product="loki",tool_name="one",tool_namespace="a",type="loki"}'] == 1
    assert found['toolset_tool_healthy{tool_name="one",tool_namespace="a"}'] == 1
    assert found['toolset_tool_healthy{tool_name="two",tool_namespace="a"}'] == 0
    assert found['toolset_required_tool_published{tool_name="grafana",tool_namespace="monitoring"}'] == 0
    tools[:] = [ToolSeries("a", f"t{number}", "loki", "loki", healthy=True) for number in range(TOOLS_LIMIT + 10)]
    assert len([name for name in exposed(metrics) if name.startswith("toolset_tool_info")]) == TOOLS_LIMIT
