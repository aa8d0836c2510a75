"""Short ways to say what a test is about; what is not said is plausible."""

from toolset.core.candidate import Backend, Candidate, Evidence, HealthCheck
from toolset.model import Key, Service, ServiceMeta, ServicePort, ServiceSpec

_CHECKS = {
    "prometheus": "/-/healthy",
    "grafana": "/api/health",
    "jaeger": "/",
    "elasticsearch": "/_cluster/health",
}
_PORTS = {"prometheus": 9090, "grafana": 3000, "jaeger": 16686, "elasticsearch": 9200}


def candidate(
    name: str = "prometheus",
    *,
    namespace: str = "monitoring",
    tool_type: str = "prometheus",
    host: str = "",
    port: int = 0,
    path: str = "",
    check: str = "",
    address: str = "10.0.0.1",
    created: str = "2025-01-01T00:00:00Z",
    priority: int = 0,
    backend: str | Backend = "",
    headless: bool = False,
    identity: str = "",
    asked: bool = False,
    trusted: bool = True,
    admin_priority: int = 0,
) -> Candidate:
    """Return a candidate with a backend of its own; a text ``backend`` means pods with the label ``app=TEXT``."""
    if isinstance(backend, str):
        backend = Backend(selector=frozenset({("app", backend or f"{name}:{port}")}))
    return Candidate(
        key=Key(namespace, name),
        type=tool_type,
        evidence=Evidence.LABEL,
        scheme="http",
        host=host or f"{name}.{namespace}.svc.cluster.local",
        port=port or _PORTS.get(tool_type, 8080),
        path=path,
        check=HealthCheck(check or _CHECKS.get(tool_type, "/"), identity=identity),
        address=address,
        created=created,
        priority=priority,
        backend=backend,
        headless=headless,
        product=tool_type,
        asked=asked,
        trusted=trusted,
        admin_priority=admin_priority,
    )


def service(
    name: str = "prometheus",
    *,
    namespace: str = "monitoring",
    app: str = "prometheus",
    port: int = 9090,
    annotations: dict[str, str] | None = None,
    version: str = "1",
    uid: str = "",
) -> Service:
    """Return a Service that is recognised by its label ``app``."""
    return Service(
        metadata=ServiceMeta(
            name=name,
            namespace=namespace,
            uid=uid or f"uid-{name}",
            resource_version=version,
            labels={"app": app},
            annotations=annotations,
            creation_timestamp="2025-01-01T00:00:00Z",
        ),
        spec=ServiceSpec(
            type="ClusterIP",
            cluster_ip="10.0.0.1",
            selector={"pods-of": name},
            ports=(ServicePort(port=port, name="web", protocol="TCP"),),
        ),
    )
