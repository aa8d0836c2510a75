"""The two patches that say what to change."""

import pytest

from toolset.sim.patches import merged
from toolset.sim.statuses import Object


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
    assert merged(live, patch) == result


@pytest.mark.parametrize(
    ("patch", "left"),
    [
        ({"ports": [{"port": 3}]}, [3, 1, 2]),
        ({"ports": [{"$patch": "delete", "port": 1}]}, [2]),
        ({"$setElementOrder/ports": [{"port": 2}, {"port": 1}]}, [2, 1]),
        ({"$setElementOrder/ports": [{"port": 1}, {"port": 3}], "ports": [{"port": 3}]}, [1, 3, 2]),
        ({"ports": None}, []),
    ],
)
def test_a_strategic_patch_merges_ports_one_by_one(patch: object, left: list[int]) -> None:
    live: Object = {"spec": {"ports": [{"port": 1}, {"port": 2}]}}
    result: Object = merged(live, {"spec": patch}, strategic=True)
    assert [port["port"] for port in result["spec"].get("ports", [])] == left


def test_a_strategic_patch_changes_fields_of_a_port_and_leaves_the_others() -> None:
    live: Object = {"spec": {"ports": [{"port": 1, "name": "a", "protocol": "TCP"}]}}
    result: Object = merged(live, {"spec": {"ports": [{"port": 1, "name": "b"}]}}, strategic=True)
    assert result["spec"]["ports"] == [{"port": 1, "name": "b", "protocol": "TCP"}]
    assert live["spec"]["ports"][0]["name"] == "a"


def test_an_order_of_anything_else_is_no_field() -> None:
    assert merged({"metadata": {}}, {"metadata": {"$setElementOrder/finalizers": ["a"]}}, strategic=True) == {
        "metadata": {}
    }


def test_data_by_the_name_of_ports_is_only_text() -> None:
    result: Object = merged({"data": {"ports": "1"}}, {"data": {"ports": "2"}}, strategic=True)
    assert result == {"data": {"ports": "2"}}
