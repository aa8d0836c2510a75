"""How soon a change of a Service is published."""

import random
import threading
import time

from figures import Figure, Table, shown
from tools import CHANGES, complete, create, delete, names, reach, url, watching
from world import World


def measure(place: World, port: int) -> Figure:
    """Return how long it takes from the request that changes a Service until a watcher has the new ConfigMap."""
    place.forget()
    chance = random.Random(1)  # noqa: S311 - reproducible, not secret
    taken: list[float] = []
    with place.service(**reach(port)) as process:
        complete(process)
        threading.Thread(target=process.drain, daemon=True).start()
        with watching(place) as watcher:
            for name in names("change", CHANGES):
                for there in (True, False):
                    threading.Event().wait(0.2 + chance.random() / 4)
                    began = time.monotonic()
                    (create if there else delete)(place, name)
                    taken.append(watcher.sees(url(name), there=there) - began)
    return Figure("changes", "s", tuple(taken))


def table(found: Figure) -> Table:
    """Return the measurements and their targets."""
    return Table(
        "From the change of a Service to the ConfigMap that another client sees",
        f"{2 * CHANGES} changes: a backend's Service is created, and deleted. Default debounce.",
        ("of the changes", "measured", "target"),
        (
            ("half", shown(found.percentile(0.5), "s"), "0.3 s"),
            ("99 %", shown(found.percentile(0.99), "s"), "0.8 s"),
        ),
    )
