from collections.abc import Mapping

from toolset.core.json_values import Document
from toolset.core.publishing.provenance import Field, trace


def test_each_field_says_where_it_comes_from() -> None:
    plain: Mapping[str, Document] = {"a": {"kept": 1, "changed": 1, "repeated": 1, "gone": 1}, "dropped": {"url": "x"}}
    final: Mapping[str, Document] = {"a": {"kept": 1, "changed": 2, "repeated": 1, "more": [3]}, "added": {"url": "y"}}
    assert trace(plain, final, {"a": {"repeated": 1}}) == (
        Field("a", ("kept",), 1, "discovered"),
        Field("a", ("changed",), 2, "overridden"),
        Field("a", ("repeated",), 1, "overridden"),
        Field("a", ("more", "0"), 3, "overridden"),
        Field("a", ("gone",), 1, "removed"),
        Field("added", ("url",), "y", "overridden"),
        Field("dropped", ("url",), "x", "removed"),
    )
