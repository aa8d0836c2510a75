"""The built-in detectors, as data.

Ports and health paths are the defaults of the upstream projects:
Prometheus https://prometheus.io/docs/prometheus/latest/management_api/
Grafana https://grafana.com/docs/grafana/latest/developers/http_api/other/#health-api
Jaeger https://www.jaegertracing.io/docs/latest/deployment/ (query service)
Elasticsearch https://www.elastic.co/guide/en/elasticsearch/reference/current/cluster-health.html
"""

from collections.abc import Mapping
from typing import Final

from toolset.core.detector import Detector, PortRule
from toolset.core.verdict import HealthCheck


def _named(word: str) -> tuple[Mapping[str, str], ...]:
    return ({"app": word}, {"app.kubernetes.io/name": word})


BUILT_IN: Final = (
    Detector(
        type="prometheus",
        labels=_named("prometheus"),
        names=("prometheus", "prometheus-server"),
        ports=(PortRule("web", 9090),),
        port_names=("web", "http-web", "http"),
        port_numbers=(9090,),
        check=HealthCheck("/-/healthy"),
        source="Prometheus management API",
    ),
    Detector(
        type="grafana",
        labels=_named("grafana"),
        names=("grafana",),
        ports=(PortRule("service", 3000),),
        port_names=("service", "http"),
        port_numbers=(3000,),
        check=HealthCheck("/api/health"),
        source="Grafana health API",
    ),
    Detector(
        type="jaeger",
        labels=_named("jaeger"),
        names=("jaeger", "jaeger-query"),
        ports=(PortRule("query", 16686),),
        port_names=("query", "http-query"),
        port_numbers=(16686,),
        check=HealthCheck("/"),
        source="Jaeger query service",
    ),
    Detector(
        type="elasticsearch",
        labels=_named("elasticsearch"),
        names=("elasticsearch",),
        ports=(PortRule("http", 9200),),
        port_names=("http", "https"),
        port_numbers=(9200,),
        check=HealthCheck("/_cluster/health", statuses=(401, 403)),
        source="Elasticsearch cluster health API; 401 and 403 mean alive behind authentication",
    ),
)
