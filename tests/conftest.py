"""What holds for every test."""

import logging
import os
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import settings

settings.register_profile("tests", deadline=None)  # how long one example takes says how busy the machine is
settings.load_profile("tests")

OF_THE_MACHINE: Final = ("TOOLSET_", "OTEL_", "KUBECONFIG", "KUBERNETES_")
OF_THE_TESTS: Final = ("TOOLSET_CACHE", "TOOLSET_E2E_")


def pytest_configure() -> None:
    """Keep out what the environment says to the program: settings, collectors of traces, clusters."""
    for name in [*os.environ]:
        if name.startswith(OF_THE_MACHINE) and not name.startswith(OF_THE_TESTS):
            del os.environ[name]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a cluster of ten thousand Services the machine for itself, and time for the snapshot of the first run."""
    for item in items:
        if "large_control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(600))
            item.add_marker(pytest.mark.alone)


@pytest.fixture(autouse=True)
def _level_of_logs() -> Iterator[None]:
    """Leave the next test the level that this one found: a command that runs in this process sets it."""
    level = logging.root.level
    yield
    logging.root.setLevel(level)


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio and the real clock, as aiohttp needs it; ``tests/unit`` has virtual time."""
    return "asyncio"
