"""What a process gets from its machine: names, clocks, random numbers, and a prober.

A simulation replaces these and the transport's :class:`~toolset.adapters.kube.transport.Wire`; everything else runs
unchanged.
"""

import asyncio  # noqa: TID251 - its clock, see Machine.clock
import random
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from uuid import uuid4

from toolset.config.clients import prober
from toolset.config.settings import Settings
from toolset.reconciler.ports import Prober


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _boottime() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _unique() -> str:
    return str(uuid4())


def _identity() -> str:
    return f"{socket.gethostname()}_{uuid4()}"


@dataclass(frozen=True)
class Machine:
    """The ports of a process to its machine; by default the real ones.

    Attributes:
        hostname: The name of the machine or pod.
        identity: Unique to this process, even on one host.
        now: The wall clock.
        clock: The clock of the event loop, seconds, for code that reads it for each key: ``anyio.current_time`` takes
            four times as long, because it first looks up the running library.
        boottime: A clock that continues while the machine is suspended, if the system has one, seconds.
        chance: Returns a random number in [0, 1).
        unique: Returns a unique name.
        prober: Returns the health prober for settings.
    """

    hostname: str = field(default_factory=socket.gethostname)
    identity: str = field(default_factory=_identity)
    now: Callable[[], datetime] = _now
    clock: Callable[[], float] = _clock
    boottime: Callable[[], float] = _boottime
    chance: Callable[[], float] = random.random
    unique: Callable[[], str] = _unique
    prober: Callable[[Settings], AbstractAsyncContextManager[Prober]] = prober
