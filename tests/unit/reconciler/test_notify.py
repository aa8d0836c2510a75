import anyio
import pytest

from support.config_maps import FakeConfigMaps
from support.stores import unexpected
from toolset.core.publishing.plan import desired, manifest
from toolset.errors import UnavailableError
from toolset.model import ConfigMap, Key
from toolset.reconciler.notify import NotifyReconciler, Reader
from toolset.runtime.store import Store

TARGET = Key("kubernaut-system", "kubernaut-toolset-config")


class Consumer:
    """A reader that records its notifications, or fails."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.reported: list[str] = []

    async def notify(self, content_hash: str) -> None:
        if self._errors:
            raise self._errors.pop(0)
        self.reported.append(content_hash)


class WatchedConfigMap:
    """The ConfigMap as the watch shows it, and what notifies its readers."""

    def __init__(self, *consumers: Consumer) -> None:
        self.server = FakeConfigMaps()
        self.store: Store[ConfigMap] = Store(unexpected)
        self.notify = NotifyReconciler(self.store, [Reader(each) for each in consumers], "kubernaut.io")

    def publish(self, text: str) -> None:
        wanted = desired({"kubernetes-toolset.yaml": text}, 0, "kubernaut.io")
        current = self.server.apply(TARGET, manifest(TARGET, wanted, self.server.get(TARGET)))
        self.store.replace([current], current.version)

    def edit(self, key: str) -> None:
        current = self.server.patch(TARGET, {key: "x"})
        self.store.replace([current], current.version)


async def test_each_reader_is_notified_once_of_each_state() -> None:
    one, other = Consumer(), Consumer()
    watched = WatchedConfigMap(one, other)
    await watched.notify(TARGET)
    assert one.reported == []
    watched.publish("a")
    await watched.notify(TARGET)
    await watched.notify(TARGET)
    watched.edit("notes")  # not ours, so that no reader has to look
    await watched.notify(TARGET)
    assert len(one.reported) == 1
    watched.publish("b")
    await watched.notify(TARGET)
    assert one.reported == other.reported
    assert len(set(one.reported)) == 2


async def test_a_reader_that_fails_is_notified_again_and_the_others_are_not() -> None:
    well, sick = Consumer(), Consumer(UnavailableError("busy"))
    watched = WatchedConfigMap(well, sick)
    watched.publish("a")
    with pytest.raises(UnavailableError):
        await watched.notify(TARGET)
    await watched.notify(TARGET)
    assert (len(well.reported), len(sick.reported)) == (1, 1)


async def test_a_reader_is_notified_at_most_once_in_its_interval_and_then_of_the_last_state() -> None:
    slow, quick = Consumer(), Consumer()
    watched = WatchedConfigMap()
    watched.notify = NotifyReconciler(watched.store, [Reader(slow, 600.0), Reader(quick)], "kubernaut.io")
    results: list[float | None] = []
    for text in "abc":
        watched.publish(text)
        results.append((await watched.notify(TARGET)).requeue_after_s)
        await anyio.sleep(100)
    assert results == [None, 500.0, 400.0]
    assert (len(slow.reported), len(quick.reported)) == (1, 3)
    await anyio.sleep(300)
    assert (await watched.notify(TARGET)).requeue_after_s is None
    assert slow.reported == [quick.reported[0], quick.reported[2]]
