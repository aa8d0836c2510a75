"""Change ``core`` and ``runtime`` in one small place at a time, and list the changes that no test notices.

A random sample of mutants is made and tested, each with the tests of its room; a mutant that all of them accept has
survived, and shows a missing test or code that does nothing. What only mypy refuses is counted apart. SEED and COUNT
make the same sample again.

The mutations are mutmut's (``mutmut.mutation.mutators``, pinned); the rest of mutmut does not fit. It takes no sample,
leaves out what is not in a function (the catalog, patterns, limits, defaults) and most functions with a decorator, and
it replaces methods by trampolines, which the bodies of structs and protocols do not expect. cosmic-ray changes the
files of the checkout in place, has one test command for all modules, and no operator for arguments or strings.

Not mutated, because no test can observe it or because the type checkers do:
- docstrings, annotations, type aliases, ``cast``, ``TypeVar``, ``Literal``, imports;
- decorators and class arguments (``frozen=True``), ``__slots__``, the bodies of protocols, ``__repr__``;
- the default of a field that may be left out (``= UNSET``): only that there is one can be observed;
- ``assert_never`` and what stands under ``if TYPE_CHECKING``;
- calls of a logger, should there ever be one here.

A mutant that does what the original does is in ``equivalent.toml``, with the reason; it is counted apart.
Runs in the environment of ``build``; the tests run in ``.venv``, two mutants at a time.
"""

import argparse
import ast
import difflib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

import libcst as cst
import libcst.matchers as m
from libcst.metadata import PositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_assignment

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
PACKAGES = ("src/toolset/core", "src/toolset/runtime")
PYTHON = ROOT / ".venv/bin/python"
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
PROCESSES = 2
SUITES = ("core", "runtime", "config", "test_docs.py")

_NOT_OBSERVABLE = (
    m.Annotation()
    | m.Decorator()
    | m.Import()
    | m.ImportFrom()
    | m.FunctionDef(name=m.Name("__repr__"))
    | m.If(test=m.Name("TYPE_CHECKING"))
    | m.Call(func=m.Name("cast") | m.Name("TypeVar") | m.Name("assert_never"))
    | m.Call(func=m.Attribute(value=m.Name("logger") | m.Name("_logger")))
    | m.Subscript(value=m.Name("Literal"))
    | m.Assign(targets=[m.AssignTarget(target=m.Name("__slots__"))])
    | m.ClassDef(bases=[m.ZeroOrMore(), m.Arg(m.Name("Protocol") | m.Subscript(m.Name("Protocol"))), m.ZeroOrMore()])
    | m.AnnAssign(value=m.Name("UNSET"))
    | m.Expr(value=m.SimpleString() | m.Ellipsis())
)
_TYPE_NAME = m.Name(m.MatchRegex(r"[A-Z]|[A-Z].*[a-z].*"))
_ALIAS = m.Assign(targets=[m.AssignTarget(_TYPE_NAME)]) | m.AnnAssign(annotation=m.Annotation(m.Name("TypeAlias")))


@dataclass(frozen=True)
class Mutant:
    """One changed file: ``path`` from the root of the checkout, ``line`` from 1, and the source as a whole."""

    path: str
    line: int
    source: str

    @property
    def module(self) -> str:
        """The module's full name."""
        return self.path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def diff(self) -> list[str]:
        """Return the changed lines, each with its ``-`` or ``+``."""
        before = (ROOT / self.path).read_text("utf-8").splitlines()
        lines = difflib.unified_diff(before, self.source.splitlines(), lineterm="", n=0)
        return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


class _Changes(cst.CSTVisitor):
    """Collects each node that can be changed, with what takes its place."""

    def __init__(self) -> None:
        self.found: list[tuple[cst.CSTNode, cst.CSTNode]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Collect the changes of one node, and enter it if what it holds can be observed."""
        if m.matches(node, _NOT_OBSERVABLE):
            return False
        if isinstance(node, cst.ClassDef):  # not its arguments
            node.body.visit(self)
            return False
        alias = m.matches(node, _ALIAS)
        for kind, operator in mutation_operators:
            if isinstance(node, kind) and not (alias and operator is operator_assignment):
                self.found.extend((node, changed) for changed in operator(node))
        return True


def mutants_of(path: str) -> Iterator[Callable[[], Mutant | None]]:
    """Yield what makes each mutant of a file; it returns None for one that is not Python or the same program."""
    original = (ROOT / path).read_text("utf-8")
    wrapper = cst.MetadataWrapper(cst.parse_module(original))
    lines = wrapper.resolve(PositionProvider)
    changes = _Changes()
    wrapper.module.visit(changes)

    def make(node: cst.CSTNode, changed: cst.CSTNode) -> Mutant | None:
        source = cst.ensure_type(wrapper.module.deep_replace(node, changed), cst.Module).code
        try:
            if ast.dump(ast.parse(source)) == ast.dump(ast.parse(original)):
                return None
            compile(source, path, "exec")
        except SyntaxError:
            return None
        return Mutant(path, lines[node].start.line, source)

    for node, changed in changes.found:
        yield partial(make, node, changed)


def sample(paths: Iterable[str], seed: str, count: int) -> tuple[list[Mutant], int]:
    """Return ``count`` mutants at most, the same for the same seed and code, and how many there are to choose from."""
    makers = [make for path in paths for make in mutants_of(path)]
    order = random.Random(seed).sample(makers, len(makers))  # noqa: S311 (no secret)
    return list(islice((mutant for make in order if (mutant := make())), count)), len(makers)


def files(wanted: Sequence[str]) -> list[str]:
    """Return the files below the wanted paths, or below all packages, in a stable order."""
    roots = [ROOT / path for path in wanted or PACKAGES]
    found = {file for root in roots for file in ([root] if root.is_file() else root.rglob("*.py"))}
    return sorted(str(file.relative_to(ROOT)) for file in found)


def tests_of(path: str) -> tuple[list[Path], list[Path]]:
    """Return the tests that can notice a change of a file: those next to it, the most specific first, and the others.

    Next to it are those of the file and of its room; the others those of ``core`` or ``runtime``, and for ``core`` the
    tests of the documents, which show its texts and its catalog, and of the settings, which show what it calls things.
    """
    inside = Path(path).relative_to("src/toolset")
    tests = ROOT / "tests/unit"
    near = [tests / inside.with_name(f"test_{inside.name}"), tests / inside.parent]
    far = [tests / "core", tests / "config", tests / "test_docs.py"] if inside.parts[0] == "core" else []
    return [place for place in near if place.exists()], far


class Worker:
    """A process in ``.venv`` that tests one mutant at a time; see ``worker.py``.

    Attributes:
        cpu_s: The processor time that the tests of one mutant may take, seconds.
    """

    def __init__(self) -> None:
        self._types = tempfile.TemporaryDirectory()  # what mypy knows of the other modules
        self.cpu_s = 600
        self._process = subprocess.Popen(
            [PYTHON, Path(__file__).with_name("worker.py")],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(SOURCE)},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def try_tests(self, tests: Sequence[Path], **mutant: str) -> str:
        """Run tests against the original, or against the mutant ``module`` whose source is ``file``.

        Returns:
            ``survived``, ``killed`` or ``killed by timeout``.
        """
        request = {"tests": [str(place) for place in tests], "cpu_s": self.cpu_s, **mutant}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip() or "killed"

    def try_mutant(self, mutant: Mutant) -> str:
        """Run the tests next to a mutant; if they accept it, all that can notice it, and then mypy.

        Returns:
            ``survived``, ``killed``, ``killed by timeout`` or ``killed by types``.
        """
        near, far = tests_of(mutant.path)
        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write(mutant.source)
            file.flush()
            for tests in filter(None, (near, far)):
                outcome = self.try_tests(tests, module=mutant.module, file=file.name)
                if outcome != "survived":
                    return outcome
            known = ["--cache-dir", self._types.name, "--shadow-file", mutant.path, file.name]
            mypy = subprocess.run(
                [PYTHON, "-m", "mypy", *known, mutant.path], cwd=ROOT, capture_output=True, check=False
            )
            return "killed by types" if mypy.returncode else "survived"

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._types.cleanup()


class Equivalent:
    """The mutants that are known to do what the original does."""

    def __init__(self) -> None:
        entries = tomllib.loads(EQUIVALENT.read_text("utf-8"))["equivalent"]
        self._known = {(entry["path"], entry["before"], entry["after"]) for entry in entries}

    def __contains__(self, mutant: Mutant) -> bool:
        changed = mutant.diff()
        before, after = ("\n".join(line[1:].strip() for line in changed if line[0] == sign) for sign in "-+")
        return (mutant.path, before, after) in self._known


def outcomes(mutants: Sequence[Mutant]) -> Iterator[str]:
    """Yield what comes of each mutant, in order.

    Raises:
        RuntimeError: The tests fail without a mutant.
    """
    workers = [Worker() for _ in range(PROCESSES)]
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def outcome(mutant: Mutant) -> str:
        worker = idle.get()
        try:
            return worker.try_mutant(mutant)
        finally:
            idle.put(worker)

    try:
        began_s = time.monotonic()
        if workers[0].try_tests([ROOT / "tests/unit" / suite for suite in SUITES]) != "survived":
            raise RuntimeError("the tests fail without a mutant: fix them first")
        for worker in workers:  # machines differ; without a mutant one worker ran alone, so a busy one has time too
            worker.cpu_s = int(1.5 * (time.monotonic() - began_s)) + 5
        with ThreadPoolExecutor(PROCESSES) as pool:
            yield from pool.map(outcome, mutants)
    finally:
        for worker in workers:
            worker.close()


def main() -> int:
    """Test a sample and print its figures and its survivors; 1 when more than the bound survive."""
    parser = argparse.ArgumentParser(description="List the small changes of the code that no test notices.")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--at-most", type=float, default=5, metavar="PERCENT", help="survivors that are allowed")
    parser.add_argument("paths", nargs="*", help=f"files or folders to change; default {' '.join(PACKAGES)}")
    options = parser.parse_args()

    chosen, total = sample(files(options.paths), options.seed, options.count)
    equivalent = Equivalent()
    tested = [mutant for mutant in chosen if mutant not in equivalent]
    counts: Counter[str] = Counter()
    for mutant, outcome in zip(tested, outcomes(tested), strict=True):
        counts[outcome] += 1
        if outcome not in {"killed", "killed by types"}:
            print(f"{mutant.path}:{mutant.line} {outcome}", *mutant.diff(), "", sep="\n", flush=True)
        if counts.total() % 25 == 0:
            print(f"{counts.total()} of {len(tested)}", file=sys.stderr, flush=True)

    percent = 100 * counts["survived"] / max(1, len(tested))
    print(f"seed {options.seed}: {len(chosen)} of {total} mutants, {len(chosen) - len(tested)} of them equivalent")
    print(*(f"{outcome}: {number}" for outcome, number in sorted(counts.items())), sep=", ")
    print(f"survivors: {percent:.1f} % of {len(tested)}")
    return int(percent > options.at_most)


if __name__ == "__main__":
    sys.exit(main())
