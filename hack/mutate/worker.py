"""Run tests against mutants, one after the other, each in a fork of a process that has imported the libraries.

Reads one JSON object a line: ``tests`` lists files and folders, the most specific first; ``cpu_s`` bounds their
processor time, which ends a mutant that loops forever; ``module`` and ``file``, if there, name a module of the package
and the source that takes its place. Prints ``survived``, ``killed`` or ``killed by timeout`` for each.

Tests run in the order of ``tests``, property tests last within each of them, because a plain test fails faster.
Hypothesis generates few examples, and the same each time.
"""

import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pytest

LIBRARIES = (
    "_hypothesis_pytestplugin",
    "aiohttp",
    "anyio",
    "hypothesis.stateful",
    "hypothesis.strategies",
    "kubernetes.config",
    "msgspec",
    "opentelemetry.sdk.trace",
    "orjson",
    "prometheus_client",
    "pytest_cov.plugin",
    "pytest_timeout",
    "trio.testing",
    "xdist.plugin",
    "yaml",
)
EXAMPLES = 30
TEST_TIMEOUT_S = 120  # a mutant that waits forever ends here; a busy machine needs 20 for the slowest test
LATE = 99  # the exit code for it
MEMORY_BYTES = 4 << 30  # a mutant that appends forever ends here
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


class Finder(importlib.abc.MetaPathFinder):
    """Imports one module from another file."""

    def __init__(self, module: str, file: str) -> None:
        self._module = module
        self._file = file

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        """Return where the module is, and None for any other."""
        return importlib.util.spec_from_file_location(fullname, self._file) if fullname == self._module else None


class Order:
    """A pytest plugin that puts first what is most likely to fail, and soon."""

    def __init__(self, tests: list[str]) -> None:
        self._places = [Path(place) for place in tests]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sort the tests."""
        items.sort(key=self._rank)

    def _rank(self, item: pytest.Item) -> tuple[int, bool]:
        place = next(i for i, place in enumerate(self._places) if item.path.is_relative_to(place))
        return place, hasattr(getattr(item, "obj", None), "hypothesis")


def run(tests: list[str], cpu_s: int, module: str = "", file: str = "") -> int:
    """Run the tests in this process, and return pytest's exit code."""
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(quiet, descriptor)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if module:
        sys.meta_path.insert(0, Finder(module, file))
    return pytest.main([*OPTIONS, "-o", "timeout=0", *tests], plugins=[Order(tests), Watch()])


class Watch:
    """A pytest plugin that ends the process when a test takes too long, whatever holds it up."""

    def pytest_runtest_logstart(self) -> None:
        """Start the clock."""
        signal.signal(signal.SIGALRM, lambda *_: os._exit(LATE))
        signal.alarm(TEST_TIMEOUT_S)


def outcome(request: dict[str, Any]) -> str:
    """Return what came of the tests, run in a fork."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = run(**request)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code in {LATE, -signal.SIGXCPU}:
        return "killed by timeout"
    return "killed" if code else "survived"


def main() -> None:
    """Serve until the input ends."""
    for library in LIBRARIES:
        importlib.import_module(library)
    hypothesis.settings.register_profile(
        "mutate", derandomize=True, max_examples=EXAMPLES, database=None, deadline=None
    )
    hypothesis.settings.load_profile("mutate")
    gc.freeze()  # pytest collects garbage after each run: not what all runs share
    for line in sys.stdin:
        print(outcome(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
