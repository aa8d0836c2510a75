"""The built-in detectors, as data.

Each names where its rule comes from. Rules describe products and the conventions of their charts and operators, never
one Service.
"""

from typing import Final

from toolset.core.candidate import HealthCheck
from toolset.core.detection.detector import HELPERS, Detector, KnownPort
from toolset.core.detection.endpoint import PortSelector

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
_JAEGER_INGEST: Final = frozenset(
    {4317, 4318, 5775, 5778, 6831, 6832, 9411, 14250, 14267, 14268, 14269, 16685, 16687, 8888, 8889, 13133}
)
"""Jaeger's ports that are not its query API over HTTP: ingest, sampling, gRPC, admin and metrics."""
_PROMETHEUS_API: Final = HealthCheck("/-/healthy", identity="Prometheus")
_ELASTICSEARCH_API: Final = HealthCheck("/_cluster/health", statuses=(401, 403), identity='"cluster_name"')
_JAEGER_UI: Final = HealthCheck("/", identity="Jaeger UI")
_READERS: Final = frozenset({"gateway", "nginx", "query-frontend", "querier", "single-binary", "all"})

_PROMETHEUS: Final = (
    Detector(
        product="prometheus",
        type="prometheus",
        phrases=("prometheus", "prometheus-server", "kube-prometheus"),
        label_keys=("prometheus", "operator.prometheus.io/name"),
        known_ports=(KnownPort("web", 9090),),
        port=PortSelector(
            names=(*_WEB_NAMES, "webui"),
            numbers=(9090,),
            exclude_names=_NOT_WEB,
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
        port=PortSelector(
            names=_WEB_NAMES, numbers=(9090, 10902), only=False, exclude_names=_NOT_WEB, tls=frozenset({9091})
        ),
        check=_PROMETHEUS_API,
        source="Thanos serves Prometheus' management API; labels of kube-thanos and of Bitnami's chart",
    ),
    Detector(
        product="victoria-metrics-single",
        type="prometheus",
        phrases=("vmsingle", "victoria-metrics", "victoriametrics", "victoria-metrics-single"),
        components=frozenset({"service", "service-external", "server", "monitoring", "single", "vmsingle"}),
        excluded_words=HELPERS | {"vminsert", "vmstorage", "vmagent", "vmalert", "vmauth", "vmselect", "logs"},
        port=PortSelector(names=("http", "https"), numbers=(8428, 8429), exclude_names=_NOT_WEB),
        check=HealthCheck("/health"),
        source="VictoriaMetrics single-node documentation; its charts and operator",
    ),
    Detector(
        product="vmselect",
        type="prometheus",
        phrases=("vmselect",),
        port=PortSelector(names=("http", "https"), numbers=(8481,), exclude_names=_NOT_WEB),
        path="/select/0/prometheus",
        check=HealthCheck("/api/v1/status/buildinfo"),
        source="VictoriaMetrics cluster documentation: the URL of tenant 0",
    ),
    Detector(
        product="mimir",
        type="prometheus",
        phrases=("mimir", "grafana-mimir", "mimir-gateway", "mimir-query-frontend"),
        components=_READERS,
        port=PortSelector(names=("http", "https", *_METRICS_NAMES), numbers=(8080, 80, 9009), exclude_names=_NOT_WEB),
        path="/prometheus",
        check=HealthCheck("/api/v1/labels", statuses=(401, 403)),
        source="Mimir HTTP API: the Prometheus prefix; components of its charts",
    ),
    Detector(
        product="cortex",
        type="prometheus",
        phrases=("cortex", "cortex-gateway", "cortex-query-frontend"),
        components=_READERS,
        port=PortSelector(names=("http", "https", *_METRICS_NAMES), numbers=(8080, 80, 9009), exclude_names=_NOT_WEB),
        path="/prometheus",
        check=HealthCheck("/api/v1/labels", statuses=(401, 403)),
        source="Cortex HTTP API: the Prometheus prefix; components of its chart",
    ),
    Detector(
        product="m3coordinator",
        type="prometheus",
        phrases=("m3coordinator", "m3dbnode", "m3query"),
        port=PortSelector(names=("coordinator",), numbers=(7201,), only=False),
        check=HealthCheck("/health"),
        source="M3 coordinator documentation: API on port 7201",
    ),
)

_OTHERS: Final = (
    Detector(
        product="grafana",
        type="grafana",
        phrases=("grafana",),
        known_ports=(KnownPort("service", 3000),),
        excluded_words=HELPERS | {"agent", "image"},
        port=PortSelector(
            names=("service", "http", "https", "grafana", "http-grafana", "web"),
            numbers=(3000,),
            exclude_names=_NOT_WEB,
        ),
        check=HealthCheck("/api/health", identity='"database"'),
        source="Grafana health API; Grafana's charts and operator",
    ),
    Detector(
        product="jaeger-istio",
        type="jaeger",
        phrases=("jaeger",),
        only_names=frozenset({"tracing"}),
        port=PortSelector(names=("http-query",), numbers=(16686,), only=False, exclude_numbers=_JAEGER_INGEST),
        path="/jaeger",
        check=_JAEGER_UI,
        source="Istio's Jaeger addon: the Service tracing, with QUERY_BASE_PATH set to /jaeger",
    ),
    Detector(
        product="jaeger",
        type="jaeger",
        phrases=("jaeger", "jaeger-query", "jaeger-all-in-one"),
        known_ports=tuple(KnownPort(name, 16686) for name in _JAEGER_NAMES),
        port=PortSelector(
            names=(*_JAEGER_NAMES, "http", "https"),
            numbers=(16686,),
            only=False,
            exclude_names=_NOT_WEB,
            exclude_numbers=_JAEGER_INGEST,
        ),
        check=_JAEGER_UI,
        source="Jaeger's ports and its components, as its chart, its operator and its documentation name them",
    ),
    Detector(
        product="opensearch-secured",
        type="elasticsearch",
        phrases=("opensearch", "wazuh-indexer"),
        requires_ports=(KnownPort("metrics", 9600), KnownPort("indexer-rest", 9200)),
        port=PortSelector(numbers=(9200,), only=False, tls=frozenset({9200})),
        check=_ELASTICSEARCH_API,
        source="OpenSearch's own chart and operator, and Wazuh's manifests, turn the security plugin on: TLS on 9200 "
        "although nothing says so; the performance analyzer's port, or Wazuh's name for the REST port, tells them",
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
        label_keys=("elasticsearch.k8s.elastic.co/cluster-name",),
        known_ports=(KnownPort("http", 9200),),
        port=PortSelector(numbers=(9200,), only=False, exclude_names=_NOT_WEB),
        check=_ELASTICSEARCH_API,
        source="Elasticsearch cluster health API, 401 and 403 mean alive behind authentication; ECK's labels",
    ),
)

BUILT_IN: Final = _PROMETHEUS + _OTHERS
