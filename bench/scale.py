"""What one replica costs, and what it asks of the API server, by the number of Services in the cluster."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from figures import Table, shown
from idle import asked
from world import World

SETTLED_S: Final = 5.0
SECONDS: Final = 30.0


def measure(place: World, services: int) -> tuple[str, ...]:
    """Return the row of a cluster with so many Services, none of them a backend."""
    listed = place.admin.get("/api/v1/services").raise_for_status().content
    place.forget()
    before, began = len(asked(place)), time.monotonic()
    with place.service(TOOLSET_ELECTION__ENABLED="true") as process:
        process.line('"config map written"')
        took_s = time.monotonic() - began
        threading.Thread(target=process.drain, daemon=True).start()
        threading.Event().wait(SETTLED_S)
        started, spent_s = Counter(asked(place)[before:]), process.cpu_s()
        threading.Event().wait(SECONDS)
        share = (process.cpu_s() - spent_s) / SECONDS
        return (
            f"{services:,}",
            shown(process.peak_mib(), "MiB"),
            shown(took_s, "s"),
            shown(spent_s, "s"),
            f"{share:.2%}",
            shown(len(listed) / 1e6, "MB"),
            f"{started.total()}",
        )


def table(rows: Sequence[tuple[str, ...]]) -> Table:
    """Return what was found."""
    return Table(
        "What a replica costs, by the number of Services",
        f"None is a backend; with election. Idle is a share of a core over {SECONDS:g} s. The list is what the API "
        f"server sends to each replica that starts; requests are all until {SETTLED_S:g} s after that write.",
        ("Services", "peak memory", "start to first write", "processor time for it", "idle", "list", "requests"),
        tuple(rows),
    )
