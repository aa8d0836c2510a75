"""Why a probe failed."""

import errno
import socket
from collections.abc import Iterator
from typing import Final, cast

from toolset.core.health.thresholds import Failure, Outcome

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, socket.EAI_MEMORY})
NO_CONNECTION: Final = "connection refused or host not found"


class ProbeError(Exception):
    """A probe ended without an answer to judge.

    Attributes:
        failure: The kind of failure.
        detail: A fixed phrase, never text from the backend.
    """

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail

    def outcome(self) -> Outcome:
        """Return it as the outcome of a probe."""
        return Outcome(alive=False, detail=self.detail, failure=self.failure)


def is_exhaustion(error: BaseException) -> bool:
    """Return whether ``error`` means that this process lacks a resource: descriptors, buffers, memory, threads.

    Such an error says nothing about the backend.
    """
    return any(
        isinstance(each, MemoryError)
        or (isinstance(each, OSError) and each.errno in _EXHAUSTED)
        or (isinstance(each, RuntimeError) and "can't start new thread" in str(each))
        for each in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
                yield from _causes(each)
        error = error.__cause__
