"""Waiting for what nothing announces: a log, a metric, a ConfigMap, what a real server was asked."""

import threading
import time
from collections.abc import Callable
from typing import Final

import anyio

_POLL_S: Final = 0.02
_ASYNC_POLL_S: Final = 0.005


def eventually(condition: Callable[[], object], within_s: float) -> None:
    """Return once ``condition`` holds: it is true and raises no AssertionError.

    Raises:
        AssertionError: It does not hold ``within_s`` seconds later; the condition's own when it raised one.
    """
    ends = time.monotonic() + within_s
    while True:
        late = time.monotonic() > ends
        try:
            if condition():
                return
        except AssertionError:
            if late:
                raise
        else:
            assert not late, f"still not so after {within_s:g} s"
        threading.Event().wait(_POLL_S)


def settles(read: Callable[[], object], expected: object, within_s: float) -> None:
    """Return once ``read`` returns ``expected``."""

    def same() -> bool:
        actual = read()
        assert actual == expected, f"not so within {within_s:g} s:\n{actual}\n!=\n{expected}"
        return True

    eventually(same, within_s)


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Return once ``condition`` is true; the event loop goes on meanwhile.

    Raises:
        TimeoutError: It is not true ``within_s`` seconds later.
    """
    with anyio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await anyio.sleep(_ASYNC_POLL_S)
