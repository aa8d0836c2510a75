import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import anyio
import msgspec
import pytest
from typing_extensions import override

from support.background import running
from toolset.adapters.metrics import Metrics
from toolset.config.loader import Source
from toolset.config.settings import RESTART, Settings, reloads
from toolset.runtime.current import Current
from toolset.service import reloader
from toolset.service.reloader import LOOK_S, Reloader, merge

BROKEN: Final = "health: {timeout: soon}"


class Cell(Current[Settings]):
    """Remembers every value."""

    def __init__(self, value: Settings) -> None:
        super().__init__(value)
        self.values: list[Settings] = []

    @override
    def set(self, value: Settings) -> None:
        super().set(value)
        self.values.append(value)


class World:
    """A settings file, and what follows it."""

    def __init__(
        self, folder: Path, log: pytest.LogCaptureFixture, text: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        log.set_level(logging.INFO, "toolset")
        self._log = log
        self.file = folder / "settings.yaml"
        self.file.write_text(text)
        self.metrics = Metrics("1")
        self.told: list[tuple[str, str, str]] = []
        source = Source(str(self.file), environment or {})
        settings = Cell(source.parse(text))
        self.adopted = settings.values
        self.reloader = Reloader(
            source,
            text,
            settings,
            self.metrics,
            record=lambda kind, reason, note: self.told.append((kind, reason, note)),
        )

    async def write(self, text: str) -> None:
        """Change the file, and let it count."""
        self.file.write_text(text)
        await self.look(2)

    async def look(self, times: int = 1) -> None:
        """Let it look at the file so many times."""
        for _ in range(times):
            await self.reloader.look()

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._log.records]

    def field(self, name: str) -> object:
        return cast("object", vars(self._log.records[-1]).get(name))

    def series(self) -> dict[str, float]:
        """Return the series of settings that are not zero."""
        lines = self.metrics.expose()[0].decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if line.startswith("toolset_settings_")]
        found = {name.removeprefix("toolset_settings_"): float(value) for name, value in pairs if float(value)}
        assert found.pop("last_success_timestamp_seconds") > 1e9
        return found


@pytest.fixture
def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> World:
    return World(tmp_path, caplog)


async def test_a_changed_file_is_put_in_force(world: World) -> None:
    await world.write("health: {timeout: 2s}\nlog: {level: debug}")

    (settings,) = world.adopted
    assert (settings.health.timeout, settings.log.level) == (2.0, "debug")
    assert (world.lines, world.field("changed")) == (["settings reloaded"], ["health.timeout", "log.level"])
    assert world.told == [("Normal", "SettingsReloaded", "health.timeout, log.level changed")]
    assert world.series() == {"valid": 1, 'reloads_total{result="success"}': 1}


async def test_a_file_that_stays_as_it_is_is_no_news(world: World) -> None:
    await world.look(5)
    world.file.touch()
    await world.look(5)

    assert (world.adopted, world.lines, world.told, world.series()) == ([], [], [], {"valid": 1})


async def test_half_of_a_file_that_is_being_written_does_not_count(world: World) -> None:
    await world.write("discovery: {namespaces: [team-a]}")
    world.file.write_text("")  # valid by itself: all defaults
    await world.look()
    await world.write("discovery: {namespaces: [team-b]}")

    assert [settings.discovery.namespaces for settings in world.adopted] == [("team-a",), ("team-b",)]


async def test_what_is_not_valid_changes_nothing_and_is_told_once(world: World) -> None:
    await world.write(BROKEN)
    await world.look(5)

    assert (world.adopted, world.lines) == ([], ["settings not valid; those in force stay"])
    assert "`health.timeout`: Expected a duration" in str(world.field("error"))
    ((kind, reason, note),) = world.told
    assert (kind, reason, "`health.timeout`" in note) == ("Warning", "SettingsInvalid", True)
    assert world.series() == {'reloads_total{result="invalid"}': 1}

    await world.write("health: {timeout: 2s}")

    assert [settings.health.timeout for settings in world.adopted] == [2.0]
    assert world.series() == {"valid": 1, 'reloads_total{result="invalid"}': 1, 'reloads_total{result="success"}': 1}


async def test_a_file_that_is_as_it_was_before_a_mistake_is_valid_again(world: World) -> None:
    await world.write(BROKEN)
    await world.write("")

    assert (world.adopted, world.lines[-1], world.field("changed")) == ([], "settings reloaded", [])
    assert world.series()["valid"] == 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("election: {lease_duration: 1s}", id="times of an election"),
        pytest.param("output: {base_toolsets: {'a b/../c': {}}}", id="a document"),
    ],
)
async def test_what_no_single_value_shows_is_checked_too(world: World, text: str) -> None:
    await world.write(text)

    assert (world.adopted, world.lines) == ([], ["settings not valid; those in force stay"])


async def test_a_file_that_is_gone_changes_nothing_until_it_is_back(world: World) -> None:
    world.file.unlink()
    await world.look(3)
    assert "there is no such file" in str(world.field("error"))
    await world.write("health: {timeout: 2s}")

    assert len(world.adopted) == 1


async def test_what_needs_a_restart_stays_as_it_was_and_is_named(world: World) -> None:
    await world.write("server: {port: 9}\ntarget: {name: other}\nhealth: {timeout: 2s}")

    (settings,) = world.adopted
    assert (settings.server.port, settings.target.name, settings.health.timeout) == (
        8080,
        "kubernaut-toolset-config",
        2.0,
    )
    assert world.lines == ["settings reloaded", *["setting not changed: restart needed"] * 2]
    assert world.field("setting") == "server.port"
    note = "health.timeout changed; target.name, server.port will change with a restart"
    assert world.told == [("Normal", "SettingsReloaded", note)]
    assert world.series()["restart_needed"] == 2


async def test_another_name_of_this_installation_needs_a_restart(world: World) -> None:
    await world.write("output: {instance: after, limit_kib: 500}")
    (settings,) = world.adopted
    assert (settings.output.instance, settings.output.limit_kib) == ("", 500)
    assert world.field("setting") == "output.instance"


async def test_flags_and_environment_keep_their_precedence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path, caplog, environment={"TOOLSET_HEALTH__TIMEOUT": "9s"})
    await world.write("health: {timeout: 2s, interval: 2s}")

    (settings,) = world.adopted
    assert (settings.health.timeout, settings.health.interval) == (9.0, 2.0)


async def test_a_link_that_is_swapped_as_the_kubelet_does_it_is_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, caplog)
    world.file.unlink()
    for name in ("..old", "..new"):
        (tmp_path / name).mkdir()
    (tmp_path / "..new" / "settings.yaml").write_text("health: {timeout: 2s}")
    (tmp_path / "..old" / "settings.yaml").write_text("")
    (tmp_path / "..data").symlink_to("..old")
    world.file.symlink_to("..data/settings.yaml")
    await world.look(3)
    assert world.lines == []
    (tmp_path / "..data_tmp").symlink_to("..new")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    await world.look(2)

    assert [settings.health.timeout for settings in world.adopted] == [2.0]


async def test_it_looks_for_as_long_as_it_runs(world: World) -> None:
    world.file.write_text("health: {timeout: 2s}")
    async with running(world.reloader.run):
        while not world.adopted:  # noqa: ASYNC110 - reading is done by a thread, which virtual time does not know
            await anyio.sleep(LOOK_S)


async def test_a_bug_of_ours_leaves_the_settings_as_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(_: Settings) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(reloader, "check", stumble)
    await world.write("health: {timeout: 2s}")

    assert (world.adopted, world.lines) == (
        [],
        ["settings cannot be checked", "settings not valid; those in force stay"],
    )
    assert caplog.records[0].exc_info


async def test_a_read_that_hangs_does_not_keep_the_process(world: World) -> None:
    world.file.unlink()
    os.mkfifo(world.file)
    with anyio.move_on_after(LOOK_S) as patience:
        await world.look()
    assert patience.cancelled_caught
    os.close(os.open(world.file, os.O_RDWR))  # lets the thread that reads go on


@pytest.mark.parametrize("file", ["", "-", "pipe"])
async def test_where_no_file_could_change_nothing_is_followed(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")  # as a shell makes one for --config <(…)

    def unexpected(*_: object) -> None:
        pytest.fail("nothing can have changed")

    reloader = Reloader(Source(file), "", Current(Settings()), Metrics("1"), record=unexpected)
    await reloader.run()


def test_every_name_that_needs_a_restart_is_one_of_a_setting_or_a_section() -> None:
    sections = msgspec.structs.fields(Settings)
    known = {section.name for section in sections} | {
        f"{section.name}.{field.name}" for section in sections for field in msgspec.structs.fields(section.type)
    }
    assert known >= RESTART
    assert (reloads("health.timeout"), reloads("server.port"), reloads("discovery.annotation_prefix")) == (
        True,
        False,
        False,
    )


def test_settings_that_are_the_same_are_merged_into_the_same() -> None:
    assert merge(Settings(), Settings()) == (Settings(), (), ())
