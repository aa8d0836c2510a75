"""Groups of keys take turns, so that one with thousands of keys delays no other.

It is start-time fair queueing: the turn of a key is one after the last of its group, or after the one just passed.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K_contra = TypeVar("K_contra", contravariant=True)


class Turns(Generic[K_contra]):
    """The turns of keys; of keys that wait the one with the lowest turn is next."""

    def __init__(self, group: Callable[[K_contra], Hashable]) -> None:
        """Begin; ``group`` returns the group of a key."""
        self._group = group
        self._passed = 0
        self._last: dict[Hashable, int] = {}

    @property
    def groups(self) -> int:
        """How many groups have a turn to come."""
        return len(self._last)

    def next(self, key: K_contra) -> int:
        """Return the turn of ``key``."""
        group = self._group(key)
        turn = self._last[group] = max(self._passed, self._last.get(group, 0)) + 1
        return turn

    def passed(self, turn: int, key: K_contra) -> None:
        """Note that the turn of ``key`` has come."""
        self._passed = max(self._passed, turn)
        group = self._group(key)
        if self._last.get(group, turn) <= self._passed:
            self._last.pop(group, None)
