"""What the status costs: 10,000 Services, 500 of them published tools, when somebody asks."""

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Final

import msgspec

from detection import ROUNDS, milliseconds
from figures import Table, shown
from toolset.adapters.http.page.render import Page
from toolset.core.candidate import Backend, Candidate, Evidence, HealthCheck, Reason, Rejected
from toolset.core.inventory import ALIVE, Inventory
from toolset.core.overrides.baseline import NOTHING
from toolset.core.status.build import Facts, service, snapshot
from toolset.core.status.history import History
from toolset.core.status.problems import Condition
from toolset.core.status.snapshot import Installation
from toolset.model import Key

SERVICES: Final = 10_000
TOOLS: Final = 500
NEAR: Final = 1_000
NOW: Final = datetime(2026, 1, 1, tzinfo=timezone.utc)
TARGET: Final = Key("kubernaut-system", "kubernaut-toolset-config")


def facts() -> Facts:
    inventory, history = Inventory(), History(TARGET)
    history.begin(NOTHING)
    for number in range(SERVICES):
        key = Key(f"team-{number % 200}", f"service-{number}")
        if number < TOOLS:
            host = f"{key.name}.{key.namespace}.svc.cluster.local"
            check, backend = HealthCheck("/"), Backend(selector=frozenset({("app", key.name)}))
            tool = Candidate(key, "grafana", Evidence.LABEL, "http", host, 3000, "", check, backend=backend)
            inventory.detected(key, tool)
            inventory.probed(tool, ALIVE)
            history.probed(tool, ALIVE, 0.01, NOW)
            continue
        near = number < TOOLS + NEAR
        rejected = Rejected(Reason.NO_USABLE_PORT, "", "grafana") if near else Rejected(Reason.NO_MATCH)
        inventory.detected(key, rejected)
        history.detected(key, rejected, NOW)
    history.settled(inventory.candidate_verdicts(), NOW)
    return Facts(
        now=NOW,
        installation=Installation(version="1", identity="pod_1", role="leader", target=str(TARGET)),
        condition=Condition(role="leader", target=TARGET),
        history=history,
        inventory=inventory,
        services=SERVICES,
    )


def measure() -> Table:
    """Return what was found."""
    held = facts()
    made = snapshot(held)
    page = Page()

    def rendered() -> bytes:
        return page.render(msgspec.structs.replace(made))  # another object each time: nothing is kept

    rows: list[tuple[str, Callable[[], object]]] = [
        ("build the snapshot", lambda: snapshot(held)),
        ("encode the whole snapshot as JSON", lambda: msgspec.json.encode(made)),
        ("encode the first page of Services", lambda: msgspec.json.encode(made.services[:100])),
        ("look up one Service", lambda: service(held, Key("team-1", "service-1"))),
        (f"render the page, {TOOLS} tools", rendered),
    ]
    note = f"{SERVICES:,} Services, {TOOLS} tools, {NEAR:,} near misses. Medians of {ROUNDS} rounds."
    measured = tuple((name, shown(milliseconds(work), "ms")) for name, work in rows)
    return Table("What the status costs", note, ("", "measured"), measured)
