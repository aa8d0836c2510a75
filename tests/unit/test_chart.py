"""What the Helm chart repeats from elsewhere is up to date, and each of its values is explained."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

import chart
from toolset import __version__

PROJECT: Final = Path(__file__).parents[2]
CHART: Final = PROJECT / "deploy" / "helm"
VALUE: Final = re.compile(r"^( *)(\w+):(.*)$")


def test_versions_of_the_chart_are_the_version_of_the_package() -> None:
    written: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert (written["version"], written["appVersion"]) == (__version__, __version__)


def test_settings_in_the_schema_of_the_values_are_up_to_date() -> None:
    written = chart.SCHEMA.read_text("utf-8")
    assert written == chart.page(written), "deploy/helm/values.schema.json is stale: run `make docs`"


def test_documented_versions_of_helm_are_those_that_the_tests_use() -> None:
    pinned = (PROJECT / "hack" / "manifests" / "helm" / "go.mod").read_text("utf-8")
    versions = re.findall(r"helm\.sh/helm/v\d v(\d+\.\d+)\.\d+ ", pinned)
    text = (PROJECT / "docs" / "install.md").read_text("utf-8")
    assert f"Tested with Helm {' and '.join(versions)}: " in text


def unexplained(text: str) -> Iterator[str]:
    """Yield the values without a comment above them; a mapping of values needs none if each of its values has one."""
    lines = text.splitlines()
    for above, line, below in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        if (match := VALUE.match(line)) and not above.strip().startswith("#"):
            explained_inside = not match[3] and below.strip().startswith("#")
            if not explained_inside and match[1] + match[2] not in {"  requests", "  limits"}:
                yield match[2]


def test_every_value_has_a_comment() -> None:
    text = (CHART / "values.yaml").read_text("utf-8")
    assert list(unexplained(text)) == []
    assert list(unexplained("a: 1\n# why\nb: 2\nc:\n  d: 3\n")) == ["a", "c", "d"]


def test_schema_has_every_value_and_no_other() -> None:
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    schema: dict[str, Any] = json.loads(chart.SCHEMA.read_text("utf-8"))["properties"]
    assert set(schema) - {"global"} == set(values)
    for name, value in values.items():
        if inner := schema[name].get("properties"):
            assert set(inner) >= set(value), name
