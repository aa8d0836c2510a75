"""The built-in detectors, as data.

Each names the source of its rule. Rules describe products and the conventions of their charts and operators, never a
single Service.
"""

from typing import Final

from toolset.core.detection.checks import ELASTICSEARCH_API, GRAFANA_API, JAEGER_API, PROMETHEUS_API
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
        "memberlist",
        "http-memberlist",
        "gossip",
        "gossip-ring",
        "gossip-tcp",
        "grafana-alert",
        "admin",
        "admin-http",
    }
)
_GOSSIP: Final = frozenset({7946, 9094})
"""Ports of memberlist and of Alertmanager's gossip, which Grafana's alerting uses too."""
_THANOS_STORE: Final = frozenset({10901, 10902})
"""Ports of a Thanos sidecar, which answers no query over HTTP."""
_JAEGER_NAMES: Final = ("query", "http-query", "query-http", "https-query", "jaeger-query")
_JAEGER_INGEST: Final = frozenset(
    {4317, 4318, 5775, 5778, 6831, 6832, 9411, 14250, 14267, 14268, 14269, 16685, 16687, 8888, 8889, 13133}
)
"""Jaeger's ports that are not its query API over HTTP: ingest, sampling, gRPC, admin and metrics."""
_VICTORIA_OTHERS: Final = frozenset(
    {
        "vminsert",
        "vmselect",
        "vmstorage",
        "vmagent",
        "vmalert",
        "vmalertmanager",
        "vmanomaly",
        "vmauth",
        "vmbackupmanager",
        "vmgateway",
        "logs",
        "traces",
    }
)
_READERS: Final = ("gateway", "nginx", "query-frontend", "querier", "single-binary", "all")
_THANOS_PARTS: Final = ("query", "query-layer", "querier", "query-frontend", "query-cache")
"""The frontend is a cache in front of Query, and HolmesGPT searches for it too."""
_NODE_ROLES: Final = (
    "coordinating-only",
    "coordinating",
    "coordinator",
    "client",
    "data",
    "content",
    "hot",
    "warm",
    "cold",
    "frozen",
    "ingest",
    "master",
    "cluster-manager",
    "ml",
)
"""Roles of the nodes of one Elasticsearch or OpenSearch cluster, as charts name them: each answers for the cluster."""
_SEARCH_KEYS: Final = (
    "elasticsearch.k8s.elastic.co/cluster-name",
    "opensearch.org/opensearch-cluster",
    "opster.io/opensearch-cluster",
)
"""The labels with which the operators of Elastic and OpenSearch select the nodes of one cluster."""
_REST_NAMES: Final = ("elasticsearch", "opensearch", "es", "es-http", "rest-api", "tcp-rest-api")
_NOT_REST: Final = frozenset({9300, 9114, 5601, 9600, 9650})
"""Ports other than the REST API: transport, exporter, dashboards, performance analyzer and root cause analysis."""

_THANOS_PORT: Final = PortSelector(
    names=_WEB_NAMES, numbers=(9090, 10902), only=False, exclude_names=_NOT_WEB, tls=frozenset({9091})
)

_PROMETHEUS: Final = (
    Detector(
        product="tigera-prometheus",
        type="prometheus",
        phrases=("tigera-prometheus", "calico-node-prometheus"),
        port=PortSelector(names=_WEB_NAMES, numbers=(9090,), only=False, exclude_names=_NOT_WEB, tls=frozenset({9095})),
        sub_paths=("/prometheus",),
        check=PROMETHEUS_API,
        source="Tigera's operator: the Service prometheus-http-api leads to a proxy with TLS on 9095",
    ),
    Detector(
        product="prometheus",
        type="prometheus",
        phrases=("prometheus", "prometheus-server", "kube-prometheus"),
        label_keys=("prometheus", "operator.prometheus.io/name"),
        known_ports=(KnownPort("web", 9090), KnownPort("http-web", 9090)),
        port=PortSelector(
            names=(*_WEB_NAMES, "webui"),
            numbers=(9090,),
            exclude_names=_NOT_WEB,
            exclude_numbers=_GOSSIP | _THANOS_STORE | {9093},
            tls=frozenset({9091}),
        ),
        sub_paths=("/prometheus",),
        check=PROMETHEUS_API,
        source="Prometheus management API; labels and port names of its charts and of its operator; "
        "OpenShift serves the web port 9091 through a proxy with TLS",
    ),
    Detector(
        product="thanos-query",
        type="prometheus",
        phrases=("thanos-query", "thanos-querier", "thanos-query-frontend"),
        component_phrases=("thanos", "query-layer"),
        components=frozenset(_THANOS_PARTS),
        parts=_THANOS_PARTS,
        port=_THANOS_PORT,
        sub_paths=("/thanos",),
        check=PROMETHEUS_API,
        source="Thanos serves Prometheus' management API; labels of kube-thanos and of Bitnami's chart, which calls "
        "each part thanos: without a component it may be a sidecar or a store",
    ),
    Detector(
        product="thanos-store-api",
        type="prometheus",
        phrases=("query", "querier"),
        requires_ports=(KnownPort("grpc", 10901),),
        components=frozenset(_THANOS_PARTS),
        parts=_THANOS_PARTS,
        port=_THANOS_PORT,
        sub_paths=("/thanos",),
        check=PROMETHEUS_API,
        source="Thanos documentation: a Query has StoreAPI on the port grpc 10901, whatever its name",
    ),
    Detector(
        product="victoria-metrics-single",
        type="prometheus",
        phrases=("vmsingle", "victoria-metrics", "victoriametrics", "victoria-metrics-single"),
        components=frozenset({"service", "service-external", "server", "monitoring", "single", "vmsingle"}),
        excluded_words=HELPERS | _VICTORIA_OTHERS,
        port=PortSelector(
            names=("http", "https"), numbers=(8428, 8429), exclude_names=_NOT_WEB, exclude_numbers=_GOSSIP | {9093}
        ),
        sub_paths=("/victoriametrics",),
        check=PROMETHEUS_API,
        source="VictoriaMetrics single-node documentation; its charts and operator",
    ),
    Detector(
        product="vmselect",
        type="prometheus",
        phrases=("vmselect",),
        port=PortSelector(names=("http", "https"), numbers=(8481,), exclude_names=_NOT_WEB),
        path="/select/0/prometheus",
        sub_paths=("/vmselect/select/0/prometheus",),
        check=PROMETHEUS_API,
        source="VictoriaMetrics cluster documentation: the URL of tenant 0",
    ),
    Detector(
        product="mimir",
        type="prometheus",
        phrases=("mimir", "grafana-mimir", "mimir-gateway", "mimir-query-frontend"),
        components=frozenset(_READERS),
        parts=_READERS,
        port=PortSelector(names=("http", "https", *_METRICS_NAMES), numbers=(8080, 80, 9009), exclude_names=_NOT_WEB),
        path="/prometheus",
        check=PROMETHEUS_API,
        source="Mimir HTTP API: the Prometheus prefix; components of its charts",
    ),
    Detector(
        product="cortex",
        type="prometheus",
        phrases=("cortex", "cortex-gateway", "cortex-query-frontend"),
        components=frozenset(_READERS),
        parts=_READERS,
        port=PortSelector(names=("http", "https", *_METRICS_NAMES), numbers=(8080, 80, 9009), exclude_names=_NOT_WEB),
        path="/prometheus",
        sub_paths=("/api/prom",),
        check=PROMETHEUS_API,
        source="Cortex HTTP API: the Prometheus prefix; components of its chart",
    ),
    Detector(
        product="m3coordinator",
        type="prometheus",
        phrases=("m3coordinator", "m3dbnode", "m3query"),
        port=PortSelector(names=("coordinator",), numbers=(7201,), only=False),
        check=PROMETHEUS_API,
        source="M3 coordinator documentation: API on port 7201",
    ),
)

_OTHERS: Final = (
    Detector(
        product="grafana",
        type="grafana",
        phrases=("grafana",),
        known_ports=(KnownPort("service", 3000),),
        excluded_words=HELPERS | {"image"},
        port=PortSelector(
            names=("service", "http", "https", "grafana", "http-grafana", "web", "http-web"),
            numbers=(3000,),
            phrases=("grafana",),
            exclude_names=_NOT_WEB,
            exclude_numbers=_GOSSIP,
        ),
        sub_paths=("/grafana",),
        check=GRAFANA_API,
        source="Grafana health API; Grafana's charts and operator, and images that hold several products, call its "
        "port grafana",
    ),
    Detector(
        product="jaeger-istio",
        type="jaeger",
        phrases=("jaeger",),
        only_names=frozenset({"tracing"}),
        port=PortSelector(names=("http-query",), numbers=(16686,), only=False, exclude_numbers=_JAEGER_INGEST),
        path="/jaeger",
        sub_paths=("",),
        check=JAEGER_API,
        source="Istio's Jaeger addon: the Service tracing, with QUERY_BASE_PATH set to /jaeger",
    ),
    Detector(
        product="jaeger",
        type="jaeger",
        phrases=("jaeger", "jaeger-query", "jaeger-all-in-one"),
        known_ports=tuple(KnownPort(name, 16686) for name in (*_JAEGER_NAMES, "ui", "jaeger", "http", "")),
        port=PortSelector(
            names=(*_JAEGER_NAMES, "http", "https"),
            numbers=(16686,),
            phrases=("jaeger-ui", "jaeger-query"),
            only=False,
            exclude_names=_NOT_WEB,
            exclude_numbers=_JAEGER_INGEST,
        ),
        sub_paths=("/jaeger",),
        check=JAEGER_API,
        source="Jaeger's ports and its components, as its chart, its operator and its documentation name them; Tempo's "
        "operator and chart serve its UI on a port jaeger-ui",
    ),
    Detector(
        product="openshift-elasticsearch",
        type="elasticsearch",
        label_keys=("es-node-client", "es-node-data", "es-node-master"),
        port=PortSelector(numbers=(9200,), either=frozenset({9200}), only=False, tls=frozenset({9200})),
        check=ELASTICSEARCH_API,
        source="OpenShift's elasticsearch-operator: its nodes' labels and ports; the REST API wants TLS with a "
        "client's certificate or a token",
    ),
    Detector(
        product="elasticsearch-chart",
        type="elasticsearch",
        phrases=("elasticsearch", *(f"elasticsearch-{role}" for role in _NODE_ROLES)),
        requires_labels=("chart=elasticsearch",),
        requires_ports=(KnownPort("http", 9200),),
        parts=_NODE_ROLES,
        port=PortSelector(numbers=(9200,), either=frozenset({9200}), only=False, tls=frozenset({9200})),
        check=ELASTICSEARCH_API,
        source="Elastic's chart labels its Services with the bare name of the chart; since 8.0 it turns TLS on, on a "
        "port that is still called http. Charts 7 and 8 make the same Service, so the newer one is assumed",
    ),
    Detector(
        product="opensearch-secured",
        type="elasticsearch",
        phrases=("opensearch", "wazuh-indexer"),
        label_keys=("opensearch.org/opensearch-cluster", "opster.io/opensearch-cluster"),
        parts=_NODE_ROLES,
        installation_keys=_SEARCH_KEYS,
        requires_ports=(KnownPort("metrics", 9600), KnownPort("indexer-rest", 9200)),
        port=PortSelector(
            numbers=(9200,), either=frozenset({9200}), only=False, exclude_numbers=_NOT_REST, tls=frozenset({9200})
        ),
        check=ELASTICSEARCH_API,
        source="OpenSearch's own chart and operator, and Wazuh's manifests, turn the security plugin on: TLS on 9200 "
        "although nothing says so; the performance analyzer's port, or Wazuh's name for the REST port, identifies them",
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
        label_keys=_SEARCH_KEYS,
        known_ports=tuple(KnownPort(name, 9200) for name in ("http", "https", *_REST_NAMES)),
        parts=_NODE_ROLES,
        installation_keys=_SEARCH_KEYS,
        port=PortSelector(numbers=(9200,), either=frozenset({9200}), exclude_names=_NOT_WEB, exclude_numbers=_NOT_REST),
        check=ELASTICSEARCH_API,
        source="Elasticsearch cluster health API, 401 and 403 mean alive behind authentication; labels of ECK and of "
        "OpenSearch's operator; Bitnami's chart serves REST on a port tcp-rest-api",
    ),
)

BUILT_IN: Final = _PROMETHEUS + _OTHERS


def of_type(kind: str) -> tuple[Detector, ...]:
    """Return the built-in detectors of the type ``kind``, in order."""
    return tuple(detector for detector in BUILT_IN if detector.type == kind)
