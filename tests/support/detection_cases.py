"""Services as charts and operators make them, a namespace for each kind of fault, and what is to be found there."""

from collections.abc import Mapping
from typing import Any

import msgspec

from toolset.core.candidate import Candidate
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.detection.detector import Detector
from toolset.core.inventory import ALIVE, Inventory
from toolset.model import Service

Ports = tuple[tuple[str | None, int, int | str | None], ...]


def made(
    namespace: str,
    name: str,
    selector: Mapping[str, str],
    ports: Ports,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    headless: bool = False,
) -> Service:
    """Return a Service; a port is its name, its number and the pods' port."""
    spec: dict[str, Any] = {
        "selector": dict(selector),
        "ports": [{"name": port, "port": number, "targetPort": target} for port, number, target in ports],
    }
    if headless:
        spec["clusterIP"] = "None"
    metadata = {"namespace": namespace, "name": name, "labels": labels, "annotations": annotations}
    return msgspec.convert({"metadata": metadata, "spec": spec}, Service)


class Case(msgspec.Struct):
    """The Services of a namespace, and by name the tools that are to be found there: type, scheme, port and path."""

    services: tuple[Service, ...]
    tools: dict[str, str] = {}


def found_in(case: Case, detectors: tuple[Detector, ...]) -> dict[str, str]:
    """Return the tools of a namespace when every candidate is healthy."""
    inventory, options = Inventory(), DetectionOptions(detectors)
    for service in case.services:
        verdict = detect(service, options)
        inventory.detected(service.key, verdict)
        if isinstance(verdict, Candidate):
            inventory.probed(verdict, ALIVE)
    return {each.key.name: f"{each.type} {each.scheme}:{each.port}{each.path}" for each in inventory.tools()}


_NAME = "app.kubernetes.io/name"
_COMPONENT = "app.kubernetes.io/component"
_INSTANCE = "app.kubernetes.io/instance"
_ECK = "elasticsearch.k8s.elastic.co/cluster-name"
_OPENSEARCH = "opster.io/opensearch-cluster"
_STATEFUL_SET = "elasticsearch.k8s.elastic.co/statefulset-name"
_CR = "operator.prometheus.io/name"
_POD = "statefulset.kubernetes.io/pod-name"
_SERVING_CERTIFICATE = "service.beta.openshift.io/serving-cert-secret-name"


def kube_prometheus_stack(namespace: str) -> tuple[Service, ...]:
    """Return what the chart kube-prometheus-stack and its operator make, with the release name ``kps``."""
    chart, app = "kube-prometheus-stack", {"release": "kps"}

    def of(name: str) -> dict[str, str]:
        return {_NAME: name, _INSTANCE: "kps"}

    return (
        made(
            namespace,
            f"kps-{chart}-prometheus",
            {_NAME: "prometheus", _CR: f"kps-{chart}-prometheus"},
            (("http-web", 9090, 9090), ("reloader-web", 8080, "reloader-web")),
            labels={"app": f"{chart}-prometheus", "self-monitor": "true", **app},
        ),
        made(
            namespace,
            "prometheus-operated",
            {_NAME: "prometheus"},
            (("http-web", 9090, "http-web"),),
            labels={"operated-prometheus": "true", "managed-by": "prometheus-operator"},
            headless=True,
        ),
        made(
            namespace,
            f"kps-{chart}-alertmanager",
            {_NAME: "alertmanager", "alertmanager": f"kps-{chart}-alertmanager"},
            (("http-web", 9093, 9093), ("reloader-web", 8080, "reloader-web")),
            labels={"app": f"{chart}-alertmanager", **app},
        ),
        made(
            namespace,
            "alertmanager-operated",
            {_NAME: "alertmanager"},
            (("http-web", 9093, "http-web"), ("tcp-mesh", 9094, 9094), ("udp-mesh", 9094, 9094)),
            labels={"operated-alertmanager": "true"},
            headless=True,
        ),
        made(
            namespace,
            f"kps-{chart}-operator",
            {"app": f"{chart}-operator", "release": "kps"},
            (("https", 443, "https"),),
            labels={
                "app": f"{chart}-operator",
                _NAME: f"{chart}-prometheus-operator",
                _COMPONENT: "prometheus-operator",
            },
        ),
        made(namespace, "kps-grafana", of("grafana"), (("http-web", 80, "grafana"),), labels=of("grafana")),
        made(
            namespace,
            "kps-kube-state-metrics",
            of("kube-state-metrics"),
            (("http", 8080, "http"),),
            labels={**of("kube-state-metrics"), _COMPONENT: "metrics"},
        ),
        made(
            namespace,
            "kps-prometheus-node-exporter",
            of("prometheus-node-exporter"),
            (("http-metrics", 9100, 9100),),
            labels={**of("prometheus-node-exporter"), _COMPONENT: "metrics"},
        ),
        made(
            namespace,
            f"kps-{chart}-thanos-discovery",
            {_NAME: "prometheus", _CR: f"kps-{chart}-prometheus"},
            (("grpc", 10901, "grpc"), ("http", 10902, "http")),
            labels={"app": f"{chart}-thanos-discovery", **app},
            headless=True,
        ),
    )


def eck_cluster(namespace: str, name: str, node_sets: tuple[str, ...], protocol: str = "https") -> tuple[Service, ...]:
    """Return what ECK makes for an Elasticsearch cluster: the public Service, the internal ones, one of each nodeSet.

    The name of the port is the protocol: ``http`` where a cluster has TLS switched off.
    """
    labels = {"common.k8s.elastic.co/type": "elasticsearch", _ECK: name}
    public, transport = ((protocol, 9200, 9200),), (("tls-transport", 9300, 9300),)
    sets = [f"{name}-es-{node_set}" for node_set in node_sets]
    return (
        made(namespace, f"{name}-es-http", labels, public, labels=labels),
        made(namespace, f"{name}-es-internal-http", labels, public, labels=labels),
        made(namespace, f"{name}-es-transport", labels, transport, labels=labels, headless=True),
        *(
            made(
                namespace,
                each,
                labels | {_STATEFUL_SET: each},
                ((protocol, 9200, None),),
                labels=labels | {_STATEFUL_SET: each},
                headless=True,
            )
            for each in sets
        ),
    )


def alone(
    name: str,
    selector: Mapping[str, str],
    ports: Ports,
    tool: str = "",
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    headless: bool = False,
) -> Case:
    """Return a Service alone in its namespace, and the tool that it is; none where it is none."""
    service = made("n", name, selector, ports, labels=labels, annotations=annotations, headless=headless)
    return Case((service,), {name: tool} if tool else {})


ONE_BACKEND = {
    "kube-prometheus-stack": Case(
        kube_prometheus_stack("n"),
        {"kps-kube-prometheus-stack-prometheus": "prometheus http:9090", "kps-grafana": "grafana http:80"},
    ),
    "the Prometheus operator, port by number and by name": Case(
        (
            made("n", "kps", {_NAME: "prometheus", _CR: "kps"}, (("http-web", 9090, 9090),)),
            made(
                "n",
                "prometheus-operated",
                {_NAME: "prometheus"},
                (("http-web", 9090, "http-web"),),
                labels={"operated-prometheus": "true"},
                headless=True,
            ),
        ),
        {"kps": "prometheus http:9090"},
    ),
    "two Prometheus of one operator, whose governing Service spans both": Case(
        (
            made("n", "a", {_NAME: "prometheus", _CR: "a"}, (("web", 9090, "web"),)),
            made("n", "b", {_NAME: "prometheus", _CR: "b"}, (("web", 9090, "web"),)),
            made(
                "n",
                "prometheus-operated",
                {_NAME: "prometheus"},
                (("web", 9090, "web"),),
                labels={"operated-prometheus": "true"},
                headless=True,
            ),
        ),
        {"a": "prometheus http:9090", "b": "prometheus http:9090"},
    ),
    "ECK with a nodeSet": Case(eck_cluster("n", "c1", ("data",)), {"c1-es-http": "elasticsearch https:9200"}),
    "ECK with three nodeSets": Case(
        eck_cluster("n", "c1", ("master", "data-hot", "data-warm")), {"c1-es-http": "elasticsearch https:9200"}
    ),
    "ECK, Services of a user's own for some of the nodes": Case(
        (
            made(
                "n",
                "read",
                {_ECK: "hulk", "elasticsearch.k8s.elastic.co/node-ingest": "false"},
                (("https", 9200, 9200),),
            ),
            made(
                "n",
                "write",
                {_ECK: "hulk", "elasticsearch.k8s.elastic.co/node-ingest": "true"},
                (("https", 9200, 9200),),
            ),
        ),
        {"read": "elasticsearch https:9200"},
    ),
    "two ECK clusters": Case(
        (*eck_cluster("n", "c1", ("all",)), *eck_cluster("n", "c2", ("all",))),
        {"c1-es-http": "elasticsearch https:9200", "c2-es-http": "elasticsearch https:9200"},
    ),
    "OpenSearch's operator with two node pools": Case(
        (
            made(
                "n",
                "logs",
                {_OPENSEARCH: "logs"},
                (("http", 9200, 9200), ("transport", 9300, 9300), ("metrics", 9600, 9600), ("rca", 9650, 9650)),
                labels={_OPENSEARCH: "logs"},
            ),
            made("n", "logs-discovery", {_OPENSEARCH: "logs"}, (("transport", 9300, 9300),), headless=True),
            *(
                made(
                    "n",
                    f"logs-{pool}",
                    {_OPENSEARCH: "logs", "opster.io/opensearch-nodepool": pool},
                    (("http", 9200, 9200), ("transport", 9300, 9300)),
                    headless=True,
                )
                for pool in ("masters", "nodes")
            ),
        ),
        {"logs": "elasticsearch https:9200"},
    ),
    "Elastic's chart and its headless Service": Case(
        (
            made(
                "n",
                "elasticsearch-master",
                {"app": "elasticsearch-master", "chart": "elasticsearch", "release": "es"},
                (("http", 9200, None), ("transport", 9300, None)),
                labels={"app": "elasticsearch-master", "chart": "elasticsearch", "release": "es"},
            ),
            made(
                "n",
                "elasticsearch-master-headless",
                {"app": "elasticsearch-master"},
                (("http", 9200, None), ("transport", 9300, None)),
                labels={"app": "elasticsearch-master", "chart": "elasticsearch", "release": "es"},
                headless=True,
            ),
        ),
        {"elasticsearch-master": "elasticsearch https:9200"},
    ),
    "the node roles of one Elasticsearch": Case(
        tuple(
            made("n", f"es-{role}", {"app": "elasticsearch", "role": role}, (("http", 9200, None),))
            for role in ("client", "data", "master")
        ),
        {"es-client": "elasticsearch http:9200"},
    ),
    "Thanos Query and the frontend before it": Case(
        tuple(
            made("n", f"thanos-{part}", {_NAME: "thanos", _INSTANCE: "t", _COMPONENT: part}, (("http", 9090, "http"),))
            for part in ("query", "query-frontend", "compactor", "storegateway")
        ),
        {"thanos-query": "prometheus http:9090"},
    ),
    "Mimir's gateway, query frontend and queriers": Case(
        tuple(
            made(
                "n",
                f"mimir-{part}{'-headless' if is_headless else ''}",
                {_NAME: "mimir", _INSTANCE: "m", _COMPONENT: part},
                (("http-metrics", 8080, "http-metrics"), ("grpc", 9095, "grpc")),
                headless=is_headless,
            )
            for part in ("gateway", "query-frontend", "querier", "ingester")
            for is_headless in (False, True)
        ),
        {"mimir-gateway": "prometheus http:8080/prometheus"},
    ),
    "a Service for each replica": Case(
        (
            made("n", "prometheus", {"app": "prometheus"}, (("web", 9090, "web"),)),
            *(
                made("n", f"prometheus-{number}", {"app": "prometheus", _POD: f"p-{number}"}, (("web", 9090, 9090),))
                for number in range(3)
            ),
        ),
        {"prometheus": "prometheus http:9090"},
    ),
    "nothing but a Service for each replica": Case(
        tuple(
            made("n", f"prometheus-{number}", {"app": "prometheus", _POD: f"p-{number}"}, (("web", 9090, 9090),))
            for number in range(3)
        ),
        {"prometheus-0": "prometheus http:9090"},
    ),
}
"""Backends that several Services lead to."""

SCHEMES = {
    "Elastic's chart since 8.0": alone(
        "elasticsearch-master",
        {"app": "elasticsearch-master"},
        (("http", 9200, None), ("transport", 9300, None)),
        "elasticsearch https:9200",
        labels={"app": "elasticsearch-master", "chart": "elasticsearch"},
    ),
    "OpenSearch's chart": alone(
        "opensearch",
        {_NAME: "opensearch"},
        (("http", 9200, None), ("transport", 9300, None), ("metrics", 9600, None)),
        "elasticsearch https:9200",
        labels={_NAME: "opensearch"},
    ),
    "a certificate from OpenShift, and an OAuth proxy": alone(
        "grafana",
        {"app": "acm-grafana"},
        (("oauth-proxy", 9443, 9443),),
        "grafana https:9443",
        labels={"app": "acm-grafana"},
        annotations={"service.alpha.openshift.io/serving-cert-secret-name": "grafana-tls"},
    ),
    "a certificate from OpenShift": alone(
        "prometheus",
        {"app": "prometheus"},
        (("web", 9090, 9090),),
        "prometheus https:9090",
        annotations={_SERVING_CERTIFICATE: "prometheus-tls"},
    ),
    "a certificate from OpenShift, and a port that says http": alone(
        "prometheus",
        {"app": "prometheus"},
        (("http", 9090, 9090),),
        "prometheus http:9090",
        annotations={_SERVING_CERTIFICATE: "prometheus-tls"},
    ),
    "a proxy that ends TLS": alone("grafana", {"app": "grafana"}, (("oauth-proxy", 3001, 3001),), "grafana https:3001"),
    "Tigera's Prometheus behind its proxy": alone(
        "prometheus-http-api",
        {"prometheus": "calico-node-prometheus"},
        (("web", 9090, 9095),),
        "prometheus https:9090",
        labels={"k8s-app": "tigera-prometheus"},
    ),
    "Tigera's Prometheus itself": alone(
        "calico-node-prometheus",
        {"prometheus": "calico-node-prometheus"},
        (("web", 9090, 9090),),
        "prometheus http:9090",
        labels={"k8s-app": "tigera-prometheus"},
    ),
    "OpenShift's Elasticsearch": alone(
        "elasticsearch",
        {"cluster-name": "elasticsearch", "es-node-client": "true"},
        (("elasticsearch", 9200, "restapi"),),
        "elasticsearch https:9200",
        labels={"cluster-name": "elasticsearch"},
    ),
}
"""What a person would take the scheme for."""

FOUND = {
    "linkerd-viz calls the port admin": alone(
        "prometheus",
        {"linkerd.io/extension": "viz", "component": "prometheus"},
        (("admin", 9090, 9090),),
        "prometheus http:9090",
        labels={"linkerd.io/extension": "viz", "component": "prometheus"},
    ),
    "a metrics port with the number of the product": alone(
        "prom", {"app": "prometheus"}, (("metrics", 9090, 9090),), "prometheus http:9090"
    ),
    "the Jaeger UI of Tempo's operator": alone(
        "tempo-x-query-frontend",
        {_NAME: "tempo", _COMPONENT: "query-frontend"},
        (
            ("http", 3200, "http"),
            ("jaeger-grpc", 16685, 16685),
            ("jaeger-ui", 16686, "jaeger-ui"),
            ("jaeger-metrics", 16687, 16687),
        ),
        "jaeger http:16686",
        labels={_NAME: "tempo", _COMPONENT: "query-frontend"},
    ),
    "the Jaeger UI of Tempo's chart": alone(
        "tempo", {_NAME: "tempo"}, (("http", 3200, 3200), ("tempo-query-jaeger-ui", 16686, 16686)), "jaeger http:16686"
    ),
    "a Jaeger of another name": alone("traces", {"app": "traces"}, (("ui", 16686, 16686),), "jaeger http:16686"),
    "the Grafana operator's Service": alone(
        "observability-service",
        {"app": "observability"},
        (("grafana", 3000, "grafana-http"),),
        "grafana http:3000",
        labels={"app.kubernetes.io/managed-by": "grafana-operator"},
    ),
    "an image that holds several products": alone(
        "lgtm",
        {"app": "lgtm"},
        (("grafana", 3000, 3000), ("otel-grpc", 4317, 4317), ("otel-http", 4318, 4318)),
        "grafana http:3000",
    ),
    "a port named after the product, with another number": alone(
        "board", {"app": "ui"}, (("http", 3000, 3000), ("http-grafana", 80, 3001)), "grafana http:80"
    ),
    "Elasticsearch behind a proxy on port 80": alone(
        "elasticsearch-logging",
        {"application": "elasticsearch", _NAME: "elasticsearch", _COMPONENT: "client"},
        (("http", 80, None),),
        "elasticsearch http:80",
    ),
    "Elasticsearch's REST port under another name": alone(
        "logs", {"app": "logs"}, (("tcp-rest-api", 9200, "rest-api"),), "elasticsearch http:9200"
    ),
    "a Thanos Query of another name": alone(
        "observatorium-ruler-query",
        {_COMPONENT: "query-layer", _NAME: "observatorium-ruler-query"},
        (("grpc", 10901, 10901), ("http", 9090, 9090)),
        "prometheus http:9090",
        labels={_COMPONENT: "query-layer", _NAME: "observatorium-ruler-query"},
    ),
    "a Thanos Query that only its StoreAPI shows": alone(
        "edge-querier", {"app": "edge"}, (("grpc", 10901, 10901), ("http", 10902, 10902)), "prometheus http:10902"
    ),
    "a Thanos Query that only its component label names": alone(
        "metrics", {_NAME: "thanos", _COMPONENT: "query"}, (("http", 9090, "http"),), "prometheus http:9090"
    ),
    "a Grafana for tests": alone(
        "grafana-test",
        {"app": "acm-grafana-test"},
        (("grafana-http", 3001, 3001),),
        "grafana http:3001",
        labels={"app": "acm-grafana-test"},
    ),
    "a Grafana with a number": alone("grafana-2", {"app": "x"}, (("http", 3000, 3000),), "grafana http:3000"),
    "a renamed Service of kube-prometheus-stack": alone(
        "metrics", {"app": "metrics"}, (("http-web", 9090, 9090),), "prometheus http:9090"
    ),
}
"""Backends that no rule found once."""

NOTHING = {
    "kube-prometheus-stack's Service for the Thanos sidecar": alone(
        "kps-thanos-external", {_NAME: "prometheus", _CR: "kps"}, (("grpc", 10901, 10901), ("http", 10902, 10902))
    ),
    "a Thanos sidecar alone on 10902": alone("sidecar", {_NAME: "prometheus"}, (("http", 10902, 10902),)),
    "thanos without a component": alone("thanos-store", {"app": "thanos"}, (("http", 10902, 10902),)),
    "a Prometheus agent by its selector": alone(
        "kps-prometheus",
        {_NAME: "prometheus-agent"},
        (("http-web", 9090, 9090),),
        labels={"app": "kube-prometheus-stack-prometheus"},
    ),
    "a Prometheus agent by the operator's mode": alone(
        "prometheus", {_NAME: "prometheus", "operator.prometheus.io/mode": "agent"}, (("web", 9090, "web"),)
    ),
    "kube-state-metrics of an old Prometheus chart": alone(
        "prometheus-kube-state-metrics",
        {"app": "prometheus", "component": "kube-state-metrics"},
        (("http", 80, 8080), ("telemetry", 81, 8081)),
        labels={"app": "prometheus", "component": "kube-state-metrics"},
        headless=True,
    ),
    "the Grafana operator's Service for alerting": alone(
        "grafana-alerting",
        {"app": "grafana"},
        (("grafana-alert", 9094, 9094),),
        labels={"app.kubernetes.io/managed-by": "grafana-operator"},
        headless=True,
    ),
    "the Grafana chart's Service for gossip": alone(
        "grafana-headless", {_NAME: "grafana", _INSTANCE: "g"}, (("gossip-tcp", 9094, "gossip-tcp"),), headless=True
    ),
    "gossip under no name": alone("grafana-peers", {"app": "grafana"}, ((None, 9094, 9094),), headless=True),
    "memberlist": alone("mimir-memberlist", {_NAME: "mimir"}, (("tcp", 7946, 7946),), headless=True),
    "Elasticsearch's transport under no name": alone("es", {"app": "elasticsearch"}, ((None, 9300, 9300),)),
    "metrics of OpenShift's Elasticsearch": alone(
        "elasticsearch-metrics", {"cluster-name": "elasticsearch"}, (("elasticsearch", 60001, "metrics"),)
    ),
    "Alertmanager with Prometheus' label": alone("alerts-ui", {"app": "prometheus"}, (("web", 9093, 9093),)),
    "a metrics port named prometheus": alone("shop", {"app": "shop"}, (("prometheus", 9102, 9102),)),
    "Alertmanager of VictoriaMetrics' operator": alone(
        "vmalertmanager-victoria-metrics",
        {_NAME: "vmalertmanager", _COMPONENT: "monitoring"},
        (("http", 9093, 9093),),
        labels={_NAME: "vmalertmanager", _COMPONENT: "monitoring"},
    ),
    "the database of a Grafana": alone("db", {"app": "grafana", "component": "db"}, (("sql", 5432, 5432),)),
    "Jaeger's other ports": alone(
        "collector", {"app": "jaeger"}, (("jaeger-grpc", 14250, 14250), ("jaeger-query-2", 16685, 16685))
    ),
    "an application on Grafana's port": alone("shop", {"app": "shop"}, (("http", 3000, 3000),)),
}
"""Services that were taken for a backend once, and their kin."""

CASES = ONE_BACKEND | SCHEMES | FOUND | NOTHING
