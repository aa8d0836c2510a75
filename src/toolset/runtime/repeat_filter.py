"""Limit how often libraries may log the same message: anybody who can reach a port may trigger it."""

import logging
import time
from collections.abc import Callable
from typing import Final

from typing_extensions import override

EVERY_S: Final = 30.0
"""Minimum time between two lines of one message, seconds."""
_MESSAGES: Final = 256


class RepeatFilter(logging.Filter):
    """Passes the first line of a message, and then occasional ones with the number of suppressed lines."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, object], tuple[float, int]] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written; messages are compared without their arguments."""
        now_s, message = self._clock(), (record.name, str(record.msg)[:128])
        last_s, left_out = self._seen.get(message, (now_s - EVERY_S, 0))
        if now_s - last_s < EVERY_S:
            self._seen[message] = (last_s, left_out + 1)
            return False
        if len(self._seen) >= _MESSAGES:
            self._seen.clear()
        self._seen[message] = (now_s, 0)
        if left_out:
            record.repeated = left_out
        return True
