"""`docs/security.md` and `docs/tenants.md` name tests for what they promise, and those exist."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

PROJECT: Final = Path(__file__).parents[2]
TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROW: Final = re.compile(r"^\| (T\d+|\d+) \| .*\|$", re.MULTILINE)
PAGES: Final = {"security.md": [f"T{number}" for number in range(1, 24)], "tenants.md": [*map(str, range(1, 15))]}


def rows(page: str) -> dict[str, list[tuple[str, str]]]:
    """Return the tests that each row of a table names, as file and function."""
    text = (PROJECT / "docs" / page).read_text("utf-8")
    return {found[1]: TEST.findall(found[0]) for found in ROW.finditer(text)}


@cache
def defined(file: str) -> frozenset[str]:
    tree = ast.parse((PROJECT / file).read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("page", PAGES)
def test_every_row_names_tests_that_exist(page: str) -> None:
    found = rows(page)
    assert [*found] == PAGES[page]
    for row, tests in found.items():
        assert tests, f"docs/{page}: row {row} names no test"
        for file, name in tests:
            assert name in defined(file), f"docs/{page}: row {row} names {file}::{name}, which does not exist"


@pytest.mark.parametrize("file", sorted(path.name for path in (PROJECT / "requirements").glob("*.txt")))
def test_every_dependency_is_pinned_with_hashes(file: str) -> None:
    text = (PROJECT / "requirements" / file).read_text("utf-8").replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert entries
    assert [
        each[:80] for each in entries if not re.match(r"[\w.\[\],-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", each)
    ] == []


def test_the_image_installs_nothing_without_hashes() -> None:
    text = (PROJECT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    installs = re.findall(r"pip\b[^&\n]* install [^&\n]*", text)
    assert installs
    assert [each for each in installs if "--require-hashes" not in each and "--no-index" not in each] == []
