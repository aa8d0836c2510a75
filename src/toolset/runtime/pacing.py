"""Pace what repeats: a burst at once after a calm, then with growing pauses for as long as it goes on."""

import math
from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)


class Pacing(msgspec.Struct, frozen=True):
    """How what repeats is paced.

    Attributes:
        free: So many actions may follow each other at once. After them the pause is a second, and doubles with each.
        longest_s: The longest pause, seconds; less than 1 means no pause.
        calm_s: Each such time makes one action be forgotten, seconds.
    """

    free: int = 4
    longest_s: float = 30.0
    calm_s: float = 60.0

    @property
    def most(self) -> float:
        """How many actions are remembered at most."""
        return self.free + math.log2(self.longest_s)


class Pace(msgspec.Struct, frozen=True):
    """When one action may happen again; by default 9 times in 40 s, and then twice a minute.

    Attributes:
        pacing: How it is paced.
        level: How many actions are remembered.
        last_s: When the last was, on the caller's clock.
    """

    pacing: Pacing = Pacing()
    level: float = 0.0
    last_s: float = -math.inf

    def wait_s(self, now_s: float) -> float:
        """Return how long the next action has to wait, seconds; 0 when it may happen now."""
        if self.level <= self.pacing.free - 0.5:  # what was forgotten in between does not make it one fewer
            return 0.0
        return max(0.0, self.last_s + math.exp2(self.level - self.pacing.free) - now_s)

    def acted(self, now_s: float) -> "Pace":
        """Return the pace after an action."""
        return Pace(self.pacing, min(self.pacing.most, self._level_at(now_s) + 1.0), now_s)

    def is_calm(self, now_s: float) -> bool:
        """Return whether nothing is remembered any more."""
        return not self._level_at(now_s)

    def _level_at(self, now_s: float) -> float:
        return max(0.0, self.level - (now_s - self.last_s) / self.pacing.calm_s) if self.level else 0.0


_DEFAULT: Final = Pacing()


class Paces(Generic[K]):
    """The pace of each of several causes; only those that are not calm are kept."""

    def __init__(self, pacing: Pacing = _DEFAULT) -> None:
        self._calm = Pace(pacing)
        self._paces: dict[K, Pace] = {}

    def wait_s(self, cause: K, now_s: float) -> float:
        """Return how long an action with this cause has to wait, seconds."""
        return self._paces.get(cause, self._calm).wait_s(now_s)

    def acted(self, causes: Iterable[K], now_s: float) -> None:
        """Count an action against each of its causes."""
        kept = {cause: pace for cause, pace in self._paces.items() if not pace.is_calm(now_s)}
        self._paces = kept | {cause: kept.get(cause, self._calm).acted(now_s) for cause in causes}
