"""Output of the demo: in colours on a terminal, plain in a pipe."""

import sys
from collections.abc import Iterable
from typing import Final

_STYLES: Final = {
    "title": "\x1b[1;36m",
    "+": "\x1b[32m",
    "-": "\x1b[31m",
    "~": "\x1b[33m",
    "=": "\x1b[34m",
    "quiet": "\x1b[2m",
}
_RESET: Final = "\x1b[0m"
MARGIN: Final = 8
"""Width of the column left of a mark, with the duration."""


class Screen:
    """Prints lines; a step has a number and a title."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._step = 0

    def title(self, text: str) -> None:
        """Start the next step."""
        self._step += 1
        self.text("", self._styled(f"{self._step}. {text}", "title"))

    def text(self, *lines: str) -> None:
        """Print lines as they are."""
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def quiet(self, *lines: str) -> None:
        """Print less important lines."""
        self.text(*(self._styled(line, "quiet") for line in lines))

    def rows(self, rows: Iterable[tuple[str, str, str]], width: int, took: str = "") -> None:
        """Print rows of a mark, a name of at most ``width`` columns, and a text."""
        for mark, name, description in rows:
            margin = self._styled(f"{took:>{MARGIN}}", "quiet")
            marked = self._styled(f"{mark} {name:{width}}", mark)
            self.text(f"{margin} {marked} {description}".rstrip())
            took = ""

    def _styled(self, text: str, style: str) -> str:
        return f"{_STYLES[style]}{text}{_RESET}" if self._colours and text.strip() and style in _STYLES else text
