"""Backends behind the prober's port: what each answers now, and since when."""

import anyio

from simulation.clock import Scheduler
from toolset.core.candidate import Candidate
from toolset.core.health.thresholds import Failure, Outcome

OUTCOMES = {
    "down": Outcome(alive=False, detail="no connection", failure=Failure.REFUSED),
    "failing": Outcome(alive=False, detail="answered 503", failure=Failure.STATUS, status=503),
    "hangs": Outcome(alive=False, detail="no answer within 5 s", failure=Failure.TIMEOUT),
    "other": Outcome(
        alive=False, detail="the answer is another's", failure=Failure.IDENTITY, identity_mismatch=True, status=200
    ),
}
UP = Outcome(alive=True, status=200)
TIMEOUT_S = 5.0


class Backends:
    """All backends by authority; one that was never set is up."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._moods: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self.probes = 0

    def set(self, authority: str, mood: str) -> None:
        """Let a backend be ``up``, ``down``, ``sick``, ``hangs``, or ``other`` (something else answers)."""
        self._moods[authority] = mood
        self._since[authority] = self._scheduler.now

    def is_up(self, authority: str) -> bool:
        """Whether it answers as it should."""
        return self._moods.get(authority, "up") == "up"

    def up_since(self, authority: str) -> float:
        """When it last came up, or was last changed; 0 when it was never."""
        return self._since.get(authority, 0.0)

    async def probe(self, candidate: Candidate) -> Outcome:
        """Answer a probe."""
        self.probes += 1
        authority = candidate.url.split("/")[2]
        mood = self._moods.get(authority, "up")
        await anyio.sleep(TIMEOUT_S if mood == "hangs" else 0.004)
        return OUTCOMES.get(mood, UP)
