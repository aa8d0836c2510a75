"""Text output of the status: one Service in one line, a probe, an age, a count."""

from datetime import datetime
from typing import Final

from toolset.core.status.snapshot import Probe, ServiceStatus

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"))


def now(service: ServiceStatus, at: datetime) -> str:
    """Return one line: whether a Service is published, since when, and the outcome of its last probe."""
    if service.published:
        since = f"since {clock(service.since)}" if service.since else "since before this replica led"
        held = ", only because removals are held" if service.held else ""
        return f"is published {since} at {service.url}{held}" + _said(service.probe, at)
    since = f" (since {clock(service.since)})" if service.since else ""
    return f"is not published{since}: {service.sentence} [{service.verdict}]" + _said(service.probe, at)


def _said(probe: Probe | None, at: datetime) -> str:
    return f"; last probe {probe_text(probe, at)}" if probe is not None else ""


def probe_text(probe: Probe, at: datetime) -> str:
    """Return the outcome of the last probe, and how long before ``at`` it was."""
    ago = f"{age(probe.at, at)} ago"
    if probe.outcome == "alive":
        return f"alive, {ago}, {probe.took_ms:.0f} ms"
    count = f", {probe.failures} of {probe.fall} failures" if probe.failures <= probe.fall else ""
    return f"{probe.detail or probe.outcome}, {ago}{count}"


def clock(at: datetime) -> str:
    """Return a time for people."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def age(since: datetime, at: datetime) -> str:
    """Return how long ago ``since`` was, in its largest unit, as kubectl does."""
    seconds = max(0, int((at - since).total_seconds()))
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def counted(count: int, noun: str) -> str:
    """Return ``count`` with ``noun``, which is in the plural unless the count is 1: ``1 Service``, ``2 Services``.

    Args:
        count: How many.
        noun: The singular; its plural ends in ``s``.
    """
    return f"{count} {noun}{'s' * (count != 1)}"
