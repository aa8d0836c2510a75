"""Run seeds, in processes of their own, and shrink one that fails."""

import gc
import multiprocessing
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from simulation.clock import Violation, ending_endless_callbacks
from simulation.plan import Plan
from simulation.world import HOUR_S, World

SHRINK_TRIES: Final = 60


class Result(msgspec.Struct, frozen=True):
    """What one seed gave; ``problem`` is empty when everything held."""

    seed: int
    hours: float
    took_s: float
    digest: str
    problem: str
    steps: int
    history: tuple[str, ...]
    counts: dict[str, int]


def run(seed: int, hours: float, *, skip: frozenset[int] = frozenset(), verbose: bool = False) -> Result:
    """Run one seed."""
    began, problem = time.perf_counter(), ""
    world = World(seed, verbose=verbose)
    plan = Plan(world, skip)
    try:
        with ending_endless_callbacks(world.scheduler):
            plan.run(hours)
    except Violation as violation:
        problem = str(violation)
    return Result(
        seed,
        world.scheduler.now / HOUR_S,
        time.perf_counter() - began,
        world.server.digest.hexdigest(),
        problem,
        plan.steps,
        tuple(world.history),
        dict(world.coverage.counts),
    )


def shrink(seed: int, hours: float, found: Result) -> frozenset[int]:
    """Return the steps that a run may leave out and still break the same invariant."""
    kind, skip, size, tries = found.problem.split()[1], frozenset[int](), max(found.steps // 2, 1), 0
    while tries < SHRINK_TRIES:
        for start in range(1, found.steps + 1, size):
            tries += 1
            wider = skip | frozenset(range(start, min(start + size, found.steps + 1)))
            if wider != skip and kind in run(seed, hours, skip=wider).problem.split()[1:2]:
                skip = wider
        if size == 1:
            break
        size //= 2
    return skip


def _task(task: tuple[int, float]) -> Result:
    gc.disable()  # what was killed is kept anyway, and a process runs few seeds
    return run(*task)


def run_all(seeds: Sequence[int], hours: float, workers: int) -> list[Result]:
    """Run seeds in processes of their own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, maxtasksperchild=4) as pool:
        return list(pool.imap_unordered(_task, [(seed, hours) for seed in seeds], chunksize=1))
