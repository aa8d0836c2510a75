"""What the documents show as output is what the commands print."""

import re
import shlex
from pathlib import Path

import pytest

import reference
from toolset.cli import main

PROJECT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```console\n\$ toolset (.*?)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str, str]]:
    return [
        (document.name, command, printed)
        for document in sorted((PROJECT / "docs").glob("*.md"))
        for command, printed in BLOCK.findall(document.read_text("utf-8"))
    ]


@pytest.mark.parametrize(
    ("document", "command", "printed"), [pytest.param(*each, id=f"{each[0]}: {each[1]}") for each in examples()]
)
def test_an_example_prints_what_the_document_shows(
    document: str, command: str, printed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == printed, f"the example in docs/{document} is stale"


def test_there_are_examples() -> None:
    assert len(examples()) >= 2


@pytest.mark.parametrize("page", reference.PAGES)
def test_a_reference_page_follows_from_the_code(page: str) -> None:
    written = (PROJECT / "docs" / "reference" / page).read_text("utf-8")
    assert written == reference.PAGES[page](), f"docs/reference/{page} is stale: run `make docs`"
