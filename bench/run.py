"""Run the benchmarks, all or those named, and print what they found; with --write put it into docs/ too."""

import argparse
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

import changes
import collectors
import detection
import hostile
import idle
import live
import noise
import passes
import probes
import queues
import reconnects
import scale
import starts
import status
import synced
import takeover
import tools
from figures import Table
from seeding import Seed
from service_mix import VARIANTS, described
from world import ROOT, World, backend, peers, world

PAGE: Final = ROOT / "docs" / "benchmarks.md"
CHARTS: Final = ROOT / "docs" / "charts"
SIZES: Final = (1_000, 10_000, 50_000, 100_000)
"""Of the clusters whose cache is measured."""
Make = Callable[[int], Seed]
MARKS: Final = ("<!-- figures: written by make bench-docs -->", "<!-- end of figures -->")


@contextmanager
def _furnished(make: Make) -> Generator[tuple[World, int, int]]:
    """Give a world with backends, and the ports where they answer at once and after half a second."""
    with world(tools.SERVICES, make) as place:
        program = place.built / "probes"
        with backend(program) as quick, backend(program, "500ms") as slow:
            tools.furnish(place)
            yield place, quick, slow


def _synced(make: Make) -> Iterable[Table]:
    rows: list[tuple[str, ...]] = []
    for count in SIZES:
        with world(count, make) as place:
            yield synced.table(count + 1, synced.measure(place, count + 1))  # the API server makes one itself
            rows.append(scale.measure(place, count))
    yield scale.table(rows)


def _starts(make: Make) -> Iterable[Table]:
    with _furnished(make) as (place, quick, slow):
        yield starts.table(starts.measure(place, {"answer at once": quick, "take 0.5 s each": slow}))


def _changes(make: Make) -> Iterable[Table]:
    with _furnished(make) as (place, quick, _):
        yield changes.table(changes.measure(place, quick))


def _takeover(make: Make) -> Iterable[Table]:
    with _furnished(make) as (place, quick, _):
        yield takeover.table(takeover.measure(place, quick))


def _idle(make: Make) -> Iterable[Table]:
    with _furnished(make) as (place, quick, _):
        yield idle.measure(place, quick)


def _live(make: Make) -> Iterable[Table]:
    with world(tools.SERVICES, make) as place, backend(place.built / "probes") as quick:
        tools.furnish(place, live.TOOLS)
        yield live.measure(place, quick)


def _noise(_: Make) -> Iterable[Table]:
    yield noise.measure(peers() / "run/bin/python")


def _alone(*measures: Callable[[], Table]) -> Callable[[Make], Iterable[Table]]:
    """Return a group of what needs no world."""
    return lambda _: (measure() for measure in measures)


GROUPS: Final[Mapping[str, Callable[[Make], Iterable[Table]]]] = {
    "synced": _synced,
    "starts": _starts,
    "changes": _changes,
    "takeover": _takeover,
    "noise": _noise,
    "idle": _idle,
    "collectors": _alone(collectors.measure),
    "probes": _alone(probes.measure),
    "passes": _alone(detection.measure, passes.measure),
    "status": _alone(status.measure),
    "live": _live,
    "hostile": _alone(hostile.measure),
    "queues": _alone(queues.measure),
    "reconnects": _alone(reconnects.measure),
}


def machine() -> str:
    """Return what the benchmarks run on, and with."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    versions = [["go", "env", "GOVERSION"], *([["rustc", "--version"]] if shutil.which("rustc") else [])]
    compilers = (" ".join(_output(command).split()[:2]) for command in versions)
    used = ", ".join((f"Linux {platform.release()}", f"CPython {platform.python_version()}", *compilers))
    return f"{os.cpu_count()} cores ({model}), {used}"


def _output(command: list[str]) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603 - our own


def write(tables: Iterable[Table], variant: str) -> None:
    """Put the figures between their marks in the page, with the variant of the Services, and draw the charts."""
    begin, end = MARKS
    before, _, rest = PAGE.read_text("utf-8").partition(begin)
    _, _, after = rest.partition(end)
    parts = [f"Measured on {machine()}. {described(variant)}\n", *(table.markdown() for table in tables)]
    PAGE.write_text(f"{before}{begin}\n\n{chr(10).join(parts)}\n{end}{after}", "utf-8")
    command = [peers() / "bench/bin/python", ROOT / "bench" / "peers" / "charts.py", CHARTS]
    for table in tables:
        if table.drawn:
            subprocess.run(command, input=msgspec.json.encode(table.drawn), check=True)  # noqa: S603 - our own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; default: all")
    parser.add_argument("--services", choices=VARIANTS, default="realistic", help="what the clusters hold")
    parser.add_argument("--write", action="store_true", help="put what was found into docs/ too")
    options = parser.parse_args()
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"there is no {', '.join(sorted(unknown))}: choose from {', '.join(GROUPS)}")
    found: list[Table] = []
    for name in options.groups or GROUPS:
        for table in GROUPS[name](VARIANTS[options.services]):
            print(table.markdown(), flush=True)
            found.append(table)
    if options.write:
        write(found, options.services)


if __name__ == "__main__":
    main()
