"""Writes: what is stored, who owns it, what is refused; and that watches and lists report the same."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolset.sim.kinds import CONFIG_MAP, NAMESPACE, SERVICE, Place
from toolset.sim.statuses import Object, Refused
from toolset.sim.store import Store
from toolset.sim.writing import Writer

ALL = Place(CONFIG_MAP, "n")
ONE = Place(CONFIG_MAP, "n", "one")


class Cluster:
    def __init__(self) -> None:
        self.store = Store()
        self.writer = Writer(self.store)
        self.writer.create(Place(NAMESPACE), {"metadata": {"name": "n"}}, "admin")

    def create(self, **data: str | None) -> Object:
        return self.writer.create(ALL, body(data), "admin")

    def patch(self, change: Object, manager: str = "admin") -> Object:
        return self.writer.patch(ONE, change, manager)

    def apply(self, data: dict[str, str | None], manager: str = "ours", *, force: bool = True, **meta: str) -> Object:
        done, _ = self.writer.apply(ONE, body(data, **meta), manager, force=force)
        return done


def body(data: dict[str, str | None], **metadata: str) -> Object:
    return {"metadata": {"name": "one", **metadata}, "data": data}


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
    return refused.value.code, refused.value.status["reason"]


def test_a_new_object_has_what_the_server_gives_it(cluster: Cluster) -> None:
    content = cluster.create(a="1")
    assert (content["kind"], content["apiVersion"]) == ("ConfigMap", "v1")
    assert {"uid", "creationTimestamp", "resourceVersion", "managedFields"} < content["metadata"].keys()
    assert content["metadata"]["namespace"] == "n"
    with pytest.raises(Refused) as refused:
        cluster.create()
    assert code(refused) == (409, "AlreadyExists")


def test_our_keys_live_next_to_those_of_others(cluster: Cluster) -> None:
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
    assert refused.value.status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "admin" using v1', "field": ".data.a"}
    ]
    assert owned(cluster.apply({"b": "1"}, force=False)) == {"ours Apply": ["f:b"], "admin Update": ["f:a", "f:b"]}


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


def test_what_was_created_again_has_no_owners_of_before(cluster: Cluster) -> None:
    cluster.apply({"a": "1"})
    cluster.writer.delete(ONE)
    assert owned(cluster.apply({"b": "1"}, "theirs")) == {"theirs Apply": ["f:b"]}


@pytest.mark.parametrize("data", [{"a": 1}, {"a": ["x"]}, "text"])
def test_what_the_service_could_not_read_is_never_stored(cluster: Cluster, data: object) -> None:
    cluster.create(a="1")
    with pytest.raises(msgspec.ValidationError):
        cluster.patch({"data": data})
    stored = cluster.store.get(ONE)
    assert stored is not None
    assert stored["data"] == {"a": "1"}


def test_a_service_gets_an_address_and_keeps_it(cluster: Cluster) -> None:
    services, spec = Place(SERVICE, "n"), {"selector": {"a": "b"}, "ports": [{"port": 80}]}
    first = cluster.writer.create(services, {"metadata": {"name": "s"}, "spec": spec}, "admin")
    second = cluster.writer.create(services, {"metadata": {"name": "t"}, "spec": spec}, "admin")
    labelled = {"metadata": {"name": "s", "labels": {"x": "y"}}, "spec": spec}
    again = cluster.writer.replace(Place(SERVICE, "n", "s"), labelled, "b")
    assert first["spec"]["clusterIP"] != second["spec"]["clusterIP"]
    assert again["spec"] == first["spec"]
    assert first["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


def test_a_namespace_takes_what_is_in_it_along(cluster: Cluster) -> None:
    cluster.create()
    begun = cluster.store.version
    cluster.writer.delete(Place(NAMESPACE, "", "n"))
    assert [each["type"] for each in cluster.store.events(Place(CONFIG_MAP), begun)] == ["DELETED"]
    with pytest.raises(Refused) as refused:
        cluster.create()
    assert code(refused) == (404, "NotFound")


def test_what_is_returned_is_never_changed_later(cluster: Cluster) -> None:
    first = cluster.create(a="1")
    seen = str(first)
    cluster.patch({"data": {"a": "2"}, "metadata": {"labels": {"x": "y"}}})
    cluster.apply({"a": "3"})
    assert str(first) == seen


DATA = st.dictionaries(st.sampled_from("abc"), st.none() | st.sampled_from(["", "1", "2"]))
ACTIONS = st.tuples(st.sampled_from(["create", "patch", "apply", "foreign apply", "delete"]), DATA)


def act(cluster: Cluster, name: str, action: str, data: dict[str, Any]) -> None:
    writer, place, content = cluster.writer, Place(CONFIG_MAP, "n", name), {**body(data), "metadata": {"name": name}}
    if action == "create":
        writer.create(ALL, content, "admin")
    elif action == "patch":
        writer.patch(place, {"data": data}, "admin")
    elif action == "delete":
        writer.delete(place)
    else:
        writer.apply(place, content, action, force=True)


@given(st.lists(st.tuples(st.sampled_from("xyz"), ACTIONS), max_size=30), st.integers(0, 30))
def test_the_events_of_a_watch_add_up_to_the_list(steps: list[tuple[str, Any]], begun_at: int) -> None:
    cluster, folded = Cluster(), dict[str, Object]()
    seen = cluster.store.version
    for place, (name, (action, data)) in enumerate(steps):
        try:
            act(cluster, name, action, data)
        except Refused as refused:
            assert refused.code in {404, 409}  # noqa: PT017 - others would be bugs
        if place == begun_at:
            fold(folded, cluster.store.events(ALL, seen))
            seen = cluster.store.version
    fold(folded, cluster.store.events(ALL, seen))
    listed = cluster.store.all_in(ALL)
    assert sorted(folded.values(), key=lambda each: each["metadata"]["name"]) == listed
    for content in listed:
        held = {key for keys in owned(content).values() for key in keys}
        assert held <= {f"f:{key}" for key in content.get("data", {})}


def fold(folded: dict[str, Object], events: list[Object]) -> None:
    for event in events:
        name: str = event["object"]["metadata"]["name"]
        assert (name in folded) == (event["type"] != "ADDED")
        if event["type"] == "DELETED":
            del folded[name]
        else:
            folded[name] = event["object"]
