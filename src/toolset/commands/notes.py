"""Messages of commands on standard error."""

import sys
from typing import Final

ESCAPED: Final = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}
"""Characters that could control a terminal: users who may edit the ConfigMap can insert them into the diff."""


def note(text: str) -> str:
    """Return a sentence as one line for standard error."""
    return f"toolset: {text.translate(ESCAPED)}\n"


def write(*sentences: str) -> None:
    """Write sentences to standard error, a line each."""
    sys.stderr.write("".join(note(sentence) for sentence in sentences))
    sys.stderr.flush()
