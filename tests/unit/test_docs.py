"""What the documents show as output is what the commands print."""

import re
import shlex
from pathlib import Path

import pytest

import layers
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
def test_reference_page_is_up_to_date(page: str) -> None:
    written = (PROJECT / "docs" / "reference" / page).read_text("utf-8")
    assert written == reference.PAGES[page](), f"docs/reference/{page} is stale: run `make docs`"


def test_layers_in_the_architecture_page_are_up_to_date() -> None:
    written = layers.PAGE.read_text("utf-8")
    assert written == layers.page(written), "docs/architecture.md is stale: run `make docs`"


def test_layers_drawing_has_every_module_and_fits_a_screen() -> None:
    drawn = layers.drawing().splitlines()
    names = [name for stack in layers.layers().values() for layer in stack for name in layer]
    assert len(layers.layers()) == len(layers.CONTRACTS)
    assert len(drawn) == len(layers.CONTRACTS) + len(names) <= 30
    assert max(len(line) for line in drawn) <= 120
