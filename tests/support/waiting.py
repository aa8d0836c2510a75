"""Waiting for what nothing announces: a log, a metric, a ConfigMap, what a real server was asked."""

import threading
import time
from collections.abc import Callable
from typing import Final

import anyio

_POLL_S: Final = 0.02
_STALL_S: Final = 0.1
"""Overrun of one wait, from which on the machine counts as stopped: nothing ran, whatever is tested neither."""
_ASYNC_POLL_S: Final = 0.005


def eventually(condition: Callable[[], object], within_s: float) -> float:
    """Return, once ``condition`` holds (it is true and raises no AssertionError), how long that took, seconds.

    Time in which the machine was stopped is not counted.

    Raises:
        AssertionError: It does not hold ``within_s`` seconds later; the condition's own when it raised one.
    """
    began_s = time.monotonic()
    while True:
        took_s = time.monotonic() - began_s
        try:
            if condition():
                return took_s
        except AssertionError:
            if took_s > within_s:
                raise
        else:
            assert took_s <= within_s, f"still not so after {within_s:g} s"
        began_s += _stalled_s()


def _stalled_s() -> float:
    """Wait a moment; return for how long the machine was stopped meanwhile, seconds."""
    began_s = time.monotonic()
    threading.Event().wait(_POLL_S)
    overrun_s = time.monotonic() - began_s - _POLL_S
    return overrun_s if overrun_s > _STALL_S else 0.0


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
