"""How soon the follower has written what changed while its leader was killed, or stopped cleanly."""

import signal
import threading
import time
from collections.abc import Mapping
from typing import Final

from figures import Figure, Table, shown
from tools import complete, create, delete, names, reach, url, watching
from world import World

ROUNDS: Final = 3
TARGETS_S: Final[Mapping[signal.Signals, float]] = {signal.SIGKILL: 18.0, signal.SIGTERM: 3.0}


def measure(place: World, port: int) -> list[Figure]:
    """Return how long it takes from the signal until a watcher has what the follower wrote."""
    settings = {**reach(port), "TOOLSET_ELECTION__ENABLED": "true", "TOOLSET_SHUTDOWN__DELAY": "0s"}
    found: list[Figure] = []
    for signum in TARGETS_S:
        taken: list[float] = []
        for name in names("change", ROUNDS):
            place.forget()
            with place.service(**settings) as leader:
                complete(leader)
                with place.service(**settings) as follower, watching(place) as watcher:
                    follower.line('"leader seen"')
                    threading.Thread(target=follower.drain, daemon=True).start()
                    began = time.monotonic()
                    leader.send(signum)
                    create(place, name)
                    taken.append(watcher.sees(url(name), there=True) - began)
            delete(place, name)
        found.append(Figure(signum.name, "s", tuple(taken)))
    return found


def table(found: list[Figure]) -> Table:
    """Return the measurements and their targets."""
    return Table(
        "From the end of the leader to the next write, by its follower",
        f"{ROUNDS} times each, with the Lease of 15 s that ships and no delay of the shutdown.",
        ("the leader gets", "median", "slowest", "target"),
        tuple(
            (each.name, shown(each.median, "s"), shown(max(each.values), "s"), f"{target:g} s")
            for each, target in zip(found, TARGETS_S.values(), strict=True)
        ),
    )
