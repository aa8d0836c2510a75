"""Virtual time: every sleep is instant, because the clock jumps when all tasks wait."""

import pytest
from hypothesis import settings
from trio.testing import MockClock

settings.register_profile("runtime", deadline=None)  # real time says nothing here, least of all on a busy machine
settings.load_profile("runtime")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}
