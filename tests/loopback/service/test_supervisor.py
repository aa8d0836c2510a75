import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest
from anyio.abc import SocketStream

from support.api_server import raw_server, request_head
from support.leader import Leader
from support.waiting import until
from toolset.config.loader import load
from toolset.config.settings import LogSettings, Settings
from toolset.model import ConfigMap, ConfigMapMeta
from toolset.service import supervisor
from toolset.service.supervisor import Supervisor


class UnansweredLeader(Leader):
    """A supervisor over an empty cluster, whose API server takes every write and never answers."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        super().__init__()
        self.services.replace([], "1")
        self.config_maps.replace([], "1")
        log.set_level(logging.INFO, "toolset")
        self._log = log
        self._answer = b""
        self.writers: list[str] = []

    @asynccontextmanager
    async def working(self, settings: Settings | None = None) -> AsyncGenerator[Supervisor]:
        async with (
            raw_server(self._listen) as port,
            self.leading(settings or Settings(), f"http://127.0.0.1:{port}") as made,
        ):
            yield made

    async def _listen(self, stream: SocketStream) -> None:
        head = await request_head(stream)
        self.writers.append(head.decode().splitlines()[0])
        if not self._answer:
            await anyio.sleep_forever()
        await stream.send(self._answer)

    @asynccontextmanager
    async def refused(self) -> AsyncGenerator[Supervisor]:
        """Let the API server be in trouble, so that a write is tried again after minutes only."""
        self._answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        async with self.working(load("controller: {retry_base: 5m}", {}, {})) as made:
            await until(lambda: len(self.writers) == 1)
            yield made

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._log.records]


async def test_work_that_does_not_end_in_time_is_cut_off_when_the_settings_change(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "DRAIN_S", 0.05)
    leader = UnansweredLeader(caplog)
    async with leader.working() as made:
        await until(lambda: len(leader.writers) == 1)
        assert made.is_working
        leader.current.set(load("output: {limit_kib: 500}", {}, {}))
        await until(lambda: len(leader.writers) == 2)
        assert "work under the former settings did not end in time" in leader.lines
        assert made.is_working


async def test_a_config_map_of_another_installation_is_a_problem_while_work_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    leader = UnansweredLeader(caplog)
    name, space = "kubernaut-toolset-config", "kubernaut-system"
    metadata = ConfigMapMeta(name, space, "1", "1", annotations={"kubernaut.io/instance": "blue"})
    leader.config_maps.replace([ConfigMap(metadata)], "1")
    async with leader.working() as made:
        assert made.problem() == ""
        await until(made.problem)
        assert "is kept by another installation of this service, 'blue'" in made.problem()
        assert leader.writers == []
    assert made.problem() == ""


async def test_settings_that_no_work_reads_disturb_none(caplog: pytest.LogCaptureFixture) -> None:
    leader = UnansweredLeader(caplog)
    async with leader.working() as made:
        await until(lambda: len(leader.writers) == 1)
        leader.current.set(msgspec.structs.replace(Settings(), log=LogSettings("debug")))
        await anyio.wait_all_tasks_blocked()
        assert (len(leader.writers), made.is_working) == (1, True)


async def test_what_changes_before_anything_works_counts_from_the_beginning(caplog: pytest.LogCaptureFixture) -> None:
    leader = UnansweredLeader(caplog)
    async with leader.working():
        leader.current.set(load("target: {name: other}", {}, {}))  # no task has begun yet
        await until(lambda: len(leader.writers) == 1)
        assert "/configmaps/other" in leader.writers[0]


async def test_where_nothing_works_there_is_nothing_to_drain(caplog: pytest.LogCaptureFixture) -> None:
    leader = UnansweredLeader(caplog)
    async with leader.working() as made:
        await made.drain()  # no task has begun yet
        await anyio.wait_all_tasks_blocked()
        assert (made.is_working, leader.writers) == (False, [])


async def test_a_write_that_is_tried_again_in_minutes_holds_up_no_reload(caplog: pytest.LogCaptureFixture) -> None:
    leader = UnansweredLeader(caplog)
    async with leader.refused():
        began = anyio.current_time()
        leader.current.set(load("controller: {retry_base: 5m}\noutput: {limit_kib: 500}", {}, {}))
        await until(lambda: len(leader.writers) == 3)  # the first, the last of that term, and one of the next
        assert anyio.current_time() - began < supervisor.DRAIN_S / 4


async def test_a_write_that_is_tried_again_in_minutes_holds_up_no_stop(caplog: pytest.LogCaptureFixture) -> None:
    leader = UnansweredLeader(caplog)
    async with leader.refused() as made:
        began = anyio.current_time()
        await made.drain()
        assert not made.is_working
        assert len(leader.writers) == 2
        assert anyio.current_time() - began < supervisor.DRAIN_S / 4


async def test_work_without_probes_says_so_at_its_start_and_after_a_reload(caplog: pytest.LogCaptureFixture) -> None:
    leader, said = UnansweredLeader(caplog), "health checks are off: every candidate counts as healthy"
    async with leader.refused():
        assert said not in leader.lines
        leader.current.set(load("controller: {retry_base: 5m}\nhealth: {enabled: false}", {}, {}))
        await until(lambda: len(leader.writers) == 3)
        assert leader.lines.count(said) == 1
    caplog.clear()
    async with leader.working(load("health: {enabled: false}", {}, {})):
        await until(lambda: said in leader.lines)
