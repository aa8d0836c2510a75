"""Pace what repeats: a burst at once after a calm, then with growing pauses for as long as it goes on."""

import math
from collections.abc import Collection, Hashable
from typing import Final, Generic, TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)

LONGEST_S: Final = 30.0
FREE: Final = 4
"""So many actions may follow each other at once. After them the pause is a second, and doubles with each."""
CALM_S: Final = 60.0
"""Each such time makes one action be forgotten, seconds."""
_MOST: Final = FREE + math.log2(LONGEST_S)


class Pace(msgspec.Struct, frozen=True):
    """When one kind of action may happen again: 9 times in 40 s, and then twice a minute.

    Attributes:
        level: How many actions are remembered.
        last_s: When the last was, on the caller's clock.
    """

    level: float = 0.0
    last_s: float = -math.inf

    def wait_s(self, now_s: float) -> float:
        """Return how long the next action has to wait, seconds; 0 when it may happen now."""
        if self.level <= FREE - 0.5:  # what was forgotten in between does not make it one fewer
            return 0.0
        return max(0.0, self.last_s + math.exp2(self.level - FREE) - now_s)

    def acted(self, now_s: float) -> "Pace":
        """Return the pace after an action."""
        return Pace(min(_MOST, self._level_at(now_s) + 1.0), now_s)

    def is_calm(self, now_s: float) -> bool:
        """Return whether nothing is remembered any more."""
        return not self._level_at(now_s)

    def _level_at(self, now_s: float) -> float:
        return max(0.0, self.level - (now_s - self.last_s) / CALM_S) if self.level else 0.0


_CALM: Final = Pace()


class Paces(Generic[K]):
    """The pace of each of several causes; only those that are not calm are kept."""

    def __init__(self) -> None:
        self._paces: dict[K, Pace] = {}

    def wait_s(self, causes: Collection[K], now_s: float) -> float:
        """Return how long an action with ``causes`` has to wait, seconds: as long as the calmest of them."""
        return min((self._paces.get(cause, _CALM).wait_s(now_s) for cause in causes), default=0.0)

    def acted(self, causes: Collection[K], now_s: float) -> None:
        """Count an action against each of its causes."""
        kept = {cause: pace for cause, pace in self._paces.items() if not pace.is_calm(now_s)}
        self._paces = kept | {cause: kept.get(cause, _CALM).acted(now_s) for cause in causes}
