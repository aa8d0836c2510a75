import os
import subprocess
import sys
from typing import Final

import anyio.to_thread
import pytest
from opentelemetry import trace

from support.api_server import raw_server, silence
from support.collector import PROTOCOLS, Collector, Protocol, attributes
from toolset.adapters.traces import UNEVENTFUL_SHARE, set_up_traces
from toolset.errors import SettingsError

LOADED: Final[dict[Protocol, str]] = {"http/protobuf": "requests", "grpc": "grpc"}
"""What each exporter needs, and the other one does not load."""

ENDPOINT: Final = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
TRACES: Final = """
import os, sys
import anyio
from opentelemetry import trace
from toolset.adapters.traces import set_up_traces
tracing = set_up_traces(os.environ, "1.2.3", "pod-1", flush_s=float(os.environ.get("FLUSH_S", "5")))
with trace.get_tracer("toolset").start_as_current_span("reconcile", attributes={"k8s.service.name": "prometheus"}):
    pass
loaded = [name for name in ("opentelemetry.sdk", "requests", "grpc") if name in sys.modules]
print("worked", tracing.share, *loaded, flush=True)
anyio.run(tracing.stop)
print("stopped", flush=True)
"""


def traced(environment: dict[str, str]) -> list[str]:
    """Export one span from a process of its own, as a provider can be set once a process; return what it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [sys.executable, "-W", "error", "-c", TRACES]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, timeout=15, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=["no endpoint", "empty endpoint", "disabled", "no exporter"],
)
async def test_nothing_is_set_up_where_nobody_asks_for_it(environment: dict[str, str]) -> None:
    before = trace.get_tracer_provider()

    tracing = set_up_traces(environment, "1.2.3", "pod-1")
    await tracing.stop()

    assert tracing.share is None
    assert trace.get_tracer_provider() is before


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        pytest.param(
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: `http/json` is not supported; write `http/protobuf` or `grpc`",
            id="protocol",
        ),
        pytest.param(
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: `http` is not supported; write `http/protobuf` or `grpc`",
            id="protocol of traces",
        ),
        pytest.param(
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER: `zipkin` is no exporter; write `otlp`, `console` or `none`",
            id="exporter",
        ),
        pytest.param(
            {**ENDPOINT, "OTEL_BSP_MAX_QUEUE_SIZE": "many"},
            "OTEL_BSP_MAX_QUEUE_SIZE: `many` is no whole number",
            id="size of the queue",
        ),
        pytest.param(
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_TIMEOUT": "10s"},
            "OTEL_EXPORTER_OTLP_TIMEOUT: `10s` is no whole number",
            id="timeout",
        ),
    ],
)
def test_a_variable_that_means_nothing_is_named_with_the_remedy(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        set_up_traces(environment, "1.2.3", "pod-1")
    assert str(caught.value) == message


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_reach_a_collector_before_the_process_ends(protocol: Protocol) -> None:
    with Collector(protocol) as collector:
        shown = traced(collector.environment())

    assert shown == [f"worked {UNEVENTFUL_SHARE} opentelemetry.sdk {LOADED[protocol]}", "stopped"]

    (span,) = collector.spans()
    assert (span.name, attributes(span)) == ("reconcile", {"k8s.service.name": "prometheus"})
    (resource,) = collector.resources()
    assert resource["service.name"] == "kubernaut-dynamic-toolset"
    assert (resource["service.version"], resource["service.instance.id"]) == ("1.2.3", "pod-1")


def test_without_an_exporter_no_sdk_is_loaded() -> None:
    assert traced({}) == ["worked None", "stopped"]


def test_the_protocol_of_traces_beats_the_protocol_of_everything() -> None:
    with Collector("grpc") as collector:
        given = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}
        traced(collector.environment() | given)

    assert len(collector.spans()) == 1


def test_the_environment_may_name_the_service() -> None:
    with Collector() as collector:
        given = {"OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "k8s.cluster.name=east"}
        traced(collector.environment() | given)

    (resource,) = collector.resources()
    assert (resource["service.name"], resource["k8s.cluster.name"]) == ("mine", "east")


def test_what_the_environment_says_of_the_resource_counts() -> None:
    with Collector() as collector:
        given = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine,service.instance.id=pod-7"}
        traced(collector.environment() | given)

    (resource,) = collector.resources()
    named = [resource[f"service.{each}"] for each in ("name", "instance.id", "version")]
    assert named == ["mine", "pod-7", "1.2.3"]


def test_a_sampler_that_is_set_decides_alone() -> None:
    with Collector() as collector:
        shown = traced(collector.environment() | {"OTEL_TRACES_SAMPLER": "always_off"})

    assert shown[0].startswith("worked 1.0 ")
    assert collector.spans() == []


def test_spans_may_go_to_the_console_alone() -> None:
    shown = traced({"OTEL_TRACES_EXPORTER": "console"})

    assert (shown[0], shown[-1]) == ("worked 0.01 opentelemetry.sdk", "stopped")
    assert '    "name": "reconcile",' in shown


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_collector_that_hangs_does_not_keep_the_process(protocol: Protocol) -> None:
    async with raw_server(silence) as port:
        given = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "60",
            "FLUSH_S": "0.2",
        }
        shown = await anyio.to_thread.run_sync(traced, given)
    assert shown[-1] == "stopped"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_collector_that_is_not_there_does_not_keep_the_process(protocol: Protocol) -> None:
    assert traced({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "FLUSH_S": "0.2"})[-1] == "stopped"
