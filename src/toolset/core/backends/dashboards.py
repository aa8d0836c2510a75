"""Dashboards: Grafana."""

from typing import Final

from toolset.core.backends.backend_type import BackendType
from toolset.core.backends.mapping import KubernautConfig, ToolsetMapping
from toolset.core.detection import catalog

GRAFANA: Final = BackendType(
    type="grafana",
    detectors=catalog.of_type("grafana"),
    mapping=ToolsetMapping(
        toolsets=("grafana/dashboards",),
        kubernaut=KubernautConfig(takes_api_key=True),
        health_path="/api/health",
        description="Dashboards (Grafana API)",
    ),
)
