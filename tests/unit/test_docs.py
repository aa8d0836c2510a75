"""What the documents show as output is what the commands print."""

import ast
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

import banners
import compatibility
import layers
import reference
from toolset.cli import main
from toolset.core.status.problems import ProblemWord

PROJECT = Path(__file__).parents[2]
HOP = re.compile(r"^\| (\d+) \| `([\w/]+\.py)` \| `(\w+)` \| [^|]+ \| ([a-z ]+) \|$", re.MULTILINE)
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
    assert len(drawn) == len(layers.CONTRACTS) + len(names) <= 32
    assert max(len(line) for line in drawn) <= 120


def test_the_way_of_an_event_names_functions_that_exist_and_stays_short() -> None:
    hops = HOP.findall((PROJECT / "docs" / "architecture.md").read_text("utf-8"))
    assert [int(number) for number, _, _, _ in hops] == list(range(1, len(hops) + 1))
    assert len(hops) <= 25
    tasks = [task for _, _, _, task in hops]
    assert sum(before != after for before, after in pairwise(tasks)) <= 3
    for _, file, function, _ in hops:
        tree = ast.parse((PROJECT / "src" / "toolset" / file).read_text("utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert function in defined, f"{file} has no {function}"


def cases(*passed: str, **others: str) -> str:
    """Return a report with the tests that passed, and others by their results."""
    results = [f'<testcase classname="test_it" name="{name}"/>' for name in passed]
    results += [f'<testcase classname="test_it" name="{name}"><{kind}/></testcase>' for name, kind in others.items()]
    return f"<testsuites><testsuite>{''.join(results)}</testsuite></testsuites>"


def test_a_row_of_the_compatibility_table_without_a_report_stays(tmp_path: Path) -> None:
    report = tmp_path / "1.33-on.xml"
    report.write_text(cases("a", b="skipped", c="failure", d="error"), "utf-8")
    (tmp_path / "1.33-on.alone.xml").write_text(cases("e", f="failure"), "utf-8")
    (tmp_path / "1.33-on.again.xml").write_text(cases("c", f="failure"), "utf-8")
    empty = f"{compatibility._BEGIN}{compatibility._END}"
    older = compatibility.Row(compatibility.version("1.30"), "off", 7, 0, 2)
    page = compatibility.page(compatibility.page(empty, [older]), [compatibility.row(report)])
    assert page.splitlines()[4:6] == [
        f"| {compatibility.version('1.30')} | off | 7 | 0 | 2 |",
        f"| {compatibility.version('1.33')} | on | 3 | 2 | 1 |",
    ]


def test_a_version_of_holmesgpt_says_which_scenarios_fail(tmp_path: Path) -> None:
    report = tmp_path / "holmesgpt-0.32.0.xml"
    failing = '<testcase name="test_it[a Prometheus with tenants]"><failure/></testcase><testcase name="test_it[b]"/>'
    report.write_text(f'<testsuites><testsuite tests="2" failures="1">{failing}</testsuite></testsuites>')
    begin, end, _ = compatibility._HOLMESGPT
    older = compatibility.Holmes("0.9.0", 1, 1, 0, "b")
    page = compatibility.page(f"{begin}{end}", [], [older])
    page = compatibility.page(page, [], [compatibility.holmesgpt_row(report)])
    assert page.splitlines()[4:6] == ["| 0.9.0 | 1 | 1 | 0 | b |", "| 0.32.0 | 1 | 1 | 0 | a Prometheus with tenants |"]


def test_compatibility_table_is_as_it_was_written() -> None:
    written = compatibility.PAGE.read_text("utf-8")
    assert written == compatibility.page(written, [])


def test_the_pictures_of_the_banner_say_what_the_page_says() -> None:
    """The text is compared, state by state, not the drawing."""
    shown = {file.stem: _texts(file.read_text("utf-8")) for file in banners.FOLDER.glob("*.svg")}
    drawn = {name: _texts(banners.drawn(status)) for name, status in banners.states().items()}
    assert all(drawn.values())
    assert shown == drawn, "docs/banners is stale: run `make docs`"


def test_the_status_page_of_the_documents_has_each_picture_and_each_word() -> None:
    page = (PROJECT / "docs" / "status.md").read_text("utf-8")
    assert {name for name in banners.states() if f"(banners/{name}.svg)" not in page} == set()
    assert {word for word in get_args(ProblemWord) if f"`{word}`" not in page} == set()


def _texts(picture: str) -> list[str]:
    return re.findall(r"<text[^>]*>(.*?)</text>", picture)
