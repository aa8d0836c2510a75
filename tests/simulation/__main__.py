"""Run seeds of the simulation: ``make simulate SEEDS=20 HOURS=24``, or one with its whole history: ``SEED=7``."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from simulation.runs import run, run_all, shrink


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main(arguments: Sequence[str]) -> int:
    """Return 1 when an invariant was broken."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--hours", type=float, default=6.0, help="simulated hours of each")
    parser.add_argument("--seed", type=int, help="replay this one, with its history")
    parser.add_argument("--shrink", action="store_true", help="find the steps that a failing seed needs")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _replay(options.seed, options.hours, shrinks=options.shrink)
    began = time.perf_counter()
    results = run_all(range(options.first, options.first + options.seeds), options.hours, options.workers)
    took_s, hours = time.perf_counter() - began, sum(each.hours for each in results)
    counts: Counter[str] = Counter()
    for each in results:
        counts.update(each.counts)
    for what, count in sorted(counts.items()):
        _print(f"{count:8} {what}")
    failed = [each for each in results if each.problem]
    for each in failed:
        _print(f"seed {each.seed}: {each.problem}; replay: make simulate SEED={each.seed} HOURS={options.hours:g}")
    _print(
        f"{len(results)} seeds, {hours:.0f} simulated hours in {took_s:.0f} s: {hours / took_s * 60:.0f} hours a minute"
    )
    return 1 if failed else 0


def _replay(seed: int, hours: float, *, shrinks: bool) -> int:
    found = run(seed, hours)
    skip = shrink(seed, hours, found) if shrinks and found.problem else frozenset[int]()
    shown = run(seed, hours, skip=skip, verbose=True)
    _print("\n".join(shown.history))
    if skip:
        _print(f"{found.steps - len(skip)} of {found.steps} steps are enough")
    _print(f"seed {seed}: {shown.problem or 'all held'}; hash {found.digest}")
    return 1 if shown.problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
