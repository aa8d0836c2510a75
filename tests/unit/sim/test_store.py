"""The store: versions, lists of now and of before, watches over a bounded log."""

import pytest

from toolset.sim.kinds import CONFIG_MAP, SERVICE
from toolset.sim.statuses import Object, Refused
from toolset.sim.store import Page, Store, Watch, selection


def everything(_: Object) -> bool:
    return True


def config_map(name: str, namespace: str = "n", **data: str) -> Object:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"namespace": namespace, "name": name}, "data": data}


def names(page: Object) -> list[str]:
    return [each["metadata"]["name"] for each in page["items"]]


@pytest.fixture
def store() -> Store:
    filled = Store()
    for name in ("a", "b", "c"):
        filled.put(CONFIG_MAP, config_map(name))
    return filled


def test_every_write_moves_the_version_and_is_told() -> None:
    store, told = Store(), list[int]()
    store.on_change = lambda: told.append(store.version)
    first = store.put(CONFIG_MAP, config_map("a"))
    second = store.put(CONFIG_MAP, config_map("a", k="v"))
    gone = store.drop(("configmaps", "n/a"))
    versions = [int(each["metadata"]["resourceVersion"]) for each in (first, second, gone)]
    assert versions == told
    assert versions == sorted(set(versions))
    assert store.get(CONFIG_MAP, "n", "a") is None


def test_pages_show_one_moment(store: Store) -> None:
    first = store.page(CONFIG_MAP, "n", everything, Page(limit=2))
    assert names(first) == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 1
    store.drop(("configmaps", "n/c"))
    store.put(CONFIG_MAP, config_map("d"))
    second = store.page(CONFIG_MAP, "n", everything, Page(limit=2, token=first["metadata"]["continue"]))
    assert names(second) == ["c"]
    assert second["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}


def test_a_page_of_a_forgotten_moment_is_gone_and_can_be_taken_as_of_now(store: Store) -> None:
    token = store.page(CONFIG_MAP, "n", everything, Page(limit=2))["metadata"]["continue"]
    store.put(CONFIG_MAP, config_map("d"))
    store.compact()
    with pytest.raises(Refused) as refused:
        store.page(CONFIG_MAP, "n", everything, Page(limit=2, token=token))
    assert (refused.value.code, refused.value.body["reason"]) == (410, "Expired")
    rest = store.page(CONFIG_MAP, "n", everything, Page(token=refused.value.body["metadata"]["continue"]))
    assert names(rest) == ["c", "d"]


def test_a_list_can_be_of_another_namespace_and_another_kind(store: Store) -> None:
    store.put(CONFIG_MAP, config_map("a", "other"))
    assert names(store.page(CONFIG_MAP, "other", everything, Page())) == ["a"]
    assert names(store.page(CONFIG_MAP, "", everything, Page())) == ["a", "b", "c", "a"]
    assert names(store.page(SERVICE, "", everything, Page())) == []


def test_a_watch_goes_on_from_its_version(store: Store) -> None:
    watch = Watch(store, CONFIG_MAP, "n", everything, store.version)
    assert watch.take() == []
    store.put(CONFIG_MAP, config_map("a", k="v"))
    store.put(CONFIG_MAP, config_map("d"))
    store.put(CONFIG_MAP, config_map("e", "other"))
    store.drop(("configmaps", "n/b"))
    events = [(each["type"], each["object"]["metadata"]["name"]) for each in watch.take()]
    assert events == [("MODIFIED", "a"), ("ADDED", "d"), ("DELETED", "b")]
    assert watch.take() == []


def test_a_selected_watch_sees_what_comes_and_what_leaves(store: Store) -> None:
    watch = Watch(store, CONFIG_MAP, "n", lambda content: content["data"].get("k") == "v", store.version)
    for data in ({"k": "v"}, {"k": "v", "l": "w"}, {}):
        store.put(CONFIG_MAP, config_map("a", **data))
    assert [each["type"] for each in watch.take()] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_watch_that_falls_behind_the_log_ends_with_an_error() -> None:
    store = Store(log_size=2)
    watch = Watch(store, CONFIG_MAP, "", everything, store.version)
    for name in ("a", "b", "c"):
        store.put(CONFIG_MAP, config_map(name))
    (event,) = watch.take()
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_a_watch_from_the_future_waits(store: Store) -> None:
    watch = Watch(store, CONFIG_MAP, "", everything, store.version + 1)
    store.put(CONFIG_MAP, config_map("d"))
    assert watch.take() == []
    store.put(CONFIG_MAP, config_map("e"))
    assert [each["object"]["metadata"]["name"] for each in watch.take()] == ["e"]


@pytest.mark.parametrize(
    ("fields", "labels", "chosen"),
    [
        ("", "", True),
        ("metadata.name=a", "", True),
        ("metadata.name!=a", "", False),
        ("metadata.name=a,metadata.namespace=other", "", False),
        ("", "x=1", True),
        ("", "x==1,y!=2", True),
        ("", "x", True),
        ("", "!x", False),
        ("", "y", False),
    ],
)
def test_selectors_choose(fields: str, labels: str, *, chosen: bool) -> None:
    content: Object = {"metadata": {"name": "a", "namespace": "n", "labels": {"x": "1"}}}
    assert selection(CONFIG_MAP, fields, labels)(content) is chosen


@pytest.mark.parametrize(("fields", "labels"), [("spec.foo=1", ""), ("bad", ""), ("", "a===b")])
def test_selectors_that_make_no_sense_are_refused(fields: str, labels: str) -> None:
    with pytest.raises(Refused) as refused:
        selection(CONFIG_MAP, fields, labels)
    assert refused.value.code == 400
