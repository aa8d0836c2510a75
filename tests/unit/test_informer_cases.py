"""The page that says which test proves which promise names no test that is not there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "informer-cases.md"
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
REFERENCE = re.compile(r"`([\w/]+\.py)::(test_\w+)`")

ROWS = [(int(case), promise, REFERENCE.findall(tests)) for case, promise, tests in ROW.findall(PAGE.read_text("utf-8"))]


@cache
def defined_in(file: str) -> frozenset[str]:
    """Return the tests that ``file`` defines itself."""
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    return frozenset(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_every_case_has_one_row() -> None:
    assert [case for case, _, _ in ROWS] == list(range(1, len(ROWS) + 1))
    assert len(ROWS) > 100


@pytest.mark.parametrize(("promise", "tests"), [pytest.param(*row[1:], id=f"case {row[0]}") for row in ROWS])
def test_every_promise_is_a_sentence_and_its_tests_exist(promise: str, tests: list[tuple[str, str]]) -> None:
    assert promise[0].isupper() or promise[0].isdigit()
    assert promise.endswith(".")
    assert tests
    assert [test for file, test in tests if test not in defined_in(file)] == []
