"""A real Chromium for the tests of this folder."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import controlplane
from browser.webdriver import Browser, missing
from support.lacking import lack

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Yield a browser; each test loads its own page."""
    if lacking := missing():
        lack(f"there is no {lacking} here: run hack/browser once (root, Debian; a minute)")
    with Browser(controlplane.free_ports()) as running:
        yield running


@pytest.fixture(scope="session")
def axe() -> str:
    """Return the script of axe-core."""
    done = subprocess.run([str(PROJECT / "hack" / "browser"), "--where"], capture_output=True, text=True, check=True)
    file = Path(done.stdout.strip()) / "axe.min.js"
    if not file.exists():
        lack("axe-core is not in the cache: run hack/browser once")
    return file.read_text("utf-8")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for screenshots; ``STATUS_PICTURES`` names one that is kept."""
    kept = os.environ.get("STATUS_PICTURES", "")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
