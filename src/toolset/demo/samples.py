"""The Services of the demo, and their backends."""

from collections.abc import Mapping
from typing import Final

import msgspec

from toolset.sim.backends import Product


class Sample(msgspec.Struct, frozen=True):
    """One Service.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        labels: Its labels.
        port: Name and number of its one port.
        backend: What answers there; ``None`` if nothing does.
        target_port: Number or name of the port where its pods listen; 0 for the number of its port.
        headless: Whether it has no cluster IP.
        selector: The labels of its pods; its own labels when empty.
    """

    namespace: str
    name: str
    labels: Mapping[str, str]
    port: tuple[str, int]
    backend: Product | None = None
    target_port: int | str = 0
    headless: bool = False
    selector: Mapping[str, str] = {}

    @property
    def authority(self) -> str:
        """The authority of its backend."""
        return f"{self.name}.{self.namespace}.svc.cluster.local:{self.port[1]}"

    def manifest(self) -> dict[str, object]:
        """Return its manifest."""
        name, number = self.port
        ports = [{"name": name, "port": number, "targetPort": self.target_port or number}]
        spec: dict[str, object] = {"selector": dict(self.selector or self.labels), "ports": ports}
        if self.headless:
            spec["clusterIP"] = "None"
        metadata = {"namespace": self.namespace, "name": self.name, "labels": dict(self.labels)}
        return {"metadata": metadata, "spec": spec}


_PROMETHEUS: Final = {"app.kubernetes.io/name": "prometheus"}
_KPS: Final = {"operator.prometheus.io/name": "kps"}
GRAFANA: Final = Sample(
    "monitoring", "grafana", {"app.kubernetes.io/name": "grafana"}, ("service", 80), "grafana", target_port=3000
)
FIRST: Final = (
    Sample(
        "monitoring",
        "kps-prometheus",
        {"app": "kube-prometheus-stack-prometheus"},
        ("http-web", 9090),
        "prometheus",
        selector=_PROMETHEUS | _KPS,
    ),
    Sample(
        "monitoring",
        "prometheus-operated",
        {"operated-prometheus": "true"},
        ("http-web", 9090),
        "prometheus",
        target_port="http-web",
        headless=True,
        selector=_PROMETHEUS,
    ),
    GRAFANA,
    Sample("logging", "elasticsearch", {"app": "elasticsearch"}, ("http", 9200), "elasticsearch"),
    Sample("monitoring", "alertmanager", {"app.kubernetes.io/name": "alertmanager"}, ("http", 9093)),
    Sample("tracing", "jaeger-collector", {"app": "jaeger"}, ("otlp-grpc", 4317)),
    Sample("shop", "checkout", {"app": "checkout"}, ("web", 8080)),
)
"""The initial content of the cluster: the Services of kube-prometheus-stack and its operator, and others that are
similar in every real one."""
JAEGER: Final = Sample("tracing", "jaeger-query", {"app": "jaeger-query"}, ("query", 16686), "jaeger")
SECOND: Final = Sample("team-b", "prometheus", {"app": "prometheus"}, ("web", 9090), "prometheus")
EVERY: Final = (*FIRST, JAEGER, SECOND)
