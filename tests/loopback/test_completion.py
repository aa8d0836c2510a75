"""What a shell completes, and that the examples of the help can be typed."""

import re
import shlex
import subprocess

import pytest

from toolset.cli import main
from toolset.commands.parser import parser

ASKED = """
eval "$(cat)"
COMP_WORDS=({words}); COMP_CWORD={last}; COMP_LINE="{words}"; COMP_POINT=${{#COMP_LINE}}
_shtab_toolset toolset "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(script: str, words: str) -> set[str]:
    asked = ASKED.format(words=words, last=len(words.split()) - 1)
    done = subprocess.run(["bash", "-c", asked], input=script, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_bash_completes_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert completed(script, "toolset p") == {"plan", "purge"}
    assert completed(script, "toolset plan --ass") == {"--assume-healthy"}
    assert "pyproject.toml" in completed(script, "toolset plan -f pyproj")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_with_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(command in script for command in parser().subcommands)


@pytest.mark.parametrize("command", parser().subcommands)
def test_the_examples_of_the_help_can_be_typed(command: str) -> None:
    shown = parser().subcommands[command].format_help()
    examples = re.findall(r"^  (?:kubectl .* \| |source <\()?(toolset [^>)\n]+)", shown, re.MULTILINE)
    assert len(examples) >= (0 if command == "version" else 2)
    for example in examples:
        assert parser().parse(shlex.split(example)[1:]).command == command
