"""The removal brake: when most tools stop answering at once, the fault is more likely on this service's side.

It considers only published tools that were lost to failed probes. A Service that is deleted, opted out or changed is
not such a loss: it is not among the healths that the brake receives. A tool that answers but is not published, because
it requires credentials or is hidden for example, neither holds a removal nor prevents a hold.

Every namespace counts the same, however many tools it has: otherwise a tenant could hold removals, or prevent a hold,
with tools created for the purpose. Trusted namespaces have a separate brake.
"""

from collections import Counter
from collections.abc import Collection, Container, Mapping, Sequence
from fractions import Fraction
from typing import Final

import msgspec

from toolset.core.health.options import HealthOptions
from toolset.core.health.thresholds import Health
from toolset.model import Key

FEWEST: Final = 3
"""Minimum number of losses for a hold."""


class Hold(msgspec.Struct, frozen=True):
    """The verdict of the brake.

    Attributes:
        keys: Lost tools that stay published.
        begins: Whether a hold begins now.
        ends: Whether a hold ends now.
        known: How many tools were published before the losses.
        again_s: When to check again at the latest, seconds; ``None`` if nothing is held.
    """

    keys: frozenset[Key] = frozenset()
    begins: bool = False
    ends: bool = False
    known: int = 0
    again_s: float | None = None


def combined(holds: Sequence[Hold]) -> Hold:
    """Return the combined verdict of several brakes."""
    again_s = [hold.again_s for hold in holds if hold.again_s is not None]
    return Hold(
        frozenset[Key]().union(*(hold.keys for hold in holds)),
        begins=any(hold.begins for hold in holds),
        ends=any(hold.ends for hold in holds),
        known=sum(hold.known for hold in holds),
        again_s=min(again_s, default=None),
    )


class RemovalBrake:
    """Remembers which losses it has released; everything else follows from the healths it receives.

    A first loss waits until enough other tools have been probed since to know that it is alone; usually they have been.
    Only then can a common cause be detected before the first removal, however the probes are spread in time.
    """

    def __init__(self, options: HealthOptions) -> None:
        self._options = options
        self._until_s: float | None = None
        self._waits = False
        self._let_go: dict[Key, float] = {}

    @property
    def waits(self) -> bool:
        """Whether a loss waits for probes of other tools."""
        return self._waits

    def decide(self, healths: Mapping[Key, Health], now_s: float, published: Container[Key]) -> Hold:
        """Return which of the lost tools stay published.

        Args:
            healths: The health of each candidate, without duplicates.
            now_s: The time, on the clock of the healths.
            published: Which of them are published now.
        """
        self._let_go = {
            key: fell_s for key, fell_s in self._let_go.items() if key in healths and healths[key].fell_s == fell_s
        }
        lost = {
            key: health.fell_s
            for key, health in healths.items()
            if health.fell_s is not None and key in published and key not in self._let_go
        }
        self._waits = False
        if not lost or not self._options.hold:
            return self._release(lost)
        if self._until_s is not None:
            return self._keep(lost, now_s)
        up = {key: health for key, health in healths.items() if health.up and key in published}
        return self._weigh(lost, up, min(healths[key].began_s for key in lost), now_s)

    def _keep(self, lost: Mapping[Key, float], now_s: float) -> Hold:
        if self._until_s is None or now_s >= self._until_s:
            return self._release(lost)
        return Hold(frozenset(lost), again_s=self._until_s - now_s)

    def _release(self, lost: Mapping[Key, float]) -> Hold:
        """Release the held losses."""
        self._let_go.update(lost)
        ends = self._until_s is not None
        self._until_s = None
        return Hold(ends=ends)

    def _weigh(self, lost: Mapping[Key, float], up: Mapping[Key, Health], began_s: float, now_s: float) -> Hold:
        gone = {key for key, fell_s in self._let_go.items() if now_s - fell_s <= self._options.interval}
        known = {*up, *lost, *gone}
        going = {*lost, *gone, *(key for key, health in up.items() if health.doubtful)}
        unseen = {key for key, health in up.items() if not health.doubtful and health.probed_s < began_s}
        if _most(going, known):
            self._until_s = now_s + self._options.hold
            return Hold(frozenset(lost), begins=True, known=len(known), again_s=self._options.hold)
        left_s = min(lost.values()) + self._options.hold - now_s
        if _most(going | unseen, known) and left_s > 0:
            self._waits = True
            return Hold(frozenset(lost), known=len(known), again_s=left_s)
        return self._release(lost)


def _most(part: Collection[Key], whole: Collection[Key]) -> bool:
    """Return whether ``part`` is more than half of ``whole``, in which every namespace counts the same."""
    if len(part) < FEWEST:
        return False
    of_part = Counter(key.namespace for key in part)
    of_whole = Counter(key.namespace for key in whole)
    return 2 * sum(Fraction(count, of_whole[namespace]) for namespace, count in of_part.items()) > len(of_whole)
