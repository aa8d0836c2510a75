"""The wheel, as a user installs it: into an empty environment, with the locked hashes."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from support.command_line import complaints

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROOT: Final = Path(__file__).resolve().parents[2]
LONGER: Final = 5.0
"""At most this many times the time in which the interpreter starts and imports argparse; 2.3 times as measured."""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the commands of an environment in which there is nothing else."""
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", f"--outdir={directory}")
    (wheel,) = directory.glob("*.whl")
    run(sys.executable, "-m", "venv", directory / "venv")
    python = directory / "venv" / "bin" / "python"
    run(
        python, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--requirement=requirements/run.txt"
    )
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    run(python, "-m", "pip", "check")
    return python.parent


@pytest.mark.parametrize(
    ("argument", "expected"),
    [pytest.param("version", "toolset ", id="version"), pytest.param("--help", "usage: toolset ", id="help")],
)
def test_the_installed_command_answers_at_once(installed: Path, argument: str, expected: str) -> None:
    times: list[float] = []
    bare: list[float] = []
    for _ in range(5):
        began = time.monotonic()
        run(installed / "python", "-I", "-c", "import argparse")
        bare.append(time.monotonic() - began)
        assert run(installed / "toolset", argument).startswith(expected)
        times.append(time.monotonic() - began - bare[-1])

    assert min(times) < LONGER * min(bare)


def test_the_lock_has_everything_that_a_plan_needs(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "service.yaml").write_text(
        "{apiVersion: v1, kind: Service, metadata: {name: grafana, namespace: team-a},"
        " spec: {selector: {app: grafana}, ports: [{name: service, port: 3000}]}}"
    )
    command = (installed / "toolset", "plan", "--assume-healthy", f"--file={tmp_path / 'service.yaml'}")

    planned = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (planned.returncode, complaints(planned.stderr)) == (2, "")
    assert "http://grafana.team-a.svc.cluster.local:3000" in planned.stdout
