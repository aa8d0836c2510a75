"""When a write is retried after a conflict with a newer version of the ConfigMap."""

import math
from typing import Final

from toolset.model import ConfigMap

RETRY_S: Final = 0.5
"""A newer version arrives by the watch, which queues the next reconcile; this is the safety net, seconds."""
MANY: Final = 20
LATER_S: Final = 1.0
"""The pause after more than :data:`MANY` consecutive conflicts, seconds."""
BLIND: Final = 3
"""This many consecutive conflicts without a newer version mean that the cached ConfigMap cannot be trusted."""
LONGEST_S: Final = 30.0
"""The pause doubles with each of these, from a second to this, seconds."""


class Conflicts:
    """Consecutive conflicts, until a write succeeds or none is needed.

    A newer version explains a conflict: somebody else edits the ConfigMap, and however often they do, the next attempt
    does not wait long. Without one, something is wrong: a silent watch, or a server that always refuses.
    """

    def __init__(self) -> None:
        self._count = 0
        self._blind = 0
        self._fence: tuple[str, str] | None = None
        self._last_s = -math.inf

    @property
    def is_blind(self) -> bool:
        """Whether the cached ConfigMap must be listed again, and the next attempt delayed by the backoff."""
        return self._blind >= BLIND

    def wait_s(self, cached: ConfigMap | None, now_s: float) -> float:
        """Return how long a write based on ``cached`` must wait, seconds."""
        if self.is_blind and _fence(cached) == self._fence:
            pause_s = min(LONGEST_S, math.ldexp(LATER_S, min(5, self._blind - BLIND)))
        else:
            pause_s = LATER_S if self._count > MANY else 0.0
        return max(0.0, self._last_s + pause_s - now_s)

    def met(self, cached: ConfigMap | None, now_s: float) -> None:
        """Count a conflict of a write based on ``cached``."""
        self._blind = self._blind + 1 if _fence(cached) == self._fence else 1
        self._fence = _fence(cached)
        self._count += 1
        self._last_s = now_s

    def ended(self) -> None:
        """Record that the ConfigMap is up to date."""
        self._count = self._blind = 0
        self._fence = None


def _fence(cached: ConfigMap | None) -> tuple[str, str]:
    return (cached.uid, cached.version) if cached else ("", "")
