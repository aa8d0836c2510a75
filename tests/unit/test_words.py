"""Everything that people read is in the field's words; the invented ones of earlier texts stay out."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNWANTED = re.compile(
    r"\b(tells?|telling|told|anew|again and again|look(?:s|ed)? (?:at|again)|mend(?:s|ed)?|beside|put off|no news"
    r"|vanish(?:es|ed)?|who(?:m)?ever|twins?|strangers?|kept? true|(?<!`)sick"
    r"|(?:a|each|every|the|one|next|failed) pass(?:es)?)\b",
    re.IGNORECASE,
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = sorted((ROOT / "src").rglob("*.py"))
MANIFESTS = sorted(each for each in (ROOT / "deploy").rglob("*") if each.suffix in {".yaml", ".json"})
TESTS = [
    each
    for folder in ("tests", "hack", "bench")
    for each in sorted((ROOT / folder).rglob("*.py"))
    if each != Path(__file__)
]


def prose(page: str) -> str:
    """Return a page without what it quotes: code, outputs, and the targets of links."""
    return re.sub(r"```.*?```|`[^`\n]*`|\]\([^)\n]*\)", "", page, flags=re.DOTALL)


def texts(module: str) -> Iterator[str]:
    """Yield the comments and strings of a module (docstrings, messages, help), and the names of its tests."""
    for token in tokenize.generate_tokens(io.StringIO(module).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name.replace("_", " ")


@pytest.mark.parametrize("page", PAGES, ids=[str(each.relative_to(ROOT)) for each in PAGES])
def test_a_page_is_in_the_words_of_the_field(page: Path) -> None:
    assert UNWANTED.findall(prose(page.read_text("utf-8"))) == []


def test_code_is_documented_in_the_words_of_the_field() -> None:
    found = {
        str(each.relative_to(ROOT)): words
        for each in (*MODULES, *TESTS)
        if (words := [word for text in texts(each.read_text("utf-8")) for word in UNWANTED.findall(text)])
    }
    assert found == {}


def test_manifests_are_in_the_words_of_the_field() -> None:
    found = {
        str(each.relative_to(ROOT)): words for each in MANIFESTS if (words := UNWANTED.findall(each.read_text("utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize("text", ["it tells why", "Look at it", "an old stranger", "sees twins"])
def test_an_unwanted_word_is_found(text: str) -> None:
    assert UNWANTED.search(prose(text))
    assert not UNWANTED.search(prose(f"`{text}`"))
