"""Draw what ``toolset demo`` prints as docs/demo.svg, from a real run.

``python hack/docs/picture.py`` writes it; a test fails when a run prints something else, times aside.
"""

import os
import re
import subprocess
import sys
from html import escape
from pathlib import Path
from typing import Final

PICTURE: Final = Path(__file__).parents[2] / "docs" / "demo.svg"
TIMES: Final = re.compile(r" *[0-9]+\.[0-9]{2} s\b")
_STYLED: Final = re.compile(r"\x1b\[([0-9;]*)m(.*?)\x1b\[0m")
_CLASSES: Final = {"1;36": "title", "32": "more", "31": "less", "33": "changed", "34": "back", "2": "quiet"}
_LINE_PX: Final = 19
_COLUMN_PX: Final = 8.43
_STYLE: Final = """
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d4d4d4; white-space: pre }
.title { fill: #6fc3df; font-weight: bold } .more { fill: #8fc97a } .less { fill: #e57373 }
.changed { fill: #e5c07b } .back { fill: #82aaff } .quiet { fill: #8a8a8a }
"""


def output() -> str:
    """Return what the demo prints on a terminal.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    command = [sys.executable, "-m", "toolset", "demo", "--once"]
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"FORCE_COLOR": "1"}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return finished.stdout


def drawn(text: str) -> str:
    """Return the picture of ``text``."""
    lines = text.strip("\n").splitlines()
    width = max(len(_STYLED.sub(r"\2", line)) for line in lines) * _COLUMN_PX + 32
    height = len(lines) * _LINE_PX + 32
    rows = [_row(line, 30 + number * _LINE_PX) for number, line in enumerate(lines) if line]
    size = f'width="{width:.0f}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" xml:space="preserve">',
            "<title>What toolset demo prints</title>",
            f"<style>{_STYLE}</style>",
            '<rect width="100%" height="100%" rx="8" fill="#1e1e1e"/>',
            *rows,
            "</svg>",
            "",
        ]
    )


def said(picture: str) -> list[str]:
    """Return the lines in a picture, times aside."""
    return [TIMES.sub(" a moment", line) for line in re.findall(r"<text[^>]*>(.*?)</text>", picture)]


def _row(line: str, y: int) -> str:
    spans = _STYLED.sub(lambda found: f'<tspan class="{_CLASSES[found[1]]}">{found[2]}</tspan>', escape(line))
    return f'<text x="16" y="{y}">{spans}</text>'


if __name__ == "__main__":
    PICTURE.write_text(drawn(output()), "utf-8")
