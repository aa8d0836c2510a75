"""What the service costs when nothing changes."""

import threading
from collections import Counter
from typing import Final

from figures import Table
from tools import SERVICES, TOOLS, complete, reach
from world import ACCOUNT, NAMESPACE, World

SECONDS: Final = 60.0
SETTLED_S: Final = 30.0  # by then it has asked once for each of its permissions, one a second
USER: Final = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"


def measure(place: World, port: int) -> Table:
    """Return the share of a core that the service uses, and what it asks the API server."""
    place.forget()
    with place.service(**reach(port), TOOLSET_ELECTION__ENABLED="true") as process:
        complete(process)
        threading.Thread(target=process.drain, daemon=True).start()
        threading.Event().wait(SETTLED_S)
        before, spent_s = len(asked(place)), process.cpu_s()
        threading.Event().wait(SECONDS)
        share, made = (process.cpu_s() - spent_s) / SECONDS, Counter(asked(place)[before:])
    return Table(
        f"Nothing changes: {SERVICES:,} Services, {TOOLS} backends that are probed every 30 s, a Lease that is renewed",
        f"For {SECONDS:g} seconds; requests by the audit log.",
        ("", "measured", "target"),
        (
            ("of a core", f"{share:.2%}", "0.5 %"),
            ("requests", ", ".join(f"{count} x {what}" for what, count in made.items()) or "none", "the Lease"),
        ),
    )


def asked(place: World) -> list[str]:
    """Return all that the service has asked the API server, by the audit log: verb and resource."""
    ours = (event for event in place.plane.audit() if event["user"]["username"] == USER)
    objects = ((event["verb"], event["objectRef"]) for event in ours if "objectRef" in event)  # the version has none
    return [f"{verb} {about['resource']}" for verb, about in objects]
