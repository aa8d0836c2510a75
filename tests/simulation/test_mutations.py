"""The simulation finds bugs: each patch of ``mutations`` puts one into a copy of the source, and its seed meets it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
FULL: Final = os.getenv("CI_FULL") == "1"
CAUGHT: Final[dict[str, tuple[int, float, str]]] = {
    "a-deleted-lease-is-free": (31, 1.4, "I4"),
    "a-failed-list-is-repeated-in-one-piece": (3, 0.3, "I5"),
    "a-lagging-watch-cache-is-asked-to-stream": (15, 0.1, "I1"),
    "a-standby-writes-before-it-lists": (15, 2.4, "I2"),
    "conflicts-are-not-delayed": (2, 0.3, "I6"),
    "deletion-in-a-watch-is-ignored": (6, 2.4, "I1"),
    "every-key-counts-as-owned": (2, 0.1, "I3"),
    "first-write-waits-for-nothing": (2, 0.2, "I2"),
    "lost-leadership-goes-on": (2, 0.5, "I5"),
    "namespaces-that-end-are-ignored": (7, 0.5, "I1"),
    "overrides-are-forgotten": (2, 0.1, "I3"),
    "renewal-ends-with-its-caller": (2, 0.9, "I5"),
    "repairs-are-not-paced": (2, 0.2, "I6"),
    "retry-after-is-ignored": (2, 0.7, "I6"),
    "retry-after-of-the-lease-is-ignored": (2, 0.7, "I6"),
    "silence-counts-as-contact": (8, 2.2, "I2"),
    "suspension-extends-the-leadership": (2, 1.1, "I4"),
}
"""By patch: the seed, its hours, and the invariant that does not hold."""
QUICK: Final = ("every-key-counts-as-owned",)
PROGRAM: Final = "from simulation.runs import run; print(run({seed}, {hours}).problem)"

pytestmark = pytest.mark.timeout(600)


def _applied(name: str, folder: Path, *options: str) -> "subprocess.CompletedProcess[bytes]":
    """Apply a patch to a folder, whatever repository it is in."""
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    patch = ["git", "apply", *options, "-p1", str(HERE / "mutations" / f"{name}.patch")]
    return subprocess.run(patch, check=False, cwd=folder, env=environment)


def test_every_patch_has_a_seed_that_meets_it() -> None:
    assert {each.stem for each in (HERE / "mutations").glob("*.patch")} == CAUGHT.keys()


@pytest.mark.parametrize("name", CAUGHT)
def test_a_patch_applies(name: str) -> None:
    assert _applied(name, ROOT, "--check").returncode == 0


@pytest.mark.parametrize("name", CAUGHT if FULL else QUICK)
def test_a_bug_is_found(name: str, tmp_path: Path) -> None:
    seed, hours, invariant = CAUGHT[name]
    shutil.copytree(ROOT / "src", tmp_path / "src")
    _applied(name, tmp_path).check_returncode()
    path = os.pathsep.join(map(str, (tmp_path / "src", ROOT / "tests", ROOT / "hack/controlplane")))
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(seed=seed, hours=hours)],
        capture_output=True,
        text=True,
        check=True,
        env={**unmeasured, "PYTHONPATH": path},
    )
    assert ended.stdout.split()[1:2] == [invariant], ended.stdout
