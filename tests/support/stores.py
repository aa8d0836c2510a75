"""Stores whose handlers must not fail."""

from toolset.model import ConfigMap
from toolset.runtime.store import Store


def unexpected(error: Exception) -> None:
    """Let an error of a handler fail the test."""
    raise error


class TargetStore(Store[ConfigMap]):
    """Keeps the promise of ``reconciler.ports.Target``; the ConfigMap of the admin's own may be in it too.

    Attributes:
        relists: How often it was asked to be listed again.
    """

    def __init__(self) -> None:
        super().__init__(unexpected)
        self.relists = 0

    def relist(self) -> None:
        """Count the demand; a test fills the store itself."""
        self.relists += 1
