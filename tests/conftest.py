"""What holds for every test."""

import pytest
from hypothesis import settings

settings.register_profile("tests", deadline=None)  # how long one example takes says how busy the machine is
settings.load_profile("tests")


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio and the real clock, as aiohttp needs it; ``tests/unit`` has virtual time."""
    return "asyncio"
