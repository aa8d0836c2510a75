"""How a backend of each built-in type proves that an agent can use it: a request to the API that the agent uses.

A page, a status or a text of the process itself only proves that something answers there (ADR 25).
"""

from collections.abc import Mapping
from typing import Final

from toolset.core.candidate import HealthCheck

PROMETHEUS_API: Final = HealthCheck(
    "/api/v1/query?query=vector(1)", fields=("status=success", "data.resultType=vector")
)
"""Prometheus' HTTP API. An agent and a sidecar reject queries, and a server that replays its WAL is not ready."""

GRAFANA_API: Final = HealthCheck("/api/health", fields=("database",))
"""Grafana's HTTP API: other health."""

JAEGER_API: Final = HealthCheck("/api/services", fields=("data",))
"""Jaeger's query service; ``data`` is null while it knows no service."""

ELASTICSEARCH_API: Final = HealthCheck(
    "/",
    fields=("cluster_name", "version"),
    challenge=("security_exception", 'realm="security"', "OpenSearch Security", "Open Distro Security", "Search Guard"),
    publish_unauthorized=True,
    backend_id="cluster_uuid",
)
"""Elasticsearch and OpenSearch: the root API. The challenges are those of Elasticsearch's security features, of
OpenSearch's security plugin and of its predecessors."""

LOKI_API: Final = HealthCheck("/loki/api/v1/labels", fields=("status=success",))
"""Loki's HTTP API: labels, answered by querier and query frontend alone; without labels there is no ``data``."""

TEMPO_API: Final = HealthCheck("/api/echo", body="echo")
"""Tempo's HTTP API: echo, which the query frontend and the single binary alone answer, with this one word."""

VICTORIALOGS_API: Final = HealthCheck("/select/logsql/field_names?query=_time:1s", fields=("values",))
"""VictoriaLogs' HTTP API: the names of fields in the last second, of which there may be none."""

ALERTMANAGER_API: Final = HealthCheck("/api/v2/status", fields=("versionInfo",))
"""Alertmanager's API v2."""

ZIPKIN_API: Final = HealthCheck("/info", fields=("zipkin",))
"""Zipkin's server: its version."""

TYPE_CHECKS: Final[Mapping[str, HealthCheck]] = {
    "prometheus": PROMETHEUS_API,
    "grafana": GRAFANA_API,
    "jaeger": JAEGER_API,
    "elasticsearch": ELASTICSEARCH_API,
    "loki": LOKI_API,
    "tempo": TEMPO_API,
    "victorialogs": VICTORIALOGS_API,
    "alertmanager": ALERTMANAGER_API,
    "zipkin": ZIPKIN_API,
}
"""By type, the default check of a detector in the settings."""
