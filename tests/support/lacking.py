"""What a test does when the machine lacks what it needs."""

import os
from typing import Final, NoReturn

import pytest

BUILT: Final = frozenset({"alertmanager", "jaeger", "opensearch", "prometheus-3", "victoria-logs"})
"""Programs of backends that no package holds; `make backends` builds them with CI_FULL=1."""


def want_full_run(program: str) -> None:
    """Skip the test in a CI run that is no full one when it asks for a ``program`` that only a full one builds."""
    if program in BUILT and os.getenv("CI") and os.getenv("CI_FULL") != "1":
        pytest.skip(f"{program} is part of a full run only: CI_FULL=1")


def lack(reason: str) -> NoReturn:
    """Skip the test that asks, and say why; fail it in CI, where nothing may be missing."""
    if os.getenv("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
