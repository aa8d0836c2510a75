"""Why a probe found no life."""

from typing import Final

from toolset.core.health.thresholds import Failure, Outcome

NO_CONNECTION: Final = "connection refused or host not found"


class ProbeError(Exception):
    """A probe ended without a judgement.

    Attributes:
        failure: Of which kind it is.
        detail: A fixed phrase, never text from the backend.
    """

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail

    def outcome(self) -> Outcome:
        """Return it as what a probe found."""
        return Outcome(alive=False, detail=self.detail, failure=self.failure)
