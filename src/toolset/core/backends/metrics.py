"""Metrics: Prometheus, and products that implement its query API."""

from typing import Final

from toolset.core.backends.backend_type import BackendType
from toolset.core.backends.mapping import KubernautConfig, ToolsetMapping
from toolset.core.detection import catalog

PROMETHEUS: Final = BackendType(
    type="prometheus",
    detectors=catalog.of_type("prometheus"),
    mapping=ToolsetMapping(
        toolsets=("prometheus/metrics",),
        kubernaut=KubernautConfig(),
        agent_tool="prometheus",
        health_path="/api/v1/labels",
        description="Metrics and alerts (Prometheus query API)",
    ),
)
