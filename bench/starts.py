"""How soon the ConfigMap is complete after the start of the process."""

import time
from collections.abc import Mapping
from typing import Final

from figures import Figure, Table, shown
from tools import SERVICES, TOOLS, complete, reach
from world import World

ROUNDS: Final = 7
TARGETS_S: Final[Mapping[str, float]] = {"answer at once": 1.2, "take 0.5 s each": 1.8}


def measure(place: World, ports: Mapping[str, int]) -> list[Figure]:
    """Return how long it takes with the backends behind each port, in turn."""
    taken: dict[str, list[float]] = {name: [] for name in ports}
    for _ in range(ROUNDS):
        for name, port in ports.items():
            place.forget()
            began = time.monotonic()
            with place.service(**reach(port)) as process:
                complete(process)
                taken[name].append(time.monotonic() - began)
    return [Figure(name, "s", tuple(values)) for name, values in taken.items()]


def table(found: list[Figure]) -> Table:
    """Return the measurements and their targets."""
    return Table(
        f"From the start of the process to the complete ConfigMap, {SERVICES:,} Services, {TOOLS} backends",
        f"Of {ROUNDS} starts each, in turn.",
        ("backends that", "median", "slowest", "target"),
        tuple(
            (each.name, shown(each.median, "s"), shown(max(each.values), "s"), f"{TARGETS_S[each.name]:g} s")
            for each in found
        ),
    )
