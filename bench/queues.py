"""What the work queue costs: one add, one get with its done, one delayed add; next to client-go's."""

import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from figures import Figure, Table, shown
from toolset.model import Key
from toolset.runtime.workqueue import WorkQueue
from world import peers

COUNT: Final = 10_000
ROUNDS: Final = 7
WHAT: Final = ("add", "get and done", "delayed add")


async def ours() -> tuple[float, float, float]:
    """Return the nanoseconds of each for our queue, one round."""
    keys = [Key(f"seed-{number % 20:02}", f"app-{number:05}") for number in range(COUNT)]
    queue: WorkQueue[Key] = WorkQueue()

    async def take() -> None:
        for _ in keys:
            queue.done(await queue.get())

    async def add() -> None:
        for key in keys:
            queue.add(key)

    async def delay() -> None:
        for key in keys:
            queue.add(key, after_s=3600.0)

    return await _each_ns(add), await _each_ns(take), await _each_ns(delay)


async def _each_ns(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter_ns()
    await work()
    return (time.perf_counter_ns() - began) / COUNT


def measure() -> Table:
    """Return both, in turn."""
    binary = str(peers() / "queue")
    rounds: dict[str, list[tuple[float, ...]]] = {"toolset": [], "client-go": []}
    for _ in range(ROUNDS):
        rounds["toolset"].append(anyio.run(ours))
        done = subprocess.run([binary, str(COUNT)], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own
        rounds["client-go"].append(tuple(map(float, done.stdout.split())))
    rows: list[tuple[str, ...]] = []
    for position, what in enumerate(WHAT):
        mine, theirs = (
            Figure(name, "us", tuple(each[position] / 1000 for each in rounds[name]))
            for name in ("toolset", "client-go")
        )
        ratio = f"{shown(mine.median / theirs.median)} x"
        rows.append((what, shown(mine.median, "us"), shown(theirs.median, "us"), ratio))
    note = f"Microseconds for one of {COUNT:,} keys, medians of {ROUNDS} rounds in turn."
    return Table("The work queue", note, ("", "toolset", "client-go", "ratio"), tuple(rows))
