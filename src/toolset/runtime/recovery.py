"""What a reflector does after a failure: resume, list again, stream the list or page it; and how long it waits."""

from collections.abc import Callable
from typing import Final

import anyio

from toolset.errors import InvalidError, OutOfSyncError, ToolsetError, UnavailableError
from toolset.runtime.backoff import RETRY_AFTER_CAP_S, Backoff

MAX_RESUMES: Final = 10
STREAM_LIST_STRIKES: Final = 2
STREAM_LIST_PAUSE_S: Final = 3600.0


class Recovery:
    """The memory of one reflector's failures; see ``runtime.reflector`` for the rules."""

    def __init__(self, backoff: Backoff, calm_s: float, jitter: Callable[[], float]) -> None:
        """Begin with a reflector that has to list.

        Args:
            backoff: The delays between failed attempts.
            calm_s: Without a failure for this long the delays start afresh, seconds.
            jitter: Returns a number in [0, 1).
        """
        self._backoff = backoff
        self._calm_s = calm_s
        self._jitter = jitter
        self._list_reason = "start"
        self._version_usable = True
        self._failures = 0
        self._failed_at = 0.0
        self._unreachable = False
        self._failed_resumes = 0
        self._strikes = 0
        self._stream_list_after = 0.0
        self._begun = self._stored = self._demanded = 0  # numbers of lists

    @property
    def list_reason(self) -> str:
        """Why the next attempt has to list; empty when it can resume."""
        return self._list_reason or ("" if self.is_met(self._demanded) else "refresh")

    @property
    def version_usable(self) -> bool:
        """Whether the next list may name the last version seen."""
        return self._version_usable and self.is_met(self._demanded)

    @property
    def may_stream_list(self) -> bool:
        """Whether the next list may be streamed."""
        return anyio.current_time() >= self._stream_list_after

    def demand(self) -> int:
        """Ask for a consistent list that begins after this call; return what :meth:`is_met` takes."""
        self._demanded = self._begun + 1
        return self._demanded

    def is_met(self, demand: int) -> bool:
        """Tell whether a list that was demanded is complete."""
        return self._stored >= demand

    def begins_list(self) -> None:
        """Note that a list begins."""
        self._begun += 1

    def listed(self, *, streamed: bool) -> str:
        """Note a complete list; return why it was made."""
        reason, self._list_reason = self.list_reason, ""
        self._stored = self._begun
        self._version_usable = True
        self._failed_resumes = 0
        if streamed:
            self._strikes = 0
        return reason

    def resumed(self) -> None:
        """Note a watch that works."""
        self._failed_resumes = 0

    def strike(self, error: ToolsetError | TimeoutError) -> bool:
        """Judge a streamed list that failed; return whether lists are paged from now on, for an hour.

        A server that cannot stream is not asked again; one that fails at it gets a second chance; one that asks
        for patience or refuses the version says nothing against streaming.
        """
        if isinstance(error, UnavailableError) and error.throttled:
            return False
        if isinstance(error, OutOfSyncError) and error.version_unusable:
            return False
        self._strikes += STREAM_LIST_STRIKES if isinstance(error, InvalidError) else 1
        if self._strikes < STREAM_LIST_STRIKES:
            return False
        self._strikes = 0
        self._stream_list_after = anyio.current_time() + STREAM_LIST_PAUSE_S
        return True

    def delay_after(self, error: ToolsetError) -> float:
        """Decide how to go on after ``error``; return the delay before the next attempt, seconds."""
        now = anyio.current_time()
        answered = isinstance(error, OutOfSyncError) and self._unreachable
        self._unreachable = isinstance(error, UnavailableError)
        if answered or now - self._failed_at > self._calm_s:  # the server is back: do not make it wait
            self._failures = 0
        self._failed_at = now
        self._failures += 1
        if isinstance(error, OutOfSyncError):
            self._list_reason = "expired" if error.version_unusable else "out of sync"
            self._version_usable = self._version_usable and not error.version_unusable
        elif not self._list_reason:
            self._failed_resumes += 1
            if self._failed_resumes >= MAX_RESUMES:
                self._list_reason = "cannot resume"
        floor_s = min(error.retry_after_s, RETRY_AFTER_CAP_S) if isinstance(error, UnavailableError) else 0.0
        return max(floor_s, self._backoff.delay_s(self._failures, self._jitter))
