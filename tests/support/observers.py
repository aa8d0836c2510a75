"""Observers of the machinery."""

from toolset.model import Key


class Silence:
    """Listens to no pass."""

    def passed(self, key: Key, result: str, took_s: float) -> None:
        """Ignore it."""

    def failed(self, key: Key, error: Exception, failures: int) -> None:
        """Fail the test."""
        raise AssertionError(key, failures) from error


class Forbearance:
    """Listens to no pass, and lets passes fail."""

    def passed(self, key: Key, result: str, took_s: float) -> None:
        """Ignore it."""

    def failed(self, key: Key, error: Exception, failures: int) -> None:
        """Ignore it."""
