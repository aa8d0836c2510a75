"""The built-in detectors, as data.

Each names where its rule comes from. Rules describe products and the conventions of their charts and operators, never
one Service.
"""

from typing import Final

from toolset.core.detector import Detector, PortRule
from toolset.core.endpoint import PortWish
from toolset.core.verdict import HealthCheck

_HELPERS: Final = frozenset(
    {
        "alertmanager",
        "alerts",
        "pushgateway",
        "exporter",
        "exporters",
        "operator",
        "webhook",
        "adapter",
        "injector",
        "discovery",
        "memberlist",
        "gossip",
        "kibana",
        "dashboards",
        "mcp",
        "renderer",
        "sidecar",
        "zipkin",
        "cassandra",
    }
)
"""Words of what stands beside a backend and carries its name: never the backend itself."""
_WEB_NAMES: Final = ("web", "http-web", "http", "https", "https-web")
_METRICS_NAMES: Final = ("http-metrics", "http-metric")
_NOT_WEB: Final = frozenset(
    {
        "metrics",
        "grpc",
        "grpc-query",
        "grpc-web",
        "thanos-proxy",
        "tenancy",
        "tenancy-rules",
        "federate",
        "reloader-web",
        "transport",
        "tcp-transport",
        "tls-transport",
        "http-memberlist",
        "gossip",
        "gossip-ring",
        "admin",
        "admin-http",
    }
)
_JAEGER_NAMES: Final = ("query", "http-query", "query-http", "https-query", "jaeger-query")
_ZIPKIN: Final = frozenset({9411})
_PROMETHEUS_API: Final = HealthCheck("/-/healthy")
_READERS: Final = frozenset({"gateway", "nginx", "query-frontend", "querier", "single-binary", "all"})

_PROMETHEUS: Final = (
    Detector(
        product="prometheus",
        type="prometheus",
        phrases=("prometheus", "prometheus-server", "kube-prometheus"),
        keys=("prometheus", "operator.prometheus.io/name"),
        ports=(PortRule("web", 9090),),
        deny=_HELPERS,
        wish=PortWish(
            names=(*_WEB_NAMES, "webui"),
            numbers=(9090,),
            never_names=_NOT_WEB,
            tls=frozenset({9091}),
        ),
        check=_PROMETHEUS_API,
        source="Prometheus management API; labels of its charts and of its operator; "
        "OpenShift serves the web port 9091 through a proxy with TLS",
    ),
    Detector(
        product="thanos-query",
        type="prometheus",
        phrases=("thanos-query", "thanos-querier", "thanos-query-frontend", "thanos"),
        components=frozenset({"query", "query-layer", "query-frontend", "query-cache", "querier"}),
        deny=_HELPERS,
        wish=PortWish(names=_WEB_NAMES, numbers=(9090, 10902), only=False, never_names=_NOT_WEB, tls=frozenset({9091})),
        check=_PROMETHEUS_API,
        source="Thanos serves Prometheus' management API; labels of kube-thanos and of Bitnami's chart",
    ),
    Detector(
        product="victoria-metrics-single",
        type="prometheus",
        phrases=("vmsingle", "victoria-metrics", "victoriametrics", "victoria-metrics-single"),
        components=frozenset({"service", "service-external", "server", "monitoring", "single", "vmsingle"}),
        deny=_HELPERS | {"vminsert", "vmstorage", "vmagent", "vmalert", "vmauth", "vmselect", "logs"},
        wish=PortWish(names=("http", "https"), numbers=(8428, 8429), never_names=_NOT_WEB),
        check=HealthCheck("/health"),
        source="VictoriaMetrics single-node documentation; its charts and operator",
    ),
    Detector(
        product="vmselect",
        type="prometheus",
        phrases=("vmselect",),
        deny=_HELPERS,
        wish=PortWish(names=("http", "https"), numbers=(8481,), never_names=_NOT_WEB),
        path="/select/0/prometheus",
        check=HealthCheck("/api/v1/labels?limit=1"),
        source="VictoriaMetrics cluster documentation: the URL of tenant 0",
    ),
    Detector(
        product="mimir",
        type="prometheus",
        phrases=("mimir", "grafana-mimir", "mimir-gateway", "mimir-query-frontend"),
        components=_READERS,
        deny=_HELPERS,
        wish=PortWish(names=("http", "https", *_METRICS_NAMES), numbers=(8080, 80, 9009), never_names=_NOT_WEB),
        path="/prometheus",
        check=HealthCheck("/api/v1/labels"),
        source="Mimir HTTP API: the Prometheus prefix; components of its charts",
    ),
    Detector(
        product="cortex",
        type="prometheus",
        phrases=("cortex", "cortex-gateway", "cortex-query-frontend"),
        components=_READERS,
        deny=_HELPERS,
        wish=PortWish(names=("http", "https", *_METRICS_NAMES), numbers=(8080, 80, 9009), never_names=_NOT_WEB),
        path="/prometheus",
        check=HealthCheck("/api/v1/labels"),
        source="Cortex HTTP API: the Prometheus prefix; components of its chart",
    ),
    Detector(
        product="m3coordinator",
        type="prometheus",
        phrases=("m3coordinator", "m3dbnode", "m3query"),
        deny=_HELPERS,
        wish=PortWish(names=("coordinator",), numbers=(7201,), only=False),
        check=HealthCheck("/health"),
        source="M3 coordinator documentation: API on port 7201",
    ),
)

_OTHERS: Final = (
    Detector(
        product="grafana",
        type="grafana",
        phrases=("grafana",),
        ports=(PortRule("service", 3000),),
        deny=_HELPERS | {"agent", "image"},
        wish=PortWish(
            names=("service", "http", "https", "grafana", "http-grafana", "web"), numbers=(3000,), never_names=_NOT_WEB
        ),
        check=HealthCheck("/api/health"),
        source="Grafana health API; Grafana's charts and operator",
    ),
    Detector(
        product="jaeger-istio",
        type="jaeger",
        phrases=("jaeger",),
        only_names=frozenset({"tracing"}),
        wish=PortWish(names=("http-query",), numbers=(16686,), only=False, never_numbers=_ZIPKIN),
        path="/jaeger",
        check=HealthCheck("/"),
        source="Istio's Jaeger addon: the Service tracing, with QUERY_BASE_PATH set to /jaeger",
    ),
    Detector(
        product="jaeger-query",
        type="jaeger",
        phrases=("jaeger-query",),
        deny=_HELPERS,
        wish=PortWish(
            names=(*_JAEGER_NAMES, "http", "https"), numbers=(16686,), never_names=_NOT_WEB, never_numbers=_ZIPKIN
        ),
        check=HealthCheck("/"),
        source="Jaeger's chart and operator: the query component has a Service of its own",
    ),
    Detector(
        product="jaeger",
        type="jaeger",
        phrases=("jaeger", "jaeger-all-in-one"),
        ports=(PortRule("query", 16686), PortRule("http-query", 16686), PortRule("jaeger-query", 16686)),
        wish=PortWish(names=_JAEGER_NAMES, numbers=(16686,), only=False, never_numbers=_ZIPKIN),
        check=HealthCheck("/"),
        source="Jaeger's query port 16686, which collectors and agents of the same name do not have",
    ),
    Detector(
        product="opensearch-secured",
        type="elasticsearch",
        phrases=("opensearch",),
        beside=(PortRule("metrics", 9600),),
        deny=_HELPERS,
        wish=PortWish(numbers=(9200,), only=False, tls=frozenset({9200})),
        check=HealthCheck("/_cluster/health", statuses=(401, 403)),
        source="OpenSearch's own chart and operator turn the security plugin on: TLS on a port named http; "
        "the performance analyzer's port tells them from others",
    ),
    Detector(
        product="wazuh-indexer",
        type="elasticsearch",
        phrases=("wazuh-indexer",),
        deny=_HELPERS,
        wish=PortWish(numbers=(9200,), only=False, tls=frozenset({9200})),
        check=HealthCheck("/_cluster/health", statuses=(401, 403)),
        source="Wazuh's manifests: an OpenSearch with TLS on the REST port",
    ),
    Detector(
        product="elasticsearch",
        type="elasticsearch",
        phrases=(
            "elasticsearch",
            "elasticsearch-logging",
            "elasticsearch-master",
            "elasticsearch-client",
            "elasticsearch-data",
            "elasticsearch-ingest",
            "elasticsearch-coordinating",
            "es-http",
            "opensearch",
        ),
        keys=("elasticsearch.k8s.elastic.co/cluster-name",),
        ports=(PortRule("http", 9200),),
        deny=_HELPERS,
        wish=PortWish(numbers=(9200,), only=False, never_names=_NOT_WEB),
        check=HealthCheck("/_cluster/health", statuses=(401, 403)),
        source="Elasticsearch cluster health API, 401 and 403 mean alive behind authentication; ECK's labels",
    ),
)

BUILT_IN: Final = _PROMETHEUS + _OTHERS
