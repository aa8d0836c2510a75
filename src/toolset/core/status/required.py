"""Since when each tool that the settings require is missing."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from toolset.model import Key

MISSING_S: Final = 300.0
"""A required tool that is missing for this long is reported, seconds; a start or a rollout takes less."""


class Missing(msgspec.Struct, frozen=True):
    """A required tool that is not published.

    Attributes:
        since: Since when, for people.
        since_s: The same on a monotonic clock.
        is_overdue: Whether that is long enough ago to be reported.
    """

    since: datetime
    since_s: float
    is_overdue: bool = False


class RequiredTools:
    """Compares what is required with what is published."""

    def __init__(self) -> None:
        self._missing: dict[Key, Missing] = {}

    @property
    def missing(self) -> Mapping[Key, Missing]:
        """The required tools that are not published."""
        return self._missing

    def clear(self) -> None:
        """Forget everything: another replica leads."""
        self._missing.clear()

    def observe(
        self, required: Iterable[Key], is_published: Callable[[Key], bool], now: datetime, now_s: float
    ) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
        """Record what is missing now.

        Args:
            required: The tools that must be published.
            is_published: Returns whether a tool is published.
            now: The time, for people.
            now_s: The time, on a monotonic clock.

        Returns:
            Those that become overdue with this call, and those that were overdue and are published again.
        """
        wanted = tuple(required)
        known, self._missing = self._missing, {}
        overdue: list[Key] = []
        back = [key for key, each in known.items() if each.is_overdue and key in wanted and is_published(key)]
        for key in wanted:
            if is_published(key):
                continue
            missing = known.get(key, Missing(now, now_s))
            if not missing.is_overdue and now_s - missing.since_s >= MISSING_S:
                missing = Missing(missing.since, missing.since_s, is_overdue=True)
                overdue.append(key)
            self._missing[key] = missing
        return tuple(overdue), tuple(back)
