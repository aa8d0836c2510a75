"""The whole service in virtual time: what must hold, holds in every seed; docs/simulation.md has the rest."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
FULL: Final = os.getenv("CI_FULL") == "1"
SEEDS, HOURS = (150, 6) if FULL else (4, 2)
HASHED: Final = """
from simulation.runs import run
found = run({seed}, {hours})
print(found.digest, found.problem)
"""

pytestmark = pytest.mark.timeout(5400 if FULL else 240)


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the tests on its path."""
    path = os.pathsep.join(str(ROOT / each) for each in ("src", "tests", "hack/controlplane"))
    variables = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=variables, cwd=ROOT
    )


def test_what_must_hold_holds_in_every_seed() -> None:
    ended = python("-m", "simulation", "--seeds", str(SEEDS), "--hours", str(HOURS))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_seed_sends_the_same_requests_whatever_the_hash_seed_of_the_process() -> None:
    program = HASHED.format(seed=6, hours=0.5)
    ended = [python("-c", program, PYTHONHASHSEED=each) for each in ("0", "1", "4242")]
    assert [each.stderr for each in ended] == ["", "", ""]
    assert len({each.stdout for each in ended}) == 1
