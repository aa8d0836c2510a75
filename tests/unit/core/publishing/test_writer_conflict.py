from collections.abc import Mapping
from typing import Final

import pytest

from support.config_maps import FakeConfigMaps
from toolset.core.publishing.plan import Apply, desired, plan
from toolset.core.publishing.writer_conflict import (
    TOLERATED,
    WriterConflict,
    conflict_message,
    installed_by,
    refusal,
)
from toolset.model import ConfigMap, Key

TARGET: Final = Key("kubernaut-system", "kubernaut-toolset-config")
PREFIX: Final = "kubernaut.io"


class Instance:
    """One process that publishes; it looks before each write, as a target pass does."""

    def __init__(self, config_maps: FakeConfigMaps, name: str = "") -> None:
        self._config_maps = config_maps
        self._name = name
        self.rivalry = WriterConflict()

    @property
    def cached(self) -> ConfigMap | None:
        return self._config_maps.get(TARGET)

    def publish(self, data: Mapping[str, str]) -> bool:
        """Make one reconcile; return whether it was allowed to write."""
        wanted = desired(data, len(data), PREFIX, {"instance": self._name})
        self.rivalry = self.rivalry.observe(self.cached, wanted, PREFIX)
        if self.rivalry.is_persistent or installed_by(self.cached, PREFIX, self._name):
            return False
        change = plan(TARGET, wanted, self.cached, PREFIX)
        if isinstance(change, Apply):
            self._config_maps.apply(TARGET, change.manifest)
        self.rivalry = self.rivalry.after_write(wanted, PREFIX)
        return True


def test_a_second_installation_is_refused_and_the_first_goes_on() -> None:
    config_maps = FakeConfigMaps()
    first, second = Instance(config_maps, "a/toolset"), Instance(config_maps, "b/toolset")
    assert first.publish({"a": "1"})
    assert not second.publish({"a": "2"})
    assert first.publish({"a": "3"})


def test_an_installation_with_a_new_name_goes_on_once_the_old_one_is_removed() -> None:
    config_maps = FakeConfigMaps()
    assert Instance(config_maps, "before").publish({"a": "1"})
    renamed = Instance(config_maps, "after")
    assert not renamed.publish({"a": "2"})
    config_maps.patch(TARGET, annotations={f"{PREFIX}/instance": None})
    assert renamed.publish({"a": "2"})


def test_a_restart_and_another_replica_find_their_own_name() -> None:
    config_maps = FakeConfigMaps()
    assert Instance(config_maps, "a/toolset").publish({"a": "1"})
    assert Instance(config_maps, "a/toolset").publish({"a": "2"})


def test_a_config_map_without_a_name_is_taken_over() -> None:
    config_maps = FakeConfigMaps()
    assert Instance(config_maps).publish({"a": "1"})
    assert Instance(config_maps, "a/toolset").publish({"a": "1"})


def test_a_process_without_a_name_is_refused_by_a_config_map_that_names_an_installation() -> None:
    config_maps = FakeConfigMaps()
    nameless, named = Instance(config_maps), Instance(config_maps, "a/toolset")
    assert nameless.publish({"a": "1"})
    assert named.publish({"a": "2"}), "an upgrade gives a name to an installation that had none"
    assert not nameless.publish({})
    assert named.publish({"a": "3"})


def test_the_refusal_of_a_process_without_a_name_says_so() -> None:
    text = refusal(TARGET, PREFIX, "", "a/toolset")
    for part in (str(TARGET), "'a/toolset'", "this one is without a name (`output.instance`)", "target.name"):
        assert part in text
    assert "''" not in text


def test_the_refusal_says_who_and_what_to_do() -> None:
    text = refusal(TARGET, PREFIX, "b/toolset", "a/toolset")
    for part in (str(TARGET), "'a/toolset'", "'b/toolset'", "target.name", "before `output.instance` changed"):
        assert part in text
    assert text.endswith(f"remove the annotation {PREFIX}/instance from the ConfigMap")
    assert "election.enabled" in conflict_message(TARGET)


def test_two_instances_that_overwrite_each_other_notice_it() -> None:
    config_maps = FakeConfigMaps()
    first, second = Instance(config_maps), Instance(config_maps)
    wrote = 0
    for _ in range(10):
        wrote += first.publish({"a": "1"})
        wrote += second.publish({"a": "2"})
    assert first.rivalry.is_persistent
    assert wrote < 10 + 2 * TOLERATED + 2, "one of them goes on, the other stops"


def test_two_instances_of_one_mind_are_no_war() -> None:
    config_maps = FakeConfigMaps()
    first, second = Instance(config_maps), Instance(config_maps)
    for number in range(20):
        assert first.publish({"a": str(number)})
        assert second.publish({"a": str(number)})
    assert second.rivalry.foreign_writes == 0


def test_a_rolling_restart_is_no_war() -> None:
    config_maps = FakeConfigMaps()
    old, new = Instance(config_maps), Instance(config_maps)
    for number in range(10):
        assert old.publish({"a": f"old {number}"})
    assert new.publish({"a": "new"})
    assert old.publish({"a": "the last word"}), "it is stopping, and flushes once"
    for number in range(10):
        assert new.publish({"a": f"new {number}"})
    assert new.rivalry.foreign_writes == 1


def test_people_who_edit_our_keys_are_no_rivals() -> None:
    config_maps = FakeConfigMaps()
    instance = Instance(config_maps)
    for number in range(20):
        assert instance.publish({"a": str(number)})
        config_maps.patch(TARGET, {"a": "edited", "notes": str(number)})
    assert instance.rivalry.foreign_writes == 0


def test_the_same_version_is_checked_once() -> None:
    config_maps = FakeConfigMaps()
    first, second = Instance(config_maps), Instance(config_maps)
    first.publish({"a": "1"})
    second.publish({"a": "2"})
    for _ in range(10):
        first.rivalry = first.rivalry.observe(first.cached, desired({"a": "1"}, 1, PREFIX), PREFIX)
    assert first.rivalry.foreign_writes == 1


@pytest.mark.parametrize("cached", [None, ConfigMap()])
def test_what_is_not_there_is_nobodys(cached: ConfigMap | None) -> None:
    known = WriterConflict(("x",))
    assert known.observe(cached, desired({}, 0, PREFIX), PREFIX).foreign_writes == 0
    assert installed_by(cached, PREFIX, "a") == ""


def test_it_remembers_only_so_many() -> None:
    known = WriterConflict()
    for number in range(70):
        known = known.after_write(desired({"a": str(number)}, 1, PREFIX), PREFIX)
    assert len(known.wrote) == 64
