"""The Services of common installations: exactly one tool for each backend and type, as the documentation says."""

import json
import re
from pathlib import Path
from typing import Final

import pytest
import yaml

from toolset.cli import main

DOCS: Final = Path(__file__).parents[4] / "docs"
STACKS: Final = DOCS / "examples" / "stacks.yaml"
_ROW: Final = re.compile(r"^\| ([^|]+) \| ([0-9]+) \| ([^|]+) \|$", re.MULTILINE)
_TOOL: Final = re.compile(r"([a-z]+) `([^`]+)`")


def documented() -> tuple[int, set[tuple[str, str]]]:
    """Return how many Services the table of the documentation counts, and which tools it names."""
    page = (DOCS / "backends.md").read_text("utf-8")
    table = page[page.index("<!-- begin stacks") : page.index("<!-- end stacks")]
    rows = _ROW.findall(table)
    assert len(rows) == 8
    tools = [tool for _, _, published in rows for tool in _TOOL.findall(published)]
    return sum(int(count) for _, count, _ in rows), set(tools)


def test_a_plan_of_common_installations_publishes_one_tool_for_each_backend(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "-f", str(STACKS), "--assume-healthy", "-o", "json"]) == 2
    plan = json.loads(capsys.readouterr().out)
    published = [each for each in plan["candidates"] if each["published"]]
    services, tools = documented()
    assert len(yaml.safe_load(STACKS.read_text("utf-8"))["items"]) == services
    assert {(each["type"], f"{each['namespace']}/{each['name']}") for each in published} == tools
    assert len(published) == len(tools)
