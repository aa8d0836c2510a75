"""Metrics: Prometheus, and what answers its query API."""

from typing import Final

from toolset.core.backends.backend import Backend
from toolset.core.detection import catalog
from toolset.core.toolset_mapping import KubernautConfig, ToolsetMapping

PROMETHEUS: Final = Backend(
    type="prometheus",
    detectors=catalog.of_type("prometheus"),
    mapping=ToolsetMapping(
        toolsets=("prometheus/metrics",),
        kubernaut=KubernautConfig(),
        description="Metrics and alerts (Prometheus query API)",
    ),
)
