"""What queues and reflectors report to; the metrics are one such observer."""

from typing import Protocol

from toolset.errors import ToolsetError


class QueueObserver(Protocol):
    """What a queue tells about itself; times in seconds."""

    def added(self) -> None:
        """A key went in."""

    def taken(self, waited_s: float) -> None:
        """A worker took a key that had waited."""

    def finished(self, worked_s: float) -> None:
        """A worker gave a key back."""

    def retried(self) -> None:
        """A key is delayed because it failed."""


class NoQueueObserver:
    """Listens to nothing."""

    def added(self) -> None:
        """Ignore it."""

    def taken(self, waited_s: float) -> None:
        """Ignore it."""

    def finished(self, worked_s: float) -> None:
        """Ignore it."""

    def retried(self) -> None:
        """Ignore it."""


class ReflectorObserver(Protocol):
    """What a reflector tells about itself."""

    def listed(self, items: int, took_s: float, reason: str) -> None:
        """A complete list is in the store."""

    def watch_ended(self, events: int, took_s: float) -> None:
        """A watch ended, for whatever reason."""

    def failed(self, error: ToolsetError, retry_in_s: float) -> None:
        """An attempt failed; the next one follows in ``retry_in_s`` seconds."""


class WatchObserver(Protocol):
    """What a reflector tells about a server that is not as it should be."""

    def skipped(self, what: str) -> None:
        """An event was skipped, because nobody knows its type or its kind."""

    def streaming_given_up(self, error: Exception) -> None:
        """The server does not stream lists, or fails at it: for the next hour lists are paged."""


class NoWatchObserver:
    """Listens to nothing."""

    def skipped(self, what: str) -> None:
        """Ignore it."""

    def streaming_given_up(self, error: Exception) -> None:
        """Ignore it."""
