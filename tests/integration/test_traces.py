"""What the service exports as traces, received and decoded as a collector does."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from typing_extensions import override

from integration.cluster import TARGET, Cluster, Tool, expected_urls
from integration.service import Start, eventually, settles

pytestmark = pytest.mark.integration

TOOLS: Final = (
    Tool("grafana", "team-a", "grafana", 3000, "service"),
    Tool("jaeger", "team-a", "jaeger", 16686, "query"),
)


class Collector:
    """An OTLP receiver over HTTP that keeps every span."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def resources(self) -> list[dict[str, str]]:
        """Return the attributes of each exporting resource."""
        resources = [each.resource for request in tuple(self.requests) for each in request.resource_spans]
        return [{each.key: each.value.string_value for each in resource.attributes} for resource in resources]

    def spans(self) -> list[Span]:
        scopes = (
            scope for request in tuple(self.requests) for each in request.resource_spans for scope in each.scope_spans
        )
        return [span for scope in scopes for span in scope.spans]

    def reconciles(self) -> list[tuple[Span, list[str]]]:
        """Return each root span with the names of its children, in the order in which they began."""
        spans = self.spans()
        children = {span.span_id: [each for each in spans if each.parent_span_id == span.span_id] for span in spans}
        return [
            (span, [each.name for each in sorted(children[span.span_id], key=lambda each: each.start_time_unix_nano)])
            for span in spans
            if not span.parent_span_id
        ]

    def children(self, controller: str) -> list[list[str]]:
        """Return the names of the children of each root span of one controller."""
        return [names for root, names in self.reconciles() if attributes(root)["toolset.controller"] == controller]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, collector: Collector, *arguments: object) -> None:
        self._collector = collector
        super().__init__(*arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # the server's own

    def do_POST(self) -> None:
        assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._collector.requests.append(ExportTraceServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


def attributes(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    receiver = Collector()
    yield receiver
    receiver.close()


def test_each_reconcile_is_one_trace_with_its_steps_as_children(
    cluster: Cluster, start: Start, collector: Collector
) -> None:
    cluster.create(*TOOLS)
    service = start(
        cluster,
        TOOLS,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_BSP_SCHEDULE_DELAY="100",
        HEALTH__INTERVAL="500ms",
    )
    settles(cluster.urls, expected_urls("grafana", TOOLS[:1]) | expected_urls("jaeger", TOOLS[1:]), within_s=10)
    cluster.edit(notes="of somebody else")  # a pass over the target that has nothing to apply
    eventually(lambda: ["render", "plan"] in collector.children("target"), within_s=10)
    eventually(lambda: len(collector.children("probe")) > 2 * len(TOOLS), within_s=10)
    service.terminate()
    assert service.wait(within_s=10) == 0

    roots = [root for root, _ in collector.reconciles()]
    assert {root.name for root in roots} == {"reconcile"}
    assert len({root.trace_id for root in roots}) == len(roots)
    assert {tuple(names) for names in collector.children("service")} == {("detect",)}
    assert {tuple(names) for names in collector.children("probe")} == {("probe",)}
    assert {tuple(names) for names in collector.children("target")} == {("render", "plan"), ("render", "plan", "apply")}
    assert len(collector.spans()) == len(roots) + sum(len(names) for _, names in collector.reconciles())
    assert {each["service.name"] for each in collector.resources()} == {"kubernaut-dynamic-toolset"}


def test_a_log_line_of_a_pass_carries_the_id_of_its_trace(cluster: Cluster, start: Start, collector: Collector) -> None:
    cluster.create(*TOOLS)
    service = start(cluster, TOOLS, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_BSP_SCHEDULE_DELAY="100")
    settles(cluster.urls, expected_urls("grafana", TOOLS[:1]) | expected_urls("jaeger", TOOLS[1:]), within_s=10)

    eventually(lambda: ["render", "plan", "apply"] in collector.children("target"), within_s=10)

    written = service.logged("config map written")[0]
    root = next(root for root, names in collector.reconciles() if "apply" in names)
    assert written["trace_id"] == root.trace_id.hex()
    assert attributes(root)["k8s.configmap.name"] == TARGET.rpartition("/")[2]


def test_a_dead_collector_delays_nothing(cluster: Cluster, start: Start) -> None:
    cluster.create(*TOOLS)
    service = start(cluster, TOOLS, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_BSP_SCHEDULE_DELAY="100")

    settles(cluster.urls, expected_urls("grafana", TOOLS[:1]) | expected_urls("jaeger", TOOLS[1:]), within_s=10)
    service.terminate()
    assert service.wait(within_s=10) == 0
