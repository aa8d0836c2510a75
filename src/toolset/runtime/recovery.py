"""The reaction of a reflector to a failure: resume, list again, streamed or in pages; and the delay."""

from collections.abc import Callable, Sequence
from typing import Final

import anyio

from toolset.errors import InvalidError, OutOfSyncError, ToolsetError, TransientError, UnavailableError
from toolset.runtime.backoff import RETRY_AFTER_CAP_S, Backoff
from toolset.runtime.listwatch import PAGE_SIZES

MAX_RESUMES: Final = 10
BOOKMARK_S: Final = 60.0
"""Approximate time between bookmarks on a watch, seconds; this is practice, not a contract."""
SILENT_WATCHES: Final = 2
SILENT_WATCHES_UNMARKED: Final = 10
"""The same for a server that has never sent a bookmark, so that silence proves nothing."""
SILENCE: Final = "silence"
STREAM_LIST_STRIKES: Final = 2
STREAM_LIST_PAUSE_S: Final = 3600.0


class Recovery:
    """The state of one reflector's failures; see ``runtime.reflector`` for the rules."""

    def __init__(self, backoff: Backoff, calm_s: float, jitter: Callable[[], float]) -> None:
        """Start with a reflector that must list.

        Args:
            backoff: The delays between failed attempts.
            calm_s: Time without a failure after which the delays restart, seconds.
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
        self._silent_watches = 0
        self._silent_s = 0.0
        self._strikes = 0
        self._stream_list_after = 0.0
        self._page_sizes: Sequence[int] = PAGE_SIZES
        self._begun = self._stored = self._demanded = 0  # numbers of lists

    @property
    def list_reason(self) -> str:
        """Why the next attempt must list; empty if it can resume."""
        return self._list_reason or ("" if self.is_met(self._demanded) else "refresh")

    @property
    def version_usable(self) -> bool:
        """Whether the next list may name the last version seen."""
        return self._version_usable and self.is_met(self._demanded)

    @property
    def may_stream_list(self) -> bool:
        """Whether the next list may be streamed; not if streams are the suspected problem."""
        return self._list_reason != SILENCE and anyio.current_time() >= self._stream_list_after

    @property
    def page_size(self) -> int:
        """The page size to request."""
        return self._page_sizes[0]

    def demand(self) -> int:
        """Request a consistent list that starts after this call; return the argument for :meth:`is_met`."""
        self._demanded = self._begun + 1
        return self._demanded

    def is_met(self, demand: int) -> bool:
        """Return whether a requested list is complete."""
        return self._stored >= demand

    def begins_list(self) -> None:
        """Record that a list starts."""
        self._begun += 1

    def listed(self, *, streamed: bool) -> str:
        """Record a complete list; return why it was needed."""
        reason, self._list_reason = self.list_reason, ""
        self._stored = self._begun
        self._version_usable = True
        self._failed_resumes = 0
        self._page_sizes = PAGE_SIZES
        self.heard()
        if streamed:
            self._strikes = 0
        return reason

    def incomplete(self, *, paged: bool) -> None:
        """Record a list that was too slow or too large; the next one is requested in pages, or in smaller ones."""
        self._version_usable = False
        if paged:
            self._page_sizes = self._page_sizes[1:] or self._page_sizes

    def resumed(self) -> None:
        """Record a watch that the server accepted."""
        self._failed_resumes = 0

    def heard(self) -> None:
        """Record that the server sent something."""
        self._silent_watches, self._silent_s = 0, 0.0

    def silent(self, watched_s: float, *, sends_bookmarks: bool) -> None:
        """Evaluate a watch without data for ``watched_s`` seconds.

        After several of them, for longer than bookmarks take, the version cannot be trusted: a server that was restored
        from a backup accepts a watch from a version that it has not reached, and stays silent.
        """
        self._silent_watches += 1
        self._silent_s += watched_s
        if watched_s >= BOOKMARK_S:  # it was long enough
            self._failures = 0
        allowed = SILENT_WATCHES if sends_bookmarks else SILENT_WATCHES_UNMARKED
        if self._silent_watches >= allowed and self._silent_s >= allowed * BOOKMARK_S:
            self._list_reason = SILENCE
            self._version_usable = False

    def strike(self, error: ToolsetError | TimeoutError, version: str) -> bool:
        """Evaluate a failed streamed list; return whether lists are paged for the next hour.

        A server that cannot stream is not asked again; one that fails to gets a second attempt; throttling, or a
        rejection of the ``version`` that the list named, is no evidence against streaming. A server that rejects a list
        without a version has a watch cache that lags behind its database: it cannot stream either.
        """
        if isinstance(error, UnavailableError) and error.throttled:
            return False
        lags = isinstance(error, OutOfSyncError) and error.version_unusable
        if lags and version:
            return False
        self._strikes += STREAM_LIST_STRIKES if lags or isinstance(error, InvalidError) else 1
        if self._strikes < STREAM_LIST_STRIKES:
            return False
        self._strikes = 0
        self._stream_list_after = anyio.current_time() + STREAM_LIST_PAUSE_S
        return True

    def delay_after(self, error: ToolsetError) -> float:
        """Decide how to continue after ``error``; return the delay before the next attempt, seconds."""
        now = anyio.current_time()
        answered = isinstance(error, OutOfSyncError) and self._unreachable
        self._unreachable = isinstance(error, UnavailableError)
        if answered or now - self._failed_at > self._calm_s:  # the server is back: restart the delays
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
        floor_s = min(error.retry_after_s, RETRY_AFTER_CAP_S) if isinstance(error, TransientError) else 0.0
        return max(floor_s, self._backoff.delay_s(self._failures, self._jitter))
