"""The three patches that say what to change."""

from typing import Any

import pytest

from toolset.sim.kinds import SERVICE
from toolset.sim.patches import JSON_PATCH, MERGE, STRATEGIC, json_patch, merge_patch, patched, strategic_patch
from toolset.sim.statuses import Object, Refused


@pytest.mark.parametrize(
    ("live", "patch", "result"),
    [
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({"a": 1}, [1], [1]),
    ],
)
def test_a_merge_patch_follows_its_rfc(live: object, patch: object, result: object) -> None:
    assert merge_patch(live, patch) == result


def ports(*numbers: int, **changes: object) -> Object:
    return {"spec": {"ports": [{"port": number} for number in numbers]}, **changes}


@pytest.mark.parametrize(
    ("patch", "left"),
    [
        ({"ports": [{"port": 3}]}, [3, 1, 2]),
        ({"ports": [{"$patch": "delete", "port": 1}]}, [2]),
        ({"$setElementOrder/ports": [{"port": 2}, {"port": 1}], "ports": []}, [2, 1]),
        ({"$setElementOrder/ports": [{"port": 1}, {"port": 3}], "ports": [{"port": 3}]}, [1, 3, 2]),
        ({"ports": None}, []),
    ],
)
def test_a_strategic_patch_merges_ports_one_by_one(patch: object, left: list[int]) -> None:
    patched: Object = strategic_patch(SERVICE.shape, ports(1, 2), {"spec": patch})
    assert [port["port"] for port in patched["spec"].get("ports", [])] == left


def test_a_strategic_patch_changes_fields_of_a_port_and_leaves_the_others() -> None:
    live: Object = {"spec": {"ports": [{"port": 1, "name": "a", "protocol": "TCP"}]}}
    patched: Object = strategic_patch(SERVICE.shape, live, {"spec": {"ports": [{"port": 1, "name": "b"}]}})
    assert patched["spec"]["ports"] == [{"port": 1, "name": "b", "protocol": "TCP"}]


def test_a_strategic_patch_can_replace_a_map() -> None:
    live: Object = {"spec": {"selector": {"a": "b"}}}
    patched: Object = strategic_patch(SERVICE.shape, live, {"spec": {"selector": {"$patch": "replace", "c": "d"}}})
    assert patched["spec"]["selector"] == {"c": "d"}


def test_operations_follow_one_another_and_leave_the_original() -> None:
    live: Object = {"a": {"b/c": 1}, "l": [1, 2]}
    operations = [
        {"op": "test", "path": "/a/b~1c", "value": 1},
        {"op": "replace", "path": "/a/b~1c", "value": 2},
        {"op": "add", "path": "/l/0", "value": 0},
        {"op": "add", "path": "/l/-", "value": 3},
        {"op": "remove", "path": "/l/1"},
        {"op": "replace", "path": "/l/0", "value": 9},
    ]
    assert json_patch(live, operations) == {"a": {"b/c": 2}, "l": [9, 2, 3]}
    assert live == {"a": {"b/c": 1}, "l": [1, 2]}


@pytest.mark.parametrize("operation", ["remove", "replace", "test"])
def test_an_operation_on_what_is_not_there_is_refused(operation: str) -> None:
    operations: list[dict[str, Any]] = [{"op": operation, "path": "/a/b", "value": 1}]
    with pytest.raises(Refused) as refused:
        json_patch({"a": {}}, operations)
    assert refused.value.code == 422


@pytest.mark.parametrize(
    ("patch", "content_type"),
    [
        ([], MERGE),
        ([], STRATEGIC),
        ({"spec": {"ports": [{"name": "a"}]}}, STRATEGIC),
        ([{"op": "add"}], JSON_PATCH),
        (1, JSON_PATCH),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(patch: object, content_type: str) -> None:
    with pytest.raises(Refused) as refused:
        patched(SERVICE.shape, ports(1), patch, content_type)
    assert refused.value.code == 400
