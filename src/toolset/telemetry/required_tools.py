"""Report required tools that are missing for too long: a log line and a Kubernetes Event for each."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Final

import anyio

from toolset.core.status.history import History
from toolset.core.status.required import Missing, RequiredTools
from toolset.core.status.snapshot import PUBLISHED
from toolset.model import Key
from toolset.reconciler.ports import EventRecorder
from toolset.telemetry import event_notes
from toolset.telemetry.service_status import service_fields

CHECK_S: Final = 5.0
REASON: Final = "RequiredToolMissing"
_log: Final = logging.getLogger("toolset")


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class RequiredToolsMonitor:
    """Compares periodically, in memory, required with published tools, while this replica leads."""

    def __init__(
        self,
        required: Callable[[], Sequence[Key]],
        leads: Callable[[], bool],
        history: History,
        recorder: EventRecorder,
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Create it.

        Args:
            required: Returns the Services that must be published.
            leads: Returns whether this replica leads.
            history: Has the published tools.
            recorder: Records Kubernetes Events.
            now: The wall clock.
        """
        self._required = required
        self._leads = leads
        self._history = history
        self._recorder = recorder
        self._now = now
        self._tools = RequiredTools()

    @property
    def missing(self) -> Mapping[Key, Missing]:
        """The required tools that are not published; nothing while another replica leads."""
        return self._tools.missing

    def published(self) -> dict[Key, bool]:
        """Return for each required tool whether it is published; nothing while another replica leads."""
        return {key: self._is_published(key) for key in self._required()} if self._leads() else {}

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            self.check()
            await anyio.sleep(CHECK_S)

    def check(self) -> None:
        """Compare once."""
        if not self._leads():
            self._tools.clear()
            return
        now, now_s = self._now(), anyio.current_time()
        overdue, back = self._tools.observe(self._required(), self._is_published, now, now_s)
        for key in overdue:
            seen = self._history.seen(key)
            why = seen.word if seen is not None else ""
            _log.warning("required tool missing", extra={**service_fields(key), "reason": why})
            self._recorder.record("Warning", REASON, event_notes.required_missing(key, why), related=key)
        for key in back:
            _log.info("required tool published again", extra=service_fields(key))
        if overdue or back:
            self._history.touch()

    def _is_published(self, key: Key) -> bool:
        seen = self._history.seen(key)
        return seen is not None and seen.word == PUBLISHED
