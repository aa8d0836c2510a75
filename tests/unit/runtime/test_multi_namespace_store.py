import anyio
import pytest
from anyio import wait_all_tasks_blocked

from support.build import service
from support.stores import unexpected
from toolset.model import Key, Service
from toolset.runtime.multi_namespace_store import MultiNamespaceStore
from toolset.runtime.store import Delta, Store


@pytest.fixture
def stores() -> dict[str, Store[Service]]:
    return {"a": Store(unexpected), "b": Store(unexpected)}


async def test_it_shows_what_each_store_has(stores: dict[str, Store[Service]]) -> None:
    merged = MultiNamespaceStore(stores)
    stores["a"].replace([service("x", namespace="a")], "1")
    stores["b"].replace([service("x", namespace="b")], "1")
    assert merged.snapshot().keys() == {Key("a", "x"), Key("b", "x")}
    assert merged.get(Key("a", "x")) == service("x", namespace="a")
    assert merged.get(Key("b", "y")) is None
    assert merged.get(Key("c", "x")) is None


async def test_one_store_may_follow_every_namespace() -> None:
    store: Store[Service] = Store(unexpected)
    merged = MultiNamespaceStore({"": store})
    assert merged.get(Key("any", "x")) is None
    store.replace([service("x", namespace="any")], "1")
    assert merged.get(Key("any", "x")) == service("x", namespace="any")


async def test_it_is_synced_once_all_of_them_are(stores: dict[str, Store[Service]]) -> None:
    merged, waited = MultiNamespaceStore(stores), anyio.Event()

    async def wait() -> None:
        await merged.wait_synced()
        waited.set()

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        stores["b"].replace([], "1")
        await wait_all_tasks_blocked()
        assert not waited.is_set()
        stores["a"].replace([], "1")
        await waited.wait()


async def test_a_handler_hears_of_every_store_until_it_is_cancelled(stores: dict[str, Store[Service]]) -> None:
    heard: list[Key] = []

    def hear(delta: Delta[Service]) -> None:
        assert delta.new is not None
        heard.append(delta.new.key)

    stores["a"].replace([service("early", namespace="a")], "1")
    registrations = MultiNamespaceStore(stores).subscribe(hear)
    stores["b"].replace([service("late", namespace="b")], "1")
    assert heard == [Key("a", "early"), Key("b", "late")]
    for registration in registrations:
        registration.cancel()
    stores["b"].replace([service("later", namespace="b", version="2")], "2")
    assert len(heard) == 2
