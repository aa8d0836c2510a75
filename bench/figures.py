"""Figures: what was measured in several rounds, and tables of them."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final

import msgspec

UNKNOWN: Final = "-"


class Figure(msgspec.Struct, frozen=True):
    """One thing measured in several rounds.

    Attributes:
        name: Of what.
        unit: Of the values.
        values: One a round.
    """

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one of the values."""
        return median(self.values)

    def percentile(self, share: float) -> float:
        """Return the value that ``share`` of all values do not exceed."""
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Table(msgspec.Struct, frozen=True):
    """Rows of figures that belong together.

    Attributes:
        title: What was measured.
        note: How.
        head: The names of the columns.
        rows: The cells.
        drawn: What charts of it are drawn from, by name; empty where there are none.
    """

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    drawn: Mapping[str, Sequence[float]] = {}

    def markdown(self) -> str:
        """Return it for a page."""
        return f"### {self.title}\n\n{self.note}\n\n{_rows(self.head, self.rows)}\n"


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ("---", *("---:" for _ in head[1:]))
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def shown(value: float, unit: str = "") -> str:
    """Return a value with three digits that count."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}{f' {unit}' if unit else ''}"
