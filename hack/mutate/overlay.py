"""A pytest plugin for `make mutate`: imports one module of the package from another file.

``MUTANT_MODULE`` names the module, ``MUTANT_FILE`` the file; without them nothing is replaced.
``MUTANT_TESTS`` lists test files and folders, the most specific first: their tests run in this order, and in each of
them property tests last, because a plain test usually fails faster. Hypothesis generates the same examples every time.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import sys
from pathlib import Path

import hypothesis
import pytest

EXAMPLES = 30
CPU_S = 40  # all tests of a mutant need 10; a mutant that loops forever ends here, on a busy machine as well
MEMORY_BYTES = 4 << 30  # a mutant that appends forever ends here


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, file: str) -> None:
        self._module = module
        self._file = file

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_file_location(fullname, self._file) if fullname == self._module else None


def pytest_configure() -> None:
    """Generate few examples, and the same each time."""
    hypothesis.settings.register_profile(
        "mutate", derandomize=True, max_examples=EXAMPLES, database=None, deadline=None
    )
    hypothesis.settings.load_profile("mutate")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what is most likely to fail, and soon."""
    places = [Path(place).resolve() for place in os.environ["MUTANT_TESTS"].split(os.pathsep)]

    def rank(item: pytest.Item) -> tuple[int, bool]:
        place = next(i for i, place in enumerate(places) if item.path.is_relative_to(place))
        return place, hasattr(getattr(item, "obj", None), "hypothesis")

    items.sort(key=rank)


resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
if "MUTANT_MODULE" in os.environ:
    sys.meta_path.insert(0, _Finder(os.environ["MUTANT_MODULE"], os.environ["MUTANT_FILE"]))
