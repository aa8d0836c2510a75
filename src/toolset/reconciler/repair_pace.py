"""When the ConfigMap may be repaired again: whoever keeps overwriting a key is answered with growing pauses."""

from typing import Final

from toolset.core.publishing.plan import FIELD_MANAGER, PATCHER, Apply, Desired, owners
from toolset.model import ConfigMap
from toolset.runtime.pacing import Paces, Pacing

OF_A_KEY: Final = Pacing(free=10, longest_s=300.0, calm_s=120.0)
"""Ten repairs of a key at once, then after 1 s, 2 s, 4 s and so on: less than 60 within an hour."""
UNKNOWN: Final = "unknown"
_REST: Final = ""  # labels and annotations; no key of a ConfigMap is empty


class RepairPace:
    """Recognises writes that only put back what this service wrote last, and paces them by key.

    A write for any other reason does not wait, and takes along what does. Neither does one that makes a deleted
    ConfigMap again.
    """

    def __init__(self) -> None:
        self._written: Desired | None = None
        self._keys: Paces[str] = Paces(OF_A_KEY)

    def wait_s(self, wanted: Desired, change: Apply, cached: ConfigMap | None, now_s: float) -> float:
        """Return how long ``change`` has to wait, seconds; 0 when it may be written now."""
        if not self._is_repair(wanted, cached):
            return 0.0
        return min(self._keys.wait_s(key, now_s) for key in _keys(change))

    def wrote(self, wanted: Desired, change: Apply, cached: ConfigMap | None, now_s: float) -> None:
        """Count a write."""
        if self._is_repair(wanted, cached):
            self._keys.acted(_keys(change), now_s)
        self._written = wanted

    def _is_repair(self, wanted: Desired, cached: ConfigMap | None) -> bool:
        return cached is not None and wanted == self._written


def overwriters(change: Apply, cached: ConfigMap | None) -> tuple[str, ...]:
    """Return who else wrote the keys that ``change`` repairs, as ``manager/operation``.

    Empty for none: another process of this service, with the same field manager. :data:`UNKNOWN` stands for who left no
    trace, because a key was removed or only labels and annotations were changed.
    """
    known = owners(cached, "data") if cached else {}
    found = [known.get(key, {UNKNOWN}) for key in _keys(change)]
    return tuple(sorted(set[str]().union(*found) - {FIELD_MANAGER, PATCHER}))


def _keys(change: Apply) -> tuple[str, ...]:
    return (*change.written, *change.removed) or (_REST,)
