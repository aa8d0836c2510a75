"""When candidates are probed, and when they count as up: a part of the settings."""

from typing import Annotated

import msgspec

from toolset.core.durations import Duration, Interval

Positive = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class HealthOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How candidates are probed.

    Attributes:
        enabled: Whether candidates are probed; otherwise each counts as healthy.
        timeout: Time limit of a whole probe: DNS, connect, TLS, headers and body.
        interval: Time between two probes of a healthy tool.
        concurrency: Maximum number of concurrent probes.
        rise: Consecutive successes until a tool is up.
        fall: Consecutive failures until it is down.
        hold: How long removals are held when more than half of the tools, and at least 3, stop answering within one
            interval; every namespace counts the same, trusted ones without the others; ``0s`` holds nothing.
    """

    enabled: bool = True
    timeout: Interval = Interval(5)
    interval: Interval = Interval(30)
    concurrency: Positive = 32
    rise: Positive = 1
    fall: Positive = 3
    hold: Duration = Duration(120)


DEFAULT_HEALTH = HealthOptions()
