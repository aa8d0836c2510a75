"""`toolset completion`: the script with which a shell completes commands, options and file names."""

import shtab

from toolset.commands.parser import Parser


def script(parser: Parser, shell: str) -> str:
    """Return the script for ``shell`` (bash, zsh or fish)."""
    for each in (parser, *parser.subcommands.values()):
        for action in each._actions:  # noqa: SLF001 - argparse has no public way to its arguments
            if action.metavar == "FILE":
                setattr(action, "complete", shtab.FILE)  # noqa: B010 - argparse does not declare the attribute
    return shtab.complete(parser, shell=shell)
