"""Observers of queues and reflectors; the metrics are one."""

from typing import Protocol

from toolset.errors import ToolsetError


class QueueObserver(Protocol):
    """What a queue reports; times in seconds."""

    def added(self) -> None:
        """A key was added."""

    def taken(self, waited_s: float) -> None:
        """A worker took a key that had waited."""

    def finished(self, worked_s: float) -> None:
        """A worker is done with a key."""

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
    """What a reflector reports."""

    def listed(self, items: int, took_s: float, reason: str) -> None:
        """A complete list is in the store."""

    def watch_ended(self, events: int, took_s: float) -> None:
        """A watch ended, for any reason."""

    def failed(self, error: ToolsetError, retry_in_s: float) -> None:
        """An attempt failed; the next one follows in ``retry_in_s`` seconds."""


class WatchObserver(Protocol):
    """What a reflector reports about a misbehaving server."""

    def skipped(self, what: str) -> None:
        """An event of an unknown type or kind was skipped."""

    def streaming_given_up(self, error: Exception) -> None:
        """The server does not stream lists, or fails to: lists are paged for the next hour."""


class NoWatchObserver:
    """Listens to nothing."""

    def skipped(self, what: str) -> None:
        """Ignore it."""

    def streaming_given_up(self, error: Exception) -> None:
        """Ignore it."""
