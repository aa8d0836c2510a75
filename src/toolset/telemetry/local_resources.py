"""Resources that this process lacks: descriptors, memory, threads. They are never a verdict on a backend."""

import logging
import math
from typing import Final

import anyio

from toolset.adapters.metrics import Metrics

NOT_READY_S: Final = 30.0
"""How long after the last such error the replica is not ready, seconds."""

_log: Final = logging.getLogger("toolset")


class LocalResources:
    """Counts the errors, and makes the replica not ready for a while after each."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._last_s = -math.inf

    def exhausted(self) -> None:
        """Count one error; log the first of consecutive ones."""
        if not self.problem():
            _log.error("out of descriptors, memory or threads: probes are deferred, nothing is removed")
        self._metrics.local_resource_errors.inc()
        self._last_s = anyio.current_time()

    def problem(self) -> str:
        """Return what is wrong, for readiness; empty if nothing is."""
        lacking = anyio.current_time() - self._last_s < NOT_READY_S
        return "out of descriptors, memory or threads: probes are deferred" if lacking else ""
