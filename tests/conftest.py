"""What holds for every test."""

from typing import Final

import pytest
from hypothesis import settings

settings.register_profile("tests", deadline=None)  # how long one example takes says how busy the machine is
settings.load_profile("tests")

STARTED_FOR_ALL: Final = frozenset({"answered", "assets", "backends", "holmes", "plane", "prometheus"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow for what the fixtures need: the first test of a worker pays for them."""
    for item in items:
        names: set[str] = set(getattr(item, "fixturenames", ()))
        if "large_control_plane" in names:
            item.add_marker(pytest.mark.timeout(600))  # the first run on a machine makes a snapshot
        elif names & STARTED_FOR_ALL:
            item.add_marker(pytest.mark.timeout(60))


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio and the real clock, as aiohttp needs it; ``tests/unit`` has virtual time."""
    return "asyncio"
