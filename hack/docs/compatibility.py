"""Write the tables of docs/compatibility.md from the reports of hack/compatibility and hack/compatibility-holmesgpt.

``python hack/docs/compatibility.py FOLDER`` reads the reports ``RELEASE-on.xml``, ``RELEASE-off.xml``, those with
``.alone.xml`` and ``.again.xml`` in place of ``.xml``, and ``holmesgpt-VERSION.xml``. A row of a table without a report
stays as it is.
"""

import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

PROJECT: Final = Path(__file__).parents[2]
PAGE: Final = PROJECT / "docs" / "compatibility.md"
BUILD: Final = PROJECT / "hack" / "controlplane"
_BEGIN: Final = "<!-- begin table: written by `make compatibility` -->\n"
_END: Final = "<!-- end table -->\n"
_HOLMESGPT: Final = (
    "<!-- begin versions: written by `hack/compatibility-holmesgpt` -->\n",
    "<!-- end versions -->\n",
    "| HolmesGPT | passed | failed | skipped | what fails |\n|---|---|---|---|---|\n",
)
_HEAD: Final = "| Kubernetes | WatchList | passed | failed | skipped |\n|---|---|---|---|---|\n"


class Row(NamedTuple):
    """The tests on one release, with or without WatchList."""

    version: str
    gate: str
    passed: int
    failed: int
    skipped: int


class Holmes(NamedTuple):
    """The scenarios on one version of HolmesGPT."""

    version: str
    passed: int
    failed: int
    skipped: int
    what: str


def row(report: Path) -> Row:
    """Return the row of the reports of ``RELEASE-GATE.xml``; the last result of each test is used."""
    release, _, gate = report.stem.rpartition("-")
    results: dict[tuple[str, str], str] = {}
    for each in (report, report.with_suffix(".alone.xml"), report.with_suffix(".again.xml")):
        if each.exists():
            results |= _results(each)
    found = Counter(results.values())
    return Row(version(release), gate, found["passed"], found["failure"] + found["error"], found["skipped"])


def _results(report: Path) -> dict[tuple[str, str], str]:
    cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314  # our own report
    return {(case.get("classname", ""), case.get("name", "")): _result(case) for case in cases}


def _result(case: ET.Element) -> str:
    return next((child.tag for child in case if child.tag in {"failure", "error", "skipped"}), "passed")


def holmesgpt_row(report: Path) -> Holmes:
    """Return the row of a report named ``holmesgpt-VERSION.xml``."""
    name = report.stem.partition("-")[2]
    if name == "pinned":
        name = (PROJECT / "requirements" / "holmesgpt.in").read_text("utf-8").strip().rpartition("=")[2]
    cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314  # our own report
    failing = [case.get("name", "") for case in cases if case.find("failure") is not None]
    what = ", ".join(each.partition("[")[2].rstrip("]") or each for each in failing)
    return Holmes(name, *counts(report), what)


def counts(report: Path) -> tuple[int, int, int]:
    """Return how many tests of a report passed, failed and were skipped."""
    suites = [*ET.parse(report).getroot().iter("testsuite")]  # noqa: S314  # our own report
    tests, failures, errors, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    return tests - failures - errors - skipped, failures + errors, skipped


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


def table(head: str, rows: Sequence[Row | Holmes], before: str, keys: int) -> str:
    """Return the table with ``rows``, and of the table ``before`` the rows that they do not replace.

    Args:
        head: The first two lines.
        rows: New rows.
        before: The table as it was.
        keys: How many of the first cells identify a row.
    """
    lines = {tuple(map(str, each[:keys])): f"| {' | '.join(map(str, each))} |" for each in rows}
    for line in before.splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        lines.setdefault(tuple(cells[:keys]), line)
    ordered = sorted(lines, key=lambda name: ([int(part) for part in name[0].split(".")], name[1:]))
    return head + "".join(f"{lines[name]}\n" for name in ordered)


def page(text: str, rows: Sequence[Row], versions: Sequence[Holmes] = ()) -> str:
    """Return ``text``, the page, with the tables between their comments."""
    text = _replaced(text, (_BEGIN, _END, _HEAD), rows, 2)
    return _replaced(text, _HOLMESGPT, versions, 1)


def _replaced(text: str, marks: tuple[str, str, str], rows: Sequence[Row | Holmes], keys: int) -> str:
    begin, end, head = marks
    start, found, rest = text.partition(begin)
    if not found:
        return text
    before, _, after = rest.partition(end)
    return f"{start}{begin}\n{table(head, rows, before.strip(), keys)}\n{end}{after}"


def main() -> None:
    """Write the page."""
    folder = Path(sys.argv[1])
    rows = [row(report) for report in sorted((*folder.glob("*-on.xml"), *folder.glob("*-off.xml")))]
    versions = [holmesgpt_row(report) for report in sorted(folder.glob("holmesgpt-*.xml"))]
    PAGE.write_text(page(PAGE.read_text("utf-8"), rows, versions), "utf-8")


if __name__ == "__main__":
    main()
