"""Write the table of docs/compatibility.md from the reports of hack/compatibility.

``python hack/docs/compatibility.py FOLDER`` reads the reports ``RELEASE-on.xml`` and ``RELEASE-off.xml`` in it.
A row of the table without a report stays as it is.
"""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final, NamedTuple

PROJECT: Final = Path(__file__).parents[2]
PAGE: Final = PROJECT / "docs" / "compatibility.md"
BUILD: Final = PROJECT / "hack" / "controlplane"
_BEGIN: Final = "<!-- begin table: written by `make compatibility` -->\n"
_END: Final = "<!-- end table -->\n"
_HEAD: Final = "| Kubernetes | WatchList | passed | failed | skipped |\n|---|---|---|---|---|\n"


class Row(NamedTuple):
    """The tests on one release, with or without WatchList."""

    version: str
    gate: str
    passed: int
    failed: int
    skipped: int


def row(report: Path) -> Row:
    """Return the row of a report named ``RELEASE-GATE.xml``."""
    release, _, gate = report.stem.rpartition("-")
    suites = [*ET.parse(report).getroot().iter("testsuite")]  # noqa: S314  # our own report
    tests, failures, errors, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    return Row(version(release), gate, tests - failed - skipped, failed, skipped)


def version(release: str) -> str:
    """Return the full version of a release, as the build scripts pin it."""
    if release == "pinned":
        module = (BUILD / "go.mod").read_text("utf-8")
        pattern = r"k8s\.io/kubernetes v(\S+)"
    else:
        module = (BUILD / "build-release").read_text("utf-8")
        pattern = rf"\[{re.escape(release)}\]=v([0-9.]+)"
    found = re.search(pattern, module)
    if found is None:
        raise ValueError(f"{release} is not pinned in {BUILD}")
    return found[1]


def table(rows: list[Row], before: str) -> str:
    """Return the table with ``rows``, and of the table ``before`` the rows that they do not replace."""
    lines = {(each.version, each.gate): f"| {' | '.join(map(str, each))} |" for each in rows}
    for line in before.splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(Row._fields):
            lines.setdefault((cells[0], cells[1]), line)
    ordered = sorted(lines, key=lambda name: ([int(part) for part in name[0].split(".")], name[1]))
    return _HEAD + "".join(f"{lines[name]}\n" for name in ordered)


def page(text: str, rows: list[Row]) -> str:
    """Return ``text``, the page, with the table between the comments."""
    start, _, rest = text.partition(_BEGIN)
    before, _, after = rest.partition(_END)
    return f"{start}{_BEGIN}\n{table(rows, before.strip())}\n{_END}{after}"


def main() -> None:
    """Write the page."""
    reports = sorted(Path(sys.argv[1]).glob("*-o*.xml"))
    PAGE.write_text(page(PAGE.read_text("utf-8"), [row(report) for report in reports]), "utf-8")


if __name__ == "__main__":
    main()
