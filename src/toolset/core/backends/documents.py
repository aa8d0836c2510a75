"""Logs and other documents: Elasticsearch and OpenSearch."""

from typing import Final

from toolset.core.backends.backend_type import BackendType
from toolset.core.backends.mapping import KubernautConfig, ToolsetMapping
from toolset.core.detection import catalog

ELASTICSEARCH: Final = BackendType(
    type="elasticsearch",
    detectors=catalog.of_type("elasticsearch"),
    mapping=ToolsetMapping(
        toolsets=("elasticsearch/data", "elasticsearch/cluster"),
        kubernaut=KubernautConfig(fields={"health_endpoint": "/_cluster/health"}),
        health_path="/_cluster/health",
        description="Logs and documents (Elasticsearch API)",
    ),
)
