"""The index in docs/troubleshooting.md: each row leads from a symptom over a command that exists to a page."""

import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from toolset.commands.parser import parser
from toolset.core.candidate import Reason

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGES: Final = (
    "troubleshooting.md",
    "status.md",
    "operations.md",
    "upgrade.md",
    "openshift.md",
    "support.md",
    "release.md",
)
CODE: Final = re.compile(r"`([^`\n]+)`")
BLOCK: Final = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def text(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


def rows() -> list[list[str]]:
    """Return the cells of each row of the tables, without their heads."""
    lines = re.findall(r"^\| (.*) \|$", text("troubleshooting.md"), re.MULTILINE)
    return [line.split(" | ") for line in lines if line != "Symptom | Command | Page"]


def commands(page: str) -> list[str]:
    """Return what a page calls of this program: in a line of a block, or in code inside a text."""
    lines = [line.strip() for block in BLOCK.findall(text(page)) for line in block.splitlines()]
    mentions = CODE.findall(BLOCK.sub("", text(page)))
    found = [*lines, *(each for each in mentions if each != "toolset check-config")]  # alone it names the command
    return [command.rpartition("-- ")[2] for command in found if re.match(r"(\S+ exec .*-- )?toolset ", command)]


def test_the_index_has_a_command_and_a_page_for_each_symptom() -> None:
    assert len(rows()) > 30
    for row in rows():
        symptom, command, page = row
        assert symptom
        assert CODE.search(command) or command.startswith("the same command")
        assert "](" in page


@pytest.mark.parametrize("page", PAGES)
def test_the_program_takes_the_commands_of_a_page(page: str) -> None:
    for command in commands(page):
        parser().parse(shlex.split(command, comments=True)[1:])


def test_there_are_commands_to_try() -> None:
    assert {command.split()[1] for page in PAGES for command in commands(page)} >= {
        "check-config", "doctor", "explain", "plan", "purge", "status", "version"
    }  # fmt: skip


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(SystemExit):
        parser().parse(["explain", "NAMESPACE/NAME", "--probes"])


def test_each_reason_that_the_index_names_exists() -> None:
    reasons = {each.word for each in Reason}
    backends = text("troubleshooting.md").split("## A backend")[1].split("## ")[0]
    symptoms = [line.split(" | ")[0] for line in backends.splitlines() if line.startswith("| `")]
    named = {word for symptom in symptoms for word in CODE.findall(symptom) if " " not in word}
    assert len(named) > 8
    assert named <= reasons
