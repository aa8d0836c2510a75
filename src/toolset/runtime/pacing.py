"""Pace repeated actions: a burst after a quiet period, then with growing pauses while they continue."""

import math
from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)


class Pacing(msgspec.Struct, frozen=True):
    """How repeated actions are paced.

    Attributes:
        free: Number of actions without a pause. After them the pause is 1 s, and doubles with each action.
        longest_s: The longest pause, seconds; less than 1 means no pause.
        calm_s: Time after which one action is forgotten, seconds.
    """

    free: int = 4
    longest_s: float = 30.0
    calm_s: float = 60.0

    @property
    def most(self) -> float:
        """Maximum number of remembered actions."""
        return self.free + math.log2(self.longest_s)


class Pace(msgspec.Struct, frozen=True):
    """When one action may happen again; by default 9 times in 40 s, and then twice a minute.

    Attributes:
        pacing: How it is paced.
        level: The number of remembered actions.
        last_s: The time of the last action, on the caller's clock.
    """

    pacing: Pacing = Pacing()
    level: float = 0.0
    last_s: float = -math.inf

    def wait_s(self, now_s: float) -> float:
        """Return how long the next action must wait, seconds; 0 if it may happen now."""
        if self.level <= self.pacing.free - 0.5:  # actions forgotten in between do not make it one fewer
            return 0.0
        return max(0.0, self.last_s + math.exp2(self.level - self.pacing.free) - now_s)

    def acted(self, now_s: float) -> "Pace":
        """Return the pace after an action."""
        return Pace(self.pacing, min(self.pacing.most, self._level_at(now_s) + 1.0), now_s)

    def is_calm(self, now_s: float) -> bool:
        """Return whether no action is remembered."""
        return not self._level_at(now_s)

    def _level_at(self, now_s: float) -> float:
        return max(0.0, self.level - (now_s - self.last_s) / self.pacing.calm_s) if self.level else 0.0


_DEFAULT: Final = Pacing()


class Paces(Generic[K]):
    """The paces of several causes; only those with remembered actions are kept."""

    def __init__(self, pacing: Pacing = _DEFAULT) -> None:
        self._calm = Pace(pacing)
        self._paces: dict[K, Pace] = {}

    def wait_s(self, cause: K, now_s: float) -> float:
        """Return how long an action with this cause must wait, seconds."""
        return self._paces.get(cause, self._calm).wait_s(now_s)

    def acted(self, causes: Iterable[K], now_s: float) -> None:
        """Count an action against each of its causes."""
        kept = {cause: pace for cause, pace in self._paces.items() if not pace.is_calm(now_s)}
        self._paces = kept | {cause: kept.get(cause, self._calm).acted(now_s) for cause in causes}
