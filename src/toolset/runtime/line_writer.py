"""Write lines from a thread, so that a stalled reader blocks nothing."""

import threading
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final

LIMIT_BYTES: Final = 2**20
"""Maximum size of pending output; about 5,000 log lines."""


class LineWriter:
    """Writes lines in order; while the reader stalls, lines beyond a limit are dropped and counted.

    Attributes:
        dropped: How many lines all writers of this process have dropped.
    """

    dropped: ClassVar[int] = 0

    def __init__(
        self, write: Callable[[memoryview], int], gap: Callable[[int], bytes], *, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        """Create it; the thread starts with the first line.

        Args:
            write: Writes some of the bytes and returns how many, as ``os.write``; it may block.
            gap: Returns the line that replaces a number of dropped ones.
            limit_bytes: Maximum size of pending output.
        """
        self._write = write
        self._gap = gap
        self._limit_bytes = limit_bytes
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._bytes = 0  # pending or being written
        self._missing = 0  # dropped since the last accepted line
        self._started = False

    def put(self, line: bytes) -> None:
        """Queue ``line``, which includes its line end; drop it if too much is pending.

        It blocks only if no thread can be started: then it writes directly.
        """
        with self._changed:
            if self._bytes + len(line) > self._limit_bytes:
                self._drop()
                return
            if self._missing:
                self._add(self._gap(self._missing))
                self._missing = 0
            self._add(line)
            self._changed.notify_all()
            is_running = self._start()
        while not is_running and self._lines:
            self._write_next()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is written, at most ``timeout_s`` seconds; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._bytes, timeout_s)

    def _add(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line)

    def _drop(self) -> None:
        self._missing += 1
        LineWriter.dropped += 1

    def _start(self) -> bool:
        """Start the thread unless it runs; return whether it does."""
        if not self._started:
            try:
                threading.Thread(target=self._run, name="log", daemon=True).start()
            except RuntimeError:  # no thread can be started; the next line retries
                return False
            self._started = True
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
            self._write_next()

    def _write_next(self) -> None:
        with self._changed:
            line = self._lines.popleft()
        written = self._write_all(line)
        with self._changed:
            self._bytes -= len(line)
            if not written:
                self._drop()
            self._changed.notify_all()

    def _write_all(self, line: bytes) -> bool:
        """Write ``line``; return whether that succeeded: a disk may be full, or a pipe closed."""
        left = memoryview(line)
        try:
            while left:
                left = left[self._write(left) :]
        except OSError:
            return False
        return True
