from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest

from support.build import service
from support.events import FakeEvents
from support.spans import Exported
from toolset.adapters.metrics import Metrics
from toolset.config.settings import Settings
from toolset.core.overrides.baseline import NOTHING
from toolset.core.shares import Shares
from toolset.model import ConfigMap, ConfigMapMeta, Key, Namespace, NamespaceMeta, Service
from toolset.reconciler import spans
from toolset.runtime.multi_namespace_store import MultiNamespaceStore
from toolset.runtime.store import Store
from toolset.runtime.workqueue import CAUSES_LIMIT, WorkQueue
from toolset.service.queues import RESYNC_PRIORITY, SERVICE_DEBOUNCE, TARGET_DEBOUNCE, Queues
from toolset.service.state import Stores, TargetStores
from toolset.telemetry.reconcile_log import ReconcileLog

TARGET = Key("kubernaut-system", "kubernaut-toolset-config")


class Readers:
    """Counts how often the readers of the ConfigMap would be notified."""

    def __init__(self) -> None:
        self.changes = 0

    def config_map_changed(self) -> None:
        self.changes += 1


class World:
    """The queues of a pipeline over stores that the test fills."""

    def __init__(self) -> None:
        self.services: Store[Service] = Store(_unexpected)
        self.config_maps: Store[ConfigMap] = Store(_unexpected)
        self.namespaces: Store[Namespace] = Store(_unexpected)
        self.services.replace([service("a"), service("b")], "1")
        self.config_maps.replace([], "1")
        self.namespaces.replace([namespace()], "1")
        self.readers, metrics = Readers(), Metrics("1")
        self.log = ReconcileLog(metrics, FakeEvents())
        self.stores = Stores(MultiNamespaceStore({"": self.services}), self.config_maps, self.namespaces)
        self.queues = Queues(Settings(), self.stores, self.readers.config_map_changed, metrics, self.log, Shares())

    def open(self) -> None:
        """Let every Service have its verdict."""
        self.queues.gate.begin((), NOTHING)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    with world.queues.following():
        yield world


def _unexpected(error: Exception) -> None:
    raise error


def namespace(*, ending: str | None = None) -> Namespace:
    return Namespace(
        NamespaceMeta(name="monitoring", resource_version="2" if ending else "1", deletion_timestamp=ending)
    )


def config_map(version: str) -> ConfigMap:
    return ConfigMap(ConfigMapMeta(name=TARGET.name, namespace=TARGET.namespace, resource_version=version, uid="u"))


async def taken(queue: WorkQueue[Key]) -> list[str]:
    """Take what is ready now."""
    names: list[str] = []
    while len(queue):
        with queue.working(key := await queue.get()):
            names.append(key.name)
    return names


async def taken_after(queue: WorkQueue[Key], seconds: float) -> list[str]:
    """Let a worker wait for so long, and return what it took."""
    names: list[str] = []
    with anyio.move_on_after(seconds):
        while True:
            with queue.working(key := await queue.get()):
                names.append(key.name)
    return names


async def test_the_first_list_is_queued_at_once_and_not_measured_as_events(world: World) -> None:
    assert await taken(world.queues.service) == ["a", "b"]
    assert world.log.age_s(service("a").key) is None


async def test_a_change_of_a_service_settles_and_its_age_is_known(world: World) -> None:
    await taken(world.queues.service)
    world.services.delete(service("a"))
    assert await taken(world.queues.service) == []
    assert world.log.age_s(service("a").key) is not None
    assert await taken_after(world.queues.service, SERVICE_DEBOUNCE.quiet_s + 0.001) == ["a"]


async def test_nothing_is_published_before_the_gate_is_open(world: World) -> None:
    world.queues.publish()
    world.queues.publish_last()
    world.config_maps.apply(config_map("5"))
    assert await taken_after(world.queues.target, 60.0) == []


async def test_the_opening_of_the_gate_publishes_at_once(world: World) -> None:
    world.open()
    assert await taken(world.queues.target) == [TARGET.name]


async def test_the_first_publication_knows_what_asked_for_it_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = Exported(monkeypatch)
    for _ in range(2 * CAUSES_LIMIT):
        with spans.ReconcileTrace(dict, ()).under_way():
            world.queues.publish()
    world.open()
    with world.queues.target.working(key := await world.queues.target.get()):
        causes = world.queues.target.taken(key).causes
    assert len(causes) == len(exported.roots) == CAUSES_LIMIT


async def test_what_is_published_settles_once_the_gate_is_open(world: World) -> None:
    world.open()
    await taken(world.queues.target)
    world.queues.publish()
    assert await taken(world.queues.target) == []
    assert await taken_after(world.queues.target, TARGET_DEBOUNCE.quiet_s + 0.001) == [TARGET.name]


async def test_the_last_publication_does_not_settle(world: World) -> None:
    world.open()
    await taken(world.queues.target)
    world.queues.publish()
    world.queues.publish_last()
    assert await taken(world.queues.target) == [TARGET.name]


async def test_a_foreign_write_is_reconciled_and_readers_are_notified(world: World) -> None:
    world.open()
    await taken(world.queues.target)
    world.config_maps.apply(config_map("5"))
    assert await taken_after(world.queues.target, 1.0) == [TARGET.name]
    assert world.readers.changes == 1


async def test_an_own_write_notifies_readers_and_is_not_reconciled_again(world: World) -> None:
    world.open()
    await taken(world.queues.target)
    world.config_maps.overlay(config_map("5"))
    world.config_maps.apply(config_map("5"))
    assert await taken_after(world.queues.target, 60.0) == []
    assert world.readers.changes == 1


async def test_only_the_start_of_a_namespace_s_deletion_and_its_end_queue_its_services(world: World) -> None:
    await taken(world.queues.service)
    world.namespaces.apply(Namespace(NamespaceMeta(name="monitoring", resource_version="1")))
    assert await taken_after(world.queues.service, 1.0) == []
    world.namespaces.apply(namespace(ending="2026-01-01T00:00:00Z"))
    assert await taken_after(world.queues.service, 1.0) == ["a", "b"]
    world.namespaces.delete(namespace(ending="2026-01-01T00:00:00Z"))
    assert await taken_after(world.queues.service, 1.0) == ["a", "b"]


@pytest.mark.parametrize(
    ("label", "reported"), [("trusted", False), ("untrusted", False), ("yes", True)], ids=["trusted", "untrusted", "?"]
)
async def test_a_change_of_the_trust_label_queues_the_services_of_the_namespace(
    world: World, caplog: pytest.LogCaptureFixture, label: str, *, reported: bool
) -> None:
    await taken(world.queues.service)
    labels = {"kubernaut.io/toolset-trust": label, "team": "a"}
    world.namespaces.apply(Namespace(NamespaceMeta(name="monitoring", resource_version="2", labels=labels)))
    assert await taken_after(world.queues.service, 1.0) == ["a", "b"]
    assert ("trust label ignored" in caplog.messages) is reported
    other = {**labels, "team": "b"}
    world.namespaces.apply(Namespace(NamespaceMeta(name="monitoring", resource_version="3", labels=other)))
    assert await taken_after(world.queues.service, 1.0) == []
    world.namespaces.apply(Namespace(NamespaceMeta(name="monitoring", resource_version="4")))
    assert await taken_after(world.queues.service, 1.0) == ["a", "b"]


async def test_a_label_reaches_services_that_came_after_an_earlier_one(world: World) -> None:
    def label(value: str, version: str) -> Namespace:
        labels = {"kubernaut.io/toolset-trust": value}
        return Namespace(NamespaceMeta(name="monitoring", resource_version=version, labels=labels))

    world.namespaces.apply(label("trusted", "2"))
    world.services.apply(service("new", version="2"))
    await taken_after(world.queues.service, 1.0)
    world.namespaces.apply(label("untrusted", "3"))
    assert await taken_after(world.queues.service, 1.0) == ["a", "b", "new"]


async def test_a_service_whose_approval_changed_is_detected_once_more_at_once(world: World) -> None:
    await taken(world.queues.service)
    world.queues.detect(service("a").key)
    assert await taken(world.queues.service) == ["a"]


async def test_a_resync_waits_behind_changes(world: World) -> None:
    await taken(world.queues.service)
    world.queues.resync()
    world.queues.service.add(service("b").key)
    first = await world.queues.service.get()
    second = await world.queues.service.get()
    assert (first.name, second.name) == ("b", "a")
    assert world.queues.service.taken(second).priority == RESYNC_PRIORITY


async def test_nothing_is_followed_after_the_block() -> None:
    world = World()
    with world.queues.following():
        await taken(world.queues.service)
    world.services.delete(service("a"))
    assert await taken_after(world.queues.service, 1.0) == []


async def test_a_change_of_the_admins_own_config_map_asks_for_a_reconcile() -> None:
    world = World()
    overrides: Store[ConfigMap] = Store(_unexpected)
    overrides.replace([], "1")
    stores = msgspec.structs.replace(world.stores, overrides=overrides)
    queues = Queues(Settings(), stores, world.readers.config_map_changed, Metrics("1"), world.log, Shares())
    with queues.following():
        queues.gate.begin((), NOTHING)
        await taken(queues.target)
        overrides.apply(config_map("5"))
        assert await taken_after(queues.target, TARGET_DEBOUNCE.quiet_s + 0.001) == [TARGET.name]
    assert world.readers.changes == 0


async def test_what_a_reconcile_reads_is_in_two_stores_and_one_of_them_is_written() -> None:
    world, relists = World(), list[str]()
    overrides: Store[ConfigMap] = Store(_unexpected)
    mine = msgspec.structs.replace(config_map("5"), metadata=ConfigMapMeta(name="mine", namespace=TARGET.namespace))
    overrides.replace([mine], "5")
    stores = msgspec.structs.replace(world.stores, overrides=overrides, relist=lambda: relists.append("asked"))
    target = TargetStores(stores)
    assert target.get(TARGET) is None
    assert target.get(mine.key) is mine
    assert TargetStores(world.stores).get(mine.key) is None
    target.overlay(config_map("7"))
    target.relist()
    assert (target.get(TARGET), relists) == (config_map("7"), ["asked"])
