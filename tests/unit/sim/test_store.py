"""The store: versions, lists in pages, watches over a bounded log."""

import pytest

from toolset.sim.kinds import CONFIG_MAP, SERVICE, Place
from toolset.sim.statuses import Object, Refused
from toolset.sim.store import RESTS, Store

ALL = Place(CONFIG_MAP, "n")


def put(store: Store, name: str, namespace: str = "n", **data: str) -> Object:
    return store.put(
        Place(CONFIG_MAP, namespace, name), {"metadata": {"namespace": namespace, "name": name}, "data": data}
    )


def names(page: Object) -> list[str]:
    return [each["metadata"]["name"] for each in page["items"]]


@pytest.fixture
def store() -> Store:
    filled = Store()
    for name in ("c", "a", "b"):
        put(filled, name)
    return filled


def test_every_write_moves_the_version(store: Store) -> None:
    changed = store.changed
    written = [put(store, "a"), put(store, "a", k="v"), store.drop(Place(CONFIG_MAP, "n", "a"))]
    versions = [int(each["metadata"]["resourceVersion"]) for each in written]
    assert versions == sorted(set(versions))
    assert versions[-1] == store.version
    assert changed.is_set()
    assert store.get(Place(CONFIG_MAP, "n", "a")) is None


def test_pages_show_one_moment(store: Store) -> None:
    first = store.page(ALL, 2, "")
    assert names(first) == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 1
    store.drop(Place(CONFIG_MAP, "n", "c"))
    put(store, "d")
    for _ in range(2):
        second = store.page(ALL, 2, first["metadata"]["continue"])
        assert names(second) == ["c"]
        assert second["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}


@pytest.mark.parametrize("forget", ["by compaction", "by newer lists"])
def test_the_rest_of_a_list_is_forgotten(store: Store, forget: str) -> None:
    token = store.page(ALL, 2, "")["metadata"]["continue"]
    if forget == "by compaction":
        store.compact()
    for _ in range(RESTS):
        put(store, "a")
        store.page(ALL, 2, "")
    with pytest.raises(Refused) as refused:
        store.page(ALL, 2, token)
    assert (refused.value.code, refused.value.status["reason"]) == (410, "Expired")


def test_a_list_can_be_of_another_namespace_and_another_kind(store: Store) -> None:
    put(store, "a", "other")
    assert names(store.page(Place(CONFIG_MAP, "other"), 0, "")) == ["a"]
    assert names(store.page(Place(CONFIG_MAP), 0, "")) == ["a", "b", "c", "a"]
    assert names(store.page(Place(CONFIG_MAP, "n", "b"), 0, "")) == ["b"]
    assert names(store.page(Place(SERVICE), 0, "")) == []


def test_a_watch_goes_on_from_its_version(store: Store) -> None:
    begun = store.version
    put(store, "a", k="v")
    put(store, "d")
    put(store, "e", "other")
    store.drop(Place(CONFIG_MAP, "n", "b"))
    events = [(each["type"], each["object"]["metadata"]["name"]) for each in store.events(ALL, begun)]
    assert events == [("MODIFIED", "a"), ("ADDED", "d"), ("DELETED", "b")]
    assert store.events(ALL, store.version) == []
    assert [each["type"] for each in store.events(Place(CONFIG_MAP, "n", "d"), begun)] == ["ADDED"]


@pytest.mark.parametrize("compacted", [True, False])
def test_a_watch_that_falls_behind_the_log_ends_with_an_error(*, compacted: bool) -> None:
    store = Store(log_size=2)
    begun = store.version
    for name in "abc":
        put(store, name)
    if compacted:
        store.compact()
    (event,) = store.events(ALL, begun)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert store.events(ALL, store.version) == []
