"""Groups of keys take turns, so that one with thousands of keys delays no other.

It is start-time fair queueing: the turn of a key is one after the last of its group, or after the one just passed.
Groups may share an account, which has the weight of one group: the turns of each group are then as far apart as there
are groups of that account with a pending turn.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K_contra = TypeVar("K_contra", contravariant=True)


class Turns(Generic[K_contra]):
    """The turns of keys; the waiting key with the lowest turn is next."""

    def __init__(self, group: Callable[[K_contra], str], account: Callable[[str], str] = str) -> None:
        """Create it.

        Args:
            group: Returns the group of a key.
            account: Returns the account of a group; by default each has its own.
        """
        self._group = group
        self._account = account
        self._passed = 0
        self._last: dict[str, tuple[int, Hashable]] = {}  # the last turn of a group, and its account then
        self._groups: Counter[Hashable] = Counter()  # of an account

    @property
    def groups(self) -> int:
        """The number of groups with a pending turn."""
        return len(self._last)

    def next(self, key: K_contra) -> int:
        """Return the turn of ``key``."""
        group = self._group(key)
        last, account = self._last.get(group, (0, None))
        if account is None:
            account = self._account(group)
            self._groups[account] += 1
        turn = max(self._passed, last) + self._groups[account]
        self._last[group] = turn, account
        return turn

    def passed(self, turn: int, key: K_contra) -> None:
        """Record that the turn of ``key`` has passed."""
        self._passed = max(self._passed, turn)
        group = self._group(key)
        last, account = self._last.get(group, (turn, None))
        if account is not None and last <= self._passed:
            del self._last[group]
            self._groups[account] -= 1
            if not self._groups[account]:
                del self._groups[account]
