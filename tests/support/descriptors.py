"""The limits of this process: descriptors and threads."""

import resource
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest


@contextmanager
def no_descriptor_left() -> Generator[None]:
    """Let every open fail with EMFILE inside the block; what is open stays so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def descriptors(count: int) -> Generator[None]:
    """Allow ``count`` open descriptors inside the block, if the hard limit allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count), hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def no_thread_left(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Let no thread start inside the block, as under a limit of processes."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        yield
