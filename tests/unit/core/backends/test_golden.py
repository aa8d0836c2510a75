"""What is published, byte for byte: each word of it is read by a model or by a consumer's parser."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from toolset.core.backends.catalog import BACKEND_TYPES
from toolset.core.candidate import Candidate, Evidence, HealthCheck
from toolset.core.dialects.documents import Credentials
from toolset.core.dialects.schema import BaseToolset
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import publish
from toolset.model import Key

FOLDER: Final = Path(__file__).parent / "golden"
_OVERRIDES: Final = """\
tools:
  team-b/prometheus: {priority: 7, holmesgpt: {verify_ssl: false}, kubernaut: {timeout: 60s}}
  monitoring/spare: {type: grafana}
toolsets:
  elasticsearch/cluster: {config: {timeout_seconds: 7}}
"""


def tool(
    kind: str, namespace: str, name: str, port: int, check: str = "/", path: str = "", *, trusted: bool = True
) -> Candidate:
    return Candidate(
        Key(namespace, name),
        kind,
        Evidence.LABEL,
        "http",
        f"{name}.{namespace}.svc.cluster.local",
        port,
        path,
        HealthCheck(check),
        trusted=trusted,
    )


ONE_OF_EACH: Final = (
    tool("elasticsearch", "logging", "elasticsearch", 9200, "/_cluster/health"),
    tool("grafana", "monitoring", "grafana", 3000, "/api/health"),
    tool("jaeger", "tracing", "jaeger-query", 16686),
    tool("shop", "team-a", "orders", 8080, "/healthz", "/v1"),
    tool("prometheus", "monitoring", "prometheus", 9090, "/-/healthy"),
)
SEVERAL: Final = (
    *ONE_OF_EACH,
    tool("elasticsearch", "search", "opensearch", 9200, "/_cluster/health"),
    tool("grafana", "team-b", "grafana", 80, "/api/health"),
    tool("jaeger", "istio-system", "tracing", 80, "/", "/jaeger"),
    tool("prometheus", "team-b", "prometheus", 9090, "/-/healthy"),
    tool("prometheus", "victoria", "vmselect", 8481, "/health", "/select/0/prometheus"),
    tool("prometheus", "monitoring", "spare", 9090, "/-/healthy"),
    tool("prometheus", "tenant", "prometheus", 9090, "/-/healthy", trusted=False),
    tool("grafana", "tenant", "grafana", 3000, "/api/health", trusted=False),
    tool("jaeger", "tenant", "jaeger", 16686, trusted=False),
)
ONE_OF_EVERY: Final = tuple(tool(backend.type, "all", f"a-{backend.type}", 8080) for backend in BACKEND_TYPES)
_LOGINS: Final = {
    "monitoring/prometheus": Credentials(bearer_token="PROMETHEUS_TOKEN"),
    "monitoring/grafana": Credentials(api_key="GRAFANA_API_KEY", username="U", password="P"),
    "team-b/grafana": Credentials(bearer_token="GRAFANA_TOKEN"),
    "logging/elasticsearch": Credentials(username="ES_USER", password="ES_PASSWORD", api_key="ES_KEY"),
    "tracing/jaeger-query": Credentials(bearer_token="JAEGER_TOKEN"),
    "team-a/orders": Credentials(username="SHOP_USER", password="SHOP_PASSWORD"),
}
_BASE: Final = {
    "kubernetes/core": BaseToolset(),
    "prometheus/metrics": BaseToolset(config={"prometheus_url": "http://own.example.com:9090"}),
    "elasticsearch/data": BaseToolset(enabled=False),
    "grafana/dashboards": BaseToolset(config={"verify_ssl": False}),
}


def published(case: str) -> Mapping[str, str]:
    dialects = OutputOptions(dialects=("kubernaut", "holmesgpt", "json"))
    if case == "one":
        return publish(ONE_OF_EACH, dialects).data
    if case == "every":
        return publish(ONE_OF_EVERY, dialects).data
    if case == "several":
        return publish(SEVERAL, dialects, untrusted_limit=20).data
    options = OutputOptions(dialects=dialects.dialects, credentials=_LOGINS, base_toolsets=_BASE)
    return publish(SEVERAL, options, text=_OVERRIDES, taken={"grafana-toolset.yaml"}).data


@pytest.mark.parametrize("case", ["one", "several", "configured", "every"])
def test_what_is_published_changes_only_together_with_the_golden_file(case: str) -> None:
    assert text_of(published(case)) == (FOLDER / f"{case}.txt").read_text("utf-8")


def text_of(data: Mapping[str, str]) -> str:
    return "".join(f"=== {key}\n{text}" for key, text in sorted(data.items()))
