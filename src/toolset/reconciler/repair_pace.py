"""When the ConfigMap may be repaired again: growing pauses against a writer that keeps overwriting it."""

from typing import Final

from toolset.core.publishing.plan import FIELD_MANAGER, PATCHER, Apply, Desired, owners
from toolset.model import ConfigMap
from toolset.runtime.pacing import Pace, Paces, Pacing

OF_A_KEY: Final = Pacing(free=10, longest_s=300.0, calm_s=120.0)
"""Ten repairs of a key at once, then after 1 s, 2 s, 4 s and so on: fewer than 60 within an hour."""
OF_ALL: Final = Pacing(free=20, longest_s=300.0, calm_s=120.0)
"""All repairs together: a conflict over one key never reaches this limit, a writer that alternates between keys does.

Its changes too are repaired fewer than 60 times within an hour."""
UNKNOWN: Final = "unknown"
_REST: Final = ""  # labels and annotations; no key of a ConfigMap is empty
_WHOLE: Final = "/"  # the ConfigMap itself; no key holds a slash


class RepairPace:
    """Recognises writes that only restore what this service wrote last, and paces them, per key and together.

    Recreating a deleted ConfigMap counts as such a key too. A write for any other reason does not wait, and includes
    the pending repairs.
    """

    def __init__(self) -> None:
        self._written: Desired | None = None
        self._keys: Paces[str] = Paces(OF_A_KEY)
        self._all = Pace(OF_ALL)

    def wait_s(self, wanted: Desired, change: Apply, cached: ConfigMap | None, now_s: float) -> float:
        """Return how long ``change`` must wait, seconds; 0 if it may be written now."""
        if wanted != self._written:
            return 0.0
        waits_s = (self._keys.wait_s(key, now_s) for key in _keys(change, cached))
        return max(self._all.wait_s(now_s), min(waits_s))

    def wrote(self, wanted: Desired, change: Apply, cached: ConfigMap | None, now_s: float) -> None:
        """Count a write."""
        if wanted == self._written:
            self._keys.acted(_keys(change, cached), now_s)
            self._all = self._all.acted(now_s)
        self._written = wanted


def overwriters(change: Apply, cached: ConfigMap | None) -> tuple[str, ...]:
    """Return the other writers of the keys that ``change`` repairs, as ``manager/operation``.

    Empty for another process of this service, with the same field manager. :data:`UNKNOWN` stands for a writer
    without a trace, because a key was removed or only labels and annotations were changed.
    """
    known = owners(cached, "data") if cached else {}
    found = [known.get(key, {UNKNOWN}) for key in _keys(change, cached)]
    return tuple(sorted(set[str]().union(*found) - {FIELD_MANAGER, PATCHER}))


def editors(change: Apply, cached: ConfigMap | None) -> tuple[str, ...]:
    """Return who made the edits that ``change`` reverts, as :func:`overwriters` does; empty if it reverts none."""
    return overwriters(change, cached) if change.drifted else ()


def _keys(change: Apply, cached: ConfigMap | None) -> tuple[str, ...]:
    return ((*change.written, *change.removed) or (_REST,)) if cached else (_WHOLE,)
