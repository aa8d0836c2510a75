"""Logs: Loki and VictoriaLogs."""

from typing import Final

from toolset.core.backends.backend_type import BackendType
from toolset.core.backends.mapping import ToolsetMapping
from toolset.core.detection.checks import LOKI_API, VICTORIALOGS_API
from toolset.core.detection.detector import HELPERS, Detector
from toolset.core.detection.endpoint import PortSelector

_LOKI_PARTS: Final = ("gateway", "query-frontend", "read", "querier", "single-binary", "all")
"""The parts of Loki that answer queries, the one in front of the others first."""
_LOKI_HELPERS: Final = HELPERS | {
    "write",
    "backend",
    "distributor",
    "ingester",
    "compactor",
    "ruler",
    "canary",
    "promtail",
    "metrics",
    "scheduler",
    "cache",
    "memcached",
    "ring",
    "minio",
    "logcli",
    "lokistack",
}
_HTTP: Final = ("http-metrics", "http", "https")
_NOT_HTTP: Final = frozenset({"grpc", "grpclb", "tcp", "gossip-ring", "http-memberlist", "memberlist", "grpc-public"})
_GOSSIP: Final = frozenset({7946})

LOKI: Final = BackendType(
    type="loki",
    detectors=(
        Detector(
            product="lokistack-gateway",
            type="loki",
            component_phrases=("lokistack", "lokistack-gateway"),
            components=frozenset({"lokistack-gateway"}),
            port=PortSelector(names=("public",), numbers=(8080,), only=False, tls=frozenset({8080})),
            path="/api/logs/v1/application",
            check=LOKI_API,
            source="Loki's operator: the gateway of a LokiStack wants TLS and the tenant in the path; application is "
            "the tenant of the workloads' logs on OpenShift",
        ),
        Detector(
            product="loki",
            type="loki",
            phrases=("loki", "grafana-loki", "loki-distributed", *(f"loki-{part}" for part in _LOKI_PARTS)),
            components=frozenset({*_LOKI_PARTS, "loki"}),
            excluded_words=_LOKI_HELPERS,
            parts=_LOKI_PARTS,
            port=PortSelector(
                names=_HTTP, numbers=(3100, 80), exclude_names=_NOT_HTTP, exclude_numbers=_GOSSIP | {3101, 3500}
            ),
            check=LOKI_API,
            source="Loki's HTTP API: labels are answered by the querier and the query frontend alone; names and "
            "components of its charts",
        ),
    ),
    mapping=ToolsetMapping(
        toolsets=("grafana/loki",),
        description="Logs (Loki API)",
    ),
)

_VICTORIA_HELPERS: Final = HELPERS | {"vlinsert", "vlstorage", "vlagent", "vmauth", "collector", "vector", "insert"}

VICTORIALOGS: Final = BackendType(
    type="victorialogs",
    detectors=(
        Detector(
            product="victorialogs",
            type="victorialogs",
            phrases=("victoria-logs", "victorialogs", "victoria-logs-single", "vlogs", "vlsingle"),
            components=frozenset({"server", "monitoring", "single", "victoria-logs"}),
            excluded_words=_VICTORIA_HELPERS | {"vlselect", "select"},
            port=PortSelector(names=("http", "https"), numbers=(9428,)),
            check=VICTORIALOGS_API,
            source="VictoriaLogs documentation: port 9428; its chart and operator; insert and storage parts answer "
            "queries too, so their names decide",
        ),
        Detector(
            product="vlselect",
            type="victorialogs",
            phrases=("vlselect",),
            port=PortSelector(names=("http", "https"), numbers=(9471,)),
            check=VICTORIALOGS_API,
            source="VictoriaLogs cluster documentation: vlselect answers queries on port 9471",
        ),
    ),
    mapping=ToolsetMapping(
        toolsets=("victorialogs",),
        health_path="/health",
        description="Logs (VictoriaLogs LogsQL API)",
    ),
)
