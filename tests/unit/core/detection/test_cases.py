"""Real shapes of Services, a namespace at a time, with every candidate healthy: each backend once, nothing else."""

import pytest

from support.detection_cases import CASES, Case, found_in
from toolset.core.detection.catalog import BUILT_IN


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_each_backend_of_a_namespace_is_found_once(case: Case) -> None:
    assert found_in(case, BUILT_IN) == case.tools
