import logging

import anyio
import pytest

from support.series import exposed
from toolset.adapters.metrics import Metrics
from toolset.telemetry.local_resources import NOT_READY_S, LocalResources


async def test_exhausted_resources_are_counted_logged_once_and_not_ready_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics("1")
    resources = LocalResources(metrics)
    assert resources.problem() == ""
    for _ in range(100):
        resources.exhausted()
        await anyio.sleep(1)
    assert exposed(metrics)["toolset_local_resource_errors_total"] == 100
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert resources.problem() == "out of descriptors, memory or threads: probes are deferred"
    await anyio.sleep(NOT_READY_S)
    assert resources.problem() == ""
