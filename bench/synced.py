"""How long it takes and what it costs to hold every Service: our informer and service next to four peers, in turn.

Seconds are counted from the first request of each, so that an interpreter's start does not count; memory is the most
that the whole process ever had resident, read when all is in the cache.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from figures import UNKNOWN, Figure, Table, shown
from world import ROOT, Measured, World, said

ROUNDS: Final = 3
REFERENCE: Final = "client-go informer"
SERVICE: Final = "toolset run, the whole service"
Run = Callable[[World, int], tuple[Measured, Callable[[Measured], float]]]


def _seconds(process: Measured) -> float:
    return float(process.line("synced ").split()[2])


def _program(*command: str) -> Run:
    """Return how to start a program that takes the number of Services and says when it has them."""

    def start(place: World, count: int) -> tuple[Measured, Callable[[Measured], float]]:
        words = [word.format(built=place.built, root=ROOT) for word in command]
        return place.start(*words, str(count)), _seconds

    return start


def _service(place: World, _: int) -> tuple[Measured, Callable[[Measured], float]]:
    def until_written(process: Measured) -> float:
        while (reported := said(process.line('"list stored"')))["resource"] != "services":
            pass
        process.line('"config map written"')
        return float(reported["took_s"])

    place.forget()
    return place.service(), until_written


PEERS: Final[Mapping[str, Run]] = {
    REFERENCE: _program("{built}/informer"),
    "controller-runtime controller": _program("{built}/controller"),
    "toolset informer": _program("{built}/run/bin/python", "{root}/bench/informer.py"),
    SERVICE: _service,
    "kubernetes SharedInformer": _program("{built}/bench/bin/python", "{root}/bench/peers/shared_informer.py"),
    "kopf": _program("{built}/bench/bin/python", "{root}/bench/peers/kopf_operator.py"),
}


def measure(place: World, services: int, rounds: int = ROUNDS) -> dict[str, tuple[Figure, Figure, Figure]]:
    """Return for each peer the seconds from its first request, those from its start, and its memory."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in PEERS}
    for _ in range(rounds):
        for name, run in PEERS.items():
            began = time.monotonic()
            process, wait = run(place, services)
            with process:
                took_s = wait(process)
                found[name].append((took_s, time.monotonic() - began, process.peak_mib()))
    return {
        name: (
            Figure(name, "s", tuple(each[0] for each in values)),
            Figure(name, "s", tuple(each[1] for each in values)),
            Figure(name, "MiB", tuple(each[2] for each in values)),
        )
        for name, values in found.items()
    }


def table(services: int, found: Mapping[str, tuple[Figure, Figure, Figure]]) -> Table:
    """Return what was found, as ratios to client-go too."""
    reference = found[REFERENCE]
    rows = [
        (
            name,
            shown(requests.median, "s"),
            f"{shown(requests.median / reference[0].median)} x",
            shown(start.median, "s") if name != SERVICE else UNKNOWN,
            shown(memory.median, "MiB"),
            f"{shown(memory.median / reference[2].median)} x",
        )
        for name, (requests, start, memory) in found.items()
    ]
    head = (
        "",
        "from the first request",
        "to client-go",
        "from the start of the process",
        "peak memory",
        "to client-go",
    )
    return Table(
        f"A synced cache of {services:,} Services",
        f"Medians of {ROUNDS} rounds, each in turn with the others. Targets for `toolset run`: 1.2 x client-go's time, "
        f"{'200 MiB' if services > 10_001 else '80 MiB'}; its memory is measured after its first write.",
        head,
        tuple(rows),
        {name: [figure.median for figure in figures] for name, figures in found.items()} if services == 10_001 else {},
    )
