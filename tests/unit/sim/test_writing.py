"""Writes: what is stored, who owns it, what is refused; and that watches and lists tell the same."""

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolset.sim.kinds import CONFIG_MAP, LEASE, NAMESPACE, SERVICE
from toolset.sim.patches import MERGE
from toolset.sim.statuses import Object, Refused
from toolset.sim.store import Page, Store, Watch
from toolset.sim.writing import Writer

NOON = datetime(2025, 1, 1, 12, tzinfo=timezone.utc)


class Cluster:
    def __init__(self) -> None:
        self.store = Store()
        self.writer = Writer(self.store, lambda: NOON)
        self.writer.create(NAMESPACE, "", {"metadata": {"name": "n"}}, "admin")

    def create(self, **data: str | None) -> Object:
        return self.writer.create(CONFIG_MAP, "n", body(data), "admin")

    def patch(self, change: Object, manager: str = "admin") -> Object:
        return self.writer.patch(CONFIG_MAP, "n", "one", change, MERGE, manager)

    def apply(self, data: dict[str, str | None], manager: str = "ours", *, force: bool = True, **meta: str) -> Object:
        done, _ = self.writer.apply(CONFIG_MAP, "n", "one", body(data, **meta), manager, force=force)
        return done


def body(data: dict[str, str | None], **metadata: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", **metadata}, "data": data}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def owned(content: Object) -> dict[str, list[str]]:
    """Return the data keys that each manager owns."""
    entries: list[Object] = content["metadata"].get("managedFields", [])
    return {
        f"{each['manager']} {each['operation']}": sorted(each["fieldsV1"].get("f:data", {}).keys() - {"."})
        for each in entries
    }


def code(refused: pytest.ExceptionInfo[Refused]) -> tuple[int, str]:
    return refused.value.code, refused.value.body.get("reason", "")


def test_a_new_object_has_what_the_server_gives_it(cluster: Cluster) -> None:
    metadata = cluster.create(a="1")["metadata"]
    assert metadata["creationTimestamp"] == "2025-01-01T12:00:00Z"
    assert metadata["uid"]
    assert metadata["namespace"] == "n"
    with pytest.raises(Refused) as refused:
        cluster.create()
    assert code(refused) == (409, "AlreadyExists")


def test_our_keys_live_beside_those_of_others(cluster: Cluster) -> None:
    cluster.apply({"a": "1", "b": "1"})
    cluster.patch({"data": {"z": "theirs"}})
    content = cluster.apply({"a": "2"})
    assert content["data"] == {"a": "2", "z": "theirs"}
    assert owned(content) == {"ours Apply": ["f:a"], "admin Update": ["f:z"]}


def test_without_force_what_others_own_is_a_conflict(cluster: Cluster) -> None:
    cluster.create(a="1", b="1")
    with pytest.raises(Refused) as refused:
        cluster.apply({"a": "2"}, force=False)
    assert code(refused) == (409, "Conflict")
    assert refused.value.body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "admin" using v1', "field": ".data.a"}
    ]
    assert owned(cluster.apply({"b": "1"}, force=False)) == {"ours Apply": ["f:b"], "admin Update": ["f:a", "f:b"]}


def test_a_null_in_an_apply_writes_an_empty_text(cluster: Cluster) -> None:
    assert cluster.apply({"a": None})["data"] == {"a": ""}


def test_a_write_that_changes_nothing_keeps_the_version(cluster: Cluster) -> None:
    first = cluster.apply({"a": "1"})
    assert cluster.apply({"a": "1"}) == first
    assert cluster.patch({"data": {"a": "1"}}) == first


def test_a_stale_version_on_an_absent_object_creates_it_and_its_old_uid_does_not(cluster: Cluster) -> None:
    with pytest.raises(Refused) as refused:
        cluster.apply({"a": "1"}, uid="before")
    assert code(refused) == (409, "Conflict")
    assert cluster.apply({"a": "1"}, resourceVersion="1")["data"] == {"a": "1"}


def test_a_stale_version_is_a_conflict_and_a_wrong_uid_is_invalid(cluster: Cluster) -> None:
    cluster.apply({"a": "1"})
    with pytest.raises(Refused) as stale:
        cluster.apply({"a": "2"}, resourceVersion="1")
    with pytest.raises(Refused) as wrong:
        cluster.apply({"a": "2"}, uid="before")
    assert [code(stale), code(wrong)] == [(409, "Conflict"), (422, "Invalid")]


def test_too_much_data_is_refused_to_the_byte(cluster: Cluster) -> None:
    cluster.apply({"k": "x" * 1_048_576})
    with pytest.raises(Refused) as refused:
        cluster.apply({"k": "x" * 1_048_577})
    assert code(refused) == (422, "Invalid")


def test_a_service_gets_an_address_and_keeps_it(cluster: Cluster) -> None:
    service = {"metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}
    first = cluster.writer.create(SERVICE, "n", service, "admin")
    second = cluster.writer.create(SERVICE, "n", {**service, "metadata": {"name": "t"}}, "admin")
    again = cluster.writer.update(SERVICE, "n", "s", {**service, "metadata": {"name": "s", "labels": {"x": "y"}}}, "b")
    assert first["spec"]["clusterIP"] != second["spec"]["clusterIP"]
    assert again["spec"] == first["spec"]
    assert first["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


def test_a_namespace_takes_what_is_in_it_along(cluster: Cluster) -> None:
    cluster.create()
    watch = Watch(cluster.store, CONFIG_MAP, "", lambda _: True, cluster.store.version)
    cluster.writer.delete(NAMESPACE, "", "n", {})
    assert [each["type"] for each in watch.take()] == ["DELETED"]
    with pytest.raises(Refused) as refused:
        cluster.create()
    assert code(refused) == (404, "NotFound")


def test_a_lease_is_only_replaced_by_who_names_its_version(cluster: Cluster) -> None:
    lease = {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 15}}
    cluster.writer.create(LEASE, "n", lease, "a")
    with pytest.raises(Refused) as refused:
        cluster.writer.update(LEASE, "n", "l", lease, "a")
    assert code(refused) == (422, "Invalid")


def test_what_is_returned_is_never_changed_later(cluster: Cluster) -> None:
    first = cluster.create(a="1")
    seen = str(first)
    cluster.patch({"data": {"a": "2"}, "metadata": {"labels": {"x": "y"}}})
    cluster.apply({"a": "3"})
    assert str(first) == seen


KEYS = st.sampled_from("abc")
TEXTS = st.sampled_from(["", "1", "2"])
DATA = st.dictionaries(KEYS, st.none() | TEXTS)
ACTIONS = st.tuples(st.sampled_from(["create", "patch", "apply", "foreign apply", "delete"]), DATA)


def act(cluster: Cluster, name: str, action: str, data: dict[str, Any]) -> None:
    writer, content = cluster.writer, {**body(data), "metadata": {"name": name}}
    if action == "create":
        writer.create(CONFIG_MAP, "n", content, "admin")
    elif action == "patch":
        writer.patch(CONFIG_MAP, "n", name, {"data": data}, MERGE, "admin")
    elif action == "delete":
        writer.delete(CONFIG_MAP, "n", name, {})
    else:
        writer.apply(CONFIG_MAP, "n", name, content, action, force=True)


@given(st.lists(st.tuples(st.sampled_from("xyz"), ACTIONS), max_size=30), st.integers(0, 30))
def test_the_events_of_a_watch_add_up_to_the_list(steps: list[tuple[str, Any]], begun_at: int) -> None:
    cluster, folded = Cluster(), dict[str, Object]()
    watch = Watch(cluster.store, CONFIG_MAP, "n", lambda _: True, cluster.store.version)
    for place, (name, (action, data)) in enumerate(steps):
        try:
            act(cluster, name, action, data)
        except Refused as refused:
            assert refused.code in {404, 409}  # noqa: PT017 - others would be bugs
        if place == begun_at:
            fold(folded, watch)
    fold(folded, watch)
    listed = cluster.store.page(CONFIG_MAP, "n", lambda _: True, Page())["items"]
    assert sorted(folded.values(), key=lambda each: each["metadata"]["name"]) == listed
    for content in listed:
        held = {key for keys in owned(content).values() for key in keys}
        assert held <= {f"f:{key}" for key in content.get("data", {})}


def fold(folded: dict[str, Object], watch: Watch) -> None:
    for event in watch.take():
        name: str = event["object"]["metadata"]["name"]
        assert (name in folded) == (event["type"] != "ADDED")
        if event["type"] == "DELETED":
            del folded[name]
        else:
            folded[name] = event["object"]
