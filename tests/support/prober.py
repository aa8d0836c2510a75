"""Backends that live or die as the test says."""

from collections.abc import Callable, Mapping

import anyio
from anyio.lowlevel import checkpoint

from toolset.core.candidate import Candidate
from toolset.core.health.thresholds import Failure, Outcome
from toolset.model import Key

HEALTHY = Outcome(alive=True, status=200)
UNHEALTHY = Outcome(alive=False, detail="answered 503", failure=Failure.STATUS, status=503)
HUNG = Outcome(alive=False, detail="no answer within 5 s", failure=Failure.TIMEOUT)


class FakeProber:
    """Keeps the promise of ``reconciler.Prober``: one outcome a call, and never an exception.

    Attributes:
        outcomes: What a backend answers from now on; one that is not named is well.
        takes_s: How long each answer takes, seconds.
        times_s: How long the answers of some backends take instead, seconds.
        before: Called when a backend is asked.
        asked: Which candidates were probed, in order.
        asked_at: When each of them was.
    """

    def __init__(self, outcomes: Mapping[Key, Outcome] | None = None, *, takes_s: float = 0.0) -> None:
        self.outcomes = dict(outcomes or {})
        self.takes_s = takes_s
        self.times_s: dict[Key, float] = {}
        self.before: Callable[[], None] = lambda: None
        self.asked: list[Candidate] = []
        self.asked_at: list[float] = []

    async def probe(self, candidate: Candidate) -> Outcome:
        """Answer with what stands in ``outcomes`` when the answer is due."""
        self.asked.append(candidate)
        self.asked_at.append(anyio.current_time())
        self.before()
        takes_s = self.times_s.get(candidate.key, self.takes_s)
        await (anyio.sleep(takes_s) if takes_s else checkpoint())
        return self.outcomes.get(candidate.key, HEALTHY)
