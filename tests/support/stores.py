"""Stores whose handlers must not fail."""


def unexpected(error: Exception) -> None:
    """Let an error of a handler fail the test."""
    raise error
