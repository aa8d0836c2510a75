"""When a tool counts as up: thresholds over probe outcomes, as values."""

from typing import Final

import msgspec

SECOND_LOOKS_S: Final = (1.0, 2.0)
"""How soon to look again after the first and the second failure in a row, seconds: a dead backend is gone within
seconds (HolmesGPT gives a toolset 20 s in all), and a blip is not."""


class Thresholds(msgspec.Struct, frozen=True):
    """How many outcomes in a row change the state.

    Attributes:
        rise: Successes that make a tool up.
        fall: Failures that make it down.
    """

    rise: int = 1
    fall: int = 3


class Outcome(msgspec.Struct, frozen=True):
    """What one probe found.

    Attributes:
        alive: Whether it succeeded.
        detail: A fixed phrase that says why not, with at most a status code in it; never text from the backend.
        assumed: Nobody looked, because probes are off; no further success is waited for.
        stranger: What answered is something else than the detector took it for.
    """

    alive: bool
    detail: str = ""
    assumed: bool = False
    stranger: bool = False


class Health(msgspec.Struct, frozen=True):
    """What is known of one candidate.

    Attributes:
        up: Whether it counts as up; ``None`` until a probe says something.
        successes: In a row.
        failures: In a row.
        detail: Of the last failed probe.
        stranger: Whether that probe met something else.
    """

    up: bool | None = None
    successes: int = 0
    failures: int = 0
    detail: str = ""
    stranger: bool = False


PUBLISHED: Final = Health(up=True)
"""Where a candidate starts that is in the published ConfigMap: up, with no failures, so that a restart or a failover
never drops a tool on its first failed probe."""


def observe(health: Health, outcome: Outcome, thresholds: Thresholds) -> Health:
    """Return ``health`` after one more outcome.

    A candidate that was never up is down from its first failure: it is published after its first success.
    """
    if outcome.alive:
        successes = health.successes + 1
        risen = health.up is True or outcome.assumed or successes >= thresholds.rise
        return Health(up=risen, successes=successes)
    failures = health.failures + 1
    stays = health.up is True and failures < thresholds.fall
    return Health(up=stays, failures=failures, detail=outcome.detail, stranger=outcome.stranger)


def next_look_s(health: Health, interval_s: float) -> float:
    """Return when to probe next, seconds from now."""
    if 0 < health.failures <= len(SECOND_LOOKS_S) and health.up:
        return min(interval_s, SECOND_LOOKS_S[health.failures - 1])
    return interval_s
