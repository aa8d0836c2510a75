"""Real sockets on loopback need the real clock, and aiohttp needs asyncio."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
