from typing import Final

import pytest

from support.config_maps import FakeConfigMaps
from toolset.core.publishing.plan import Apply, Desired, desired, plan
from toolset.model import ConfigMap, Key
from toolset.reconciler.repair_pace import OF_A_KEY, OF_ALL, RepairPace, overwriters

TARGET: Final = Key("kubernaut-system", "kubernaut-toolset-config")
PREFIX: Final = "kubernaut.io"
WANTED: Final = desired({"a": "1", "b": "1"}, 2, PREFIX)

MANY: Final = desired({f"k{number}": "1" for number in range(100)}, 2, PREFIX)


class Fight:
    """A ConfigMap, and how long the next write of it waits."""

    def __init__(self) -> None:
        self.server = FakeConfigMaps()
        self.pace = RepairPace()
        self.now_s = 0.0

    def change(self, wanted: Desired = WANTED) -> tuple[Apply, ConfigMap | None]:
        cached = self.server.get(TARGET)
        change = plan(TARGET, wanted, cached, PREFIX)
        assert isinstance(change, Apply)
        return change, cached

    def wait_s(self, wanted: Desired = WANTED) -> float:
        change, cached = self.change(wanted)
        return self.pace.wait_s(wanted, change, cached, self.now_s)

    def write(self, wanted: Desired = WANTED) -> None:
        change, cached = self.change(wanted)
        self.server.apply(TARGET, change.manifest)
        self.pace.wrote(wanted, change, cached, self.now_s)

    def until_it_waits(self, key: str) -> None:
        self.write()
        for _ in range(OF_A_KEY.free + 5):
            self.server.patch(TARGET, {key: "theirs"}, manager="gitops")
            self.write()
        self.server.patch(TARGET, {key: "theirs"}, manager="gitops")


def test_repairs_of_a_key_wait_after_a_few() -> None:
    fight = Fight()
    fight.until_it_waits("a")
    assert fight.wait_s() > 1.0


def test_another_key_is_repaired_at_once_and_takes_the_fight_along() -> None:
    fight = Fight()
    fight.until_it_waits("a")
    fight.server.patch(TARGET, {"b": "theirs"})
    assert fight.wait_s() == 0.0


def test_other_content_does_not_wait() -> None:
    fight = Fight()
    fight.until_it_waits("a")
    assert fight.wait_s(desired({"a": "2", "b": "1"}, 2, PREFIX)) == 0.0


def test_a_deleted_config_map_is_made_again_at_once() -> None:
    fight = Fight()
    fight.until_it_waits("a")
    fight.server.delete(TARGET)
    assert fight.wait_s() == 0.0


def test_a_config_map_that_is_always_deleted_waits_to_be_made_again() -> None:
    fight = Fight()
    for _ in range(OF_A_KEY.free + 6):
        fight.write()
        fight.server.delete(TARGET)
    assert fight.wait_s() > 1.0


def test_keys_that_are_overwritten_in_turn_wait_together() -> None:
    fight = Fight()
    fight.write(MANY)
    for number in range(OF_ALL.free + 5):
        fight.server.patch(TARGET, {f"k{number}": "theirs"})
        assert fight.wait_s(MANY) == 0.0 or number >= OF_ALL.free
        fight.write(MANY)
    fight.server.patch(TARGET, {"k99": "theirs"})
    assert fight.wait_s(MANY) > 1.0


@pytest.mark.parametrize(
    ("text", "manager", "found"),
    [
        pytest.param("theirs", "gitops", ("gitops/Update",), id="another manager"),
        pytest.param(None, "gitops", ("unknown",), id="no trace"),
        pytest.param("theirs", "kubernaut-dynamic-toolset", (), id="another process of this service"),
    ],
)
def test_the_managers_of_the_keys_that_are_repaired_are_known(
    text: str | None, manager: str, found: tuple[str, ...]
) -> None:
    fight = Fight()
    fight.write()
    fight.server.patch(TARGET, {"a": text}, manager=manager)
    assert overwriters(*fight.change()) == found


def test_a_config_map_that_is_not_there_has_no_managers_that_are_known() -> None:
    assert overwriters(*Fight().change()) == ("unknown",)
