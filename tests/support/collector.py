"""A collector of traces that decodes what arrives, over HTTP or over gRPC, and keeps every span."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Literal, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from typing_extensions import override

Protocol = Literal["http/protobuf", "grpc"]
PROTOCOLS: Final[tuple[Protocol, ...]] = ("http/protobuf", "grpc")
EXPORT: Final = "opentelemetry.proto.collector.trace.v1.TraceService"


class Collector:
    """An OTLP receiver; use it as a context manager.

    Attributes:
        protocol: What it speaks.
        requests: What arrived.
    """

    def __init__(self, protocol: Protocol = "http/protobuf") -> None:
        self.protocol = protocol
        self.requests: list[ExportTraceServiceRequest] = []
        receiver = _GrpcReceiver if protocol == "grpc" else _HttpReceiver
        self._receiver = receiver(self.requests)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Be gone."""
        self._receiver.close()

    def environment(self) -> dict[str, str]:
        """Return what makes a process export to it, soon after each span."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._receiver.port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def resources(self) -> list[dict[str, str]]:
        """Return the attributes of each exporting resource."""
        resources = [each.resource for request in tuple(self.requests) for each in request.resource_spans]
        return [{each.key: each.value.string_value for each in resource.attributes} for resource in resources]

    def spans(self) -> list[Span]:
        """Return every span."""
        scopes = (
            scope for request in tuple(self.requests) for each in request.resource_spans for scope in each.scope_spans
        )
        return [span for scope in scopes for span in scope.spans]

    def roots(self, controller: str) -> list[Span]:
        """Return the root spans of one controller, in the order in which they began."""
        roots = [each for each in self.spans() if not each.parent_span_id]
        found = [each for each in roots if attributes(each)["toolset.controller"] == controller]
        return sorted(found, key=lambda each: each.start_time_unix_nano)

    def below(self, parent: Span) -> list[Span]:
        """Return the children of a span, in the order in which they began."""
        children = [each for each in self.spans() if each.parent_span_id == parent.span_id]
        return sorted(children, key=lambda each: each.start_time_unix_nano)

    def steps(self, controller: str) -> list[tuple[str, ...]]:
        """Return the names of the children of each root span of one controller."""
        return [tuple(each.name for each in self.below(root)) for root in self.roots(controller)]


def attributes(span: Span) -> dict[str, object]:
    """Return the attributes of a span."""
    return {each.key: _value(each) for each in span.attributes}


def _value(pair: KeyValue) -> object:
    kind = pair.value.WhichOneof("value")
    assert kind is not None
    value: object = getattr(pair.value, kind)
    return value


class _GrpcReceiver:
    def __init__(self, requests: list[ExportTraceServiceRequest]) -> None:
        def export(request: ExportTraceServiceRequest, _: grpc.ServicerContext) -> ExportTraceServiceResponse:
            requests.append(request)
            return ExportTraceServiceResponse()

        handler = grpc.unary_unary_rpc_method_handler(
            export,
            request_deserializer=ExportTraceServiceRequest.FromString,
            response_serializer=ExportTraceServiceResponse.SerializeToString,
        )
        self._server = grpc.server(ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(EXPORT, {"Export": handler}),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()


class _HttpReceiver:
    def __init__(self, requests: list[ExportTraceServiceRequest]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, requests))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.port = self._server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, requests: list[ExportTraceServiceRequest], *arguments: object) -> None:
        self._requests = requests
        super().__init__(*arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # the server's own

    def do_POST(self) -> None:
        assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._requests.append(ExportTraceServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""
