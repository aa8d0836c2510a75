"""The Dockerfiles hold to what checkov asks for; hadolint is part of ``make lint``, the image of ``tests/e2e``."""

import json
import subprocess
from pathlib import Path

import pytest

from deploy.manifests import PROJECT, table

FILES = ("Dockerfile", "hack/cluster/Dockerfile")


@pytest.mark.timeout(60)
def test_checkov_finds_only_what_is_excepted_with_a_reason(tools: Path) -> None:
    options = ["--framework", "dockerfile", "--skip-download", "-o", "json", "-f", *FILES]
    command = [str(tools / "venv" / "bin" / "python"), "-m", "checkov.main", *options]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    results = json.loads(done.stdout)["results"]
    assert len(results["passed_checks"]) > 20
    rows = [row for row in table("install.md", "Exceptions from checkov") if "Dockerfile" in row[1]]
    assert {each["check_id"] for each in results["failed_checks"]} == {check for check, _, _ in rows}
