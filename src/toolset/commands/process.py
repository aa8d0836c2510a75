"""Common process handling of commands: signals, standard output, the event loop, and exhausted resources.

It imports little, so that signals are handled before anything large is imported.
"""

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, NoReturn, TypeVar, cast

T = TypeVar("T")

PATIENCE_S: Final = 1.0


def lack(error: MemoryError | RuntimeError) -> str:
    """Return, as a sentence, which resource of the process was missing; empty for another error."""
    if isinstance(error, MemoryError):
        return "there is no memory left: raise the memory limit of the process"
    if "can't start new thread" in str(error):
        return "no thread can be started: raise the limit on processes (`pids.max`, `ulimit -u`), or the memory limit"
    return ""


class OutputError(Exception):
    """Standard output cannot be written, as on a full disk."""


def write(text: str) -> None:
    """Write ``text`` to standard output, and flush it.

    Raises:
        OutputError: Standard output cannot be written.
        BrokenPipeError: Its reader closed the pipe.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.strerror) from error


def confirmed(question: str) -> bool:
    """Ask on the terminal; return whether the answer is yes. Without a terminal there is no answer."""
    if not (sys.stdin and sys.stdin.isatty()):  # it is None if it was closed
        return False
    sys.stderr.write(f"{question}\nRemove this? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def drop_output() -> None:
    """Discard what is still buffered: the interpreter would write it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def has_colours() -> bool:
    """Return whether to colour standard output: on a terminal; NO_COLOR and FORCE_COLOR override that."""
    return "NO_COLOR" not in os.environ and (sys.stdout.isatty() or "FORCE_COLOR" in os.environ)


@contextmanager
def ended_by(signum: signal.Signals) -> Generator[None]:
    """Let ``signum`` end the process immediately inside the block, until an event loop runs.

    An exception would be raised during an import, which libraries written in C do not tolerate: one import in fifteen
    ended in a segmentation fault. And without a handler the first process of a container ignores SIGTERM.
    """
    before = signal.getsignal(signum)
    ours = threading.current_thread() is threading.main_thread()  # callers in a thread handle signals themselves
    if not ours or before not in {signal.SIG_DFL, signal.default_int_handler}:  # ignored, as under nohup
        yield
        return
    signal.signal(signum, _end)
    try:
        yield
    finally:
        signal.signal(signum, before)


def _end(signum: int, _: object) -> NoReturn:
    """Exit while nothing needs cleanup yet."""
    os._exit(128 + signum)


def _stop(signum: int, _: object) -> NoReturn:
    """End the event loop, which cancels all tasks."""
    raise SystemExit(128 + signum)


def run_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` on the event loop: asyncio, which aiohttp needs."""
    import anyio

    for signum, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, _stop)):
        if signal.getsignal(signum) is _end:  # from here on cleanup is needed
            signal.signal(signum, handler)
    try:
        return anyio.run(work)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error inside nested groups."""
    error = group.exceptions[0]
    return _first(cast("BaseExceptionGroup[BaseException]", error)) if isinstance(error, BaseExceptionGroup) else error


async def patiently(work: Awaitable[T]) -> T:
    """Await ``work``; report on standard error if that takes long."""
    import anyio

    async def say() -> None:
        await anyio.sleep(PATIENCE_S)
        sys.stderr.write("toolset: waiting for the API server and the backends ...\n")
        sys.stderr.flush()

    results: list[T] = []
    async with anyio.create_task_group() as group:
        group.start_soon(say)
        results.append(await work)
        group.cancel_scope.cancel()
    return results[0]
