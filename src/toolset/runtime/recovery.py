"""What a reflector does after a failure: resume, list again, stream the list or page it; and how long it waits."""

from collections.abc import Callable, Sequence
from typing import Final

import anyio

from toolset.errors import InvalidError, OutOfSyncError, ToolsetError, TransientError, UnavailableError
from toolset.runtime.backoff import RETRY_AFTER_CAP_S, Backoff
from toolset.runtime.listwatch import PAGE_SIZES

MAX_RESUMES: Final = 10
BOOKMARK_S: Final = 60.0
"""How often the API server sends a bookmark on a watch, about, seconds; this is practice and no contract."""
SILENT_WATCHES: Final = 2
SILENT_WATCHES_UNMARKED: Final = 10
"""The same for a server that has never sent a bookmark, and cannot show that it is there."""
SILENCE: Final = "silence"
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
        self._silent_watches = 0
        self._silent_s = 0.0
        self._strikes = 0
        self._stream_list_after = 0.0
        self._page_sizes: Sequence[int] = PAGE_SIZES
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
        """Whether the next list may be streamed; not where streams are what is in doubt."""
        return self._list_reason != SILENCE and anyio.current_time() >= self._stream_list_after

    @property
    def page_size(self) -> int:
        """How many objects to ask for in one page."""
        return self._page_sizes[0]

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
        self._page_sizes = PAGE_SIZES
        self.heard()
        if streamed:
            self._strikes = 0
        return reason

    def incomplete(self, *, paged: bool) -> None:
        """Note a list that was too slow or too large; the next one is asked for in pages, or in smaller ones."""
        self._version_usable = False
        if paged:
            self._page_sizes = self._page_sizes[1:] or self._page_sizes

    def resumed(self) -> None:
        """Note a watch that the server served."""
        self._failed_resumes = 0

    def heard(self) -> None:
        """Note that the server sent something."""
        self._silent_watches, self._silent_s = 0, 0.0

    def silent(self, watched_s: float, *, sends_bookmarks: bool) -> None:
        """Judge a watch that brought nothing in ``watched_s`` seconds.

        One after the other, for as long as bookmarks should have come, and the version cannot be trusted: a server
        that was restored from a backup accepts a watch from a version that it has not reached, and says nothing.
        """
        self._silent_watches += 1
        self._silent_s += watched_s
        if watched_s >= BOOKMARK_S:  # the wait has been long enough
            self._failures = 0
        allowed = SILENT_WATCHES if sends_bookmarks else SILENT_WATCHES_UNMARKED
        if self._silent_watches >= allowed and self._silent_s >= allowed * BOOKMARK_S:
            self._list_reason = SILENCE
            self._version_usable = False

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
        floor_s = min(error.retry_after_s, RETRY_AFTER_CAP_S) if isinstance(error, TransientError) else 0.0
        return max(floor_s, self._backoff.delay_s(self._failures, self._jitter))
