"""Draw what ``bench/synced.py`` measured: bars for the time and for the memory, as SVG, into the folder that is named.

Standard input has, by name, the seconds from the first request, those from the start, and the memory in MiB.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "toolset", "svg.fonttype": "none", "font.size": 9}
from matplotlib import pyplot  # noqa: E402 - after the backend was chosen

OURS, THEIRS = "#2a7f62", "#9aa5b1"


def draw(path: Path, title: str, values: dict[str, float], unit: str) -> None:
    """Draw one bar for each value, ours in a colour of their own."""
    figure, axes = pyplot.subplots(figsize=(5.2, 0.4 + 0.3 * len(values)))
    names = list(reversed(values))
    bars = axes.barh(names, [values[name] for name in names], color=[OURS if "toolset" in n else THEIRS for n in names])
    axes.bar_label(bars, labels=[f"{values[name]:.3g} {unit}" for name in names], padding=3)
    axes.set_title(title, loc="left", fontsize=9)
    axes.margins(x=0.2)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.xaxis.set_visible(False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None, "Creator": None})


folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
found = json.load(sys.stdin)
draw(folder / "synced.svg", "From the first request to 10,000 Services", {n: v[0] for n, v in found.items()}, "s")
draw(folder / "memory.svg", "Peak memory with 10,000 Services", {n: v[2] for n, v in found.items()}, "MiB")
