import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import anyio
import msgspec
import pytest
from msgspec.inspect import is_struct_type
from typing_extensions import override

from support.background import running
from support.series import counted
from toolset.adapters.metrics import Metrics
from toolset.config.loader import load
from toolset.config.settings import RESTART, Settings, reloads
from toolset.config.source import Source
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


class FollowedFile:
    """A settings file, and what follows it."""

    def __init__(
        self, folder: Path, log: pytest.LogCaptureFixture, text: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        log.set_level(logging.INFO, "toolset")
        self._log = log
        self.file = folder / "settings.yaml"
        self.file.write_text(text)
        self.metrics = Metrics("1")
        self.reported: list[tuple[str, str, str]] = []
        source = Source(str(self.file), environment or {})
        settings = Cell(source.parse(text))
        self.adopted = settings.values
        self.reloader = Reloader(
            source,
            text,
            settings,
            self.metrics,
            record=lambda kind, reason, note: self.reported.append((kind, reason, note)),
        )

    async def write(self, text: str) -> None:
        """Change the file, and let it count."""
        self.file.write_text(text)
        await self.look(2)

    async def look(self, times: int = 1) -> None:
        """Let it read the file so many times."""
        for _ in range(times):
            await self.reloader.look()

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._log.records]

    def field(self, name: str) -> object:
        return cast("object", vars(self._log.records[-1]).get(name))

    def series(self) -> dict[str, float]:
        """Return the series of settings that are not zero."""
        values = counted(self.metrics, "toolset_settings_").items()
        found = {name.removeprefix("toolset_settings_"): value for name, value in values}
        assert found.pop("last_success_timestamp_seconds") > 1e9
        return found


@pytest.fixture
def followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> FollowedFile:
    return FollowedFile(tmp_path, caplog)


async def test_a_changed_file_is_put_in_force(followed: FollowedFile) -> None:
    await followed.write("health: {timeout: 2s}\nlog: {level: debug}")

    (settings,) = followed.adopted
    assert (settings.health.timeout, settings.log.level) == (2.0, "debug")
    assert (followed.lines, followed.field("changed")) == (["settings reloaded"], ["health.timeout", "log.level"])
    assert followed.reported == [("Normal", "SettingsReloaded", "health.timeout, log.level changed")]
    assert followed.series() == {"valid": 1, 'reloads_total{result="success"}': 1}


async def test_a_file_that_stays_as_it_is_is_not_reported(followed: FollowedFile) -> None:
    await followed.look(5)
    followed.file.touch()
    await followed.look(5)

    assert (followed.adopted, followed.lines, followed.reported, followed.series()) == ([], [], [], {"valid": 1})


async def test_half_of_a_file_that_is_being_written_does_not_count(followed: FollowedFile) -> None:
    await followed.write("discovery: {namespaces: [team-a]}")
    followed.file.write_text("")  # valid by itself: all defaults
    await followed.look()
    await followed.write("discovery: {namespaces: [team-b]}")

    assert [settings.discovery.namespaces for settings in followed.adopted] == [("team-a",), ("team-b",)]


async def test_what_is_not_valid_changes_nothing_and_is_reported_once(followed: FollowedFile) -> None:
    await followed.write(BROKEN)
    await followed.look(5)

    assert (followed.adopted, followed.lines) == ([], ["settings not valid; those in force stay"])
    assert "`health.timeout`: expected a duration" in str(followed.field("error"))
    ((kind, reason, note),) = followed.reported
    assert (kind, reason, "`health.timeout`" in note) == ("Warning", "SettingsInvalid", True)
    assert followed.series() == {'reloads_total{result="invalid"}': 1}

    await followed.write("health: {timeout: 2s}")

    assert [settings.health.timeout for settings in followed.adopted] == [2.0]
    assert followed.series() == {"valid": 1, 'reloads_total{result="invalid"}': 1, 'reloads_total{result="success"}': 1}


async def test_a_file_that_is_as_it_was_before_a_mistake_is_valid_again(followed: FollowedFile) -> None:
    await followed.write(BROKEN)
    await followed.write("")

    assert (followed.adopted, followed.lines[-1], followed.field("changed")) == ([], "settings reloaded", [])
    assert followed.series()["valid"] == 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("election: {lease_duration: 1s}", id="times of an election"),
        pytest.param("output: {base_toolsets: {'a b/../c': {}}}", id="a document"),
    ],
)
async def test_what_no_single_value_shows_is_checked_too(followed: FollowedFile, text: str) -> None:
    await followed.write(text)

    assert (followed.adopted, followed.lines) == ([], ["settings not valid; those in force stay"])


async def test_a_file_that_is_gone_changes_nothing_until_it_is_back(followed: FollowedFile) -> None:
    followed.file.unlink()
    await followed.look(3)
    assert "there is no such file" in str(followed.field("error"))
    await followed.write("health: {timeout: 2s}")

    assert len(followed.adopted) == 1


async def test_what_needs_a_restart_stays_as_it_was_and_is_named(followed: FollowedFile) -> None:
    await followed.write("server: {port: 9}\ntarget: {name: other}\nhealth: {timeout: 2s}")

    (settings,) = followed.adopted
    assert (settings.server.port, settings.target.name, settings.health.timeout) == (
        8080,
        "kubernaut-toolset-config",
        2.0,
    )
    assert followed.lines == ["settings reloaded", *["setting not changed: restart needed"] * 2]
    assert followed.field("setting") == "server.port"
    note = "health.timeout changed; target.name, server.port will change with a restart"
    assert followed.reported == [("Normal", "SettingsReloaded", note)]
    assert followed.series()["restart_needed"] == 2


async def test_another_name_of_this_installation_needs_a_restart(followed: FollowedFile) -> None:
    await followed.write("output: {instance: after, limit_kib: 500}")
    (settings,) = followed.adopted
    assert (settings.output.instance, settings.output.limit_kib) == ("", 500)
    assert followed.field("setting") == "output.instance"


async def test_flags_and_environment_keep_their_precedence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    followed = FollowedFile(tmp_path, caplog, environment={"TOOLSET_HEALTH__TIMEOUT": "9s"})
    await followed.write("health: {timeout: 2s, interval: 2s}")

    (settings,) = followed.adopted
    assert (settings.health.timeout, settings.health.interval) == (9.0, 2.0)


async def test_a_link_that_is_swapped_as_the_kubelet_does_it_is_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    followed = FollowedFile(tmp_path, caplog)
    followed.file.unlink()
    for name in ("..old", "..new"):
        (tmp_path / name).mkdir()
    (tmp_path / "..new" / "settings.yaml").write_text("health: {timeout: 2s}")
    (tmp_path / "..old" / "settings.yaml").write_text("")
    (tmp_path / "..data").symlink_to("..old")
    followed.file.symlink_to("..data/settings.yaml")
    await followed.look(3)
    assert followed.lines == []
    (tmp_path / "..data_tmp").symlink_to("..new")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    await followed.look(2)

    assert [settings.health.timeout for settings in followed.adopted] == [2.0]


async def test_it_looks_for_as_long_as_it_runs(followed: FollowedFile) -> None:
    followed.file.write_text("health: {timeout: 2s}")
    async with running(followed.reloader.run):
        while not followed.adopted:  # noqa: ASYNC110 - reading is done by a thread, which virtual time does not know
            await anyio.sleep(LOOK_S)
    assert [settings.health.timeout for settings in followed.adopted] == [2.0]


async def test_a_bug_of_ours_leaves_the_settings_as_they_are(
    followed: FollowedFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(_: Settings) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(reloader, "check", stumble)
    await followed.write("health: {timeout: 2s}")

    assert (followed.adopted, followed.lines) == (
        [],
        ["settings cannot be checked", "settings not valid; those in force stay"],
    )
    assert caplog.records[0].exc_info


async def test_a_read_that_hangs_does_not_keep_the_process(followed: FollowedFile) -> None:
    followed.file.unlink()
    os.mkfifo(followed.file)
    with anyio.move_on_after(LOOK_S) as patience:
        await followed.look()
    assert patience.cancelled_caught
    os.close(os.open(followed.file, os.O_RDWR))  # lets the thread that reads go on


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
    every = msgspec.structs.fields(Settings)
    sections = [section for section in every if is_struct_type(section.type)]
    known = {section.name for section in every} | {
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


def test_a_list_of_static_backends_is_merged_as_a_whole() -> None:
    wanted = load("static: [{type: grafana, name: a, url: 'http://a.example.com'}]", {}, {})
    merged, changed, waiting = merge(Settings(), wanted)
    assert (merged, changed, waiting) == (wanted, ("static",), ())
