"""Traces: spans exported as configured by the standard ``OTEL_*`` variables.

Without an exporter in the environment no SDK is loaded, so that it costs nothing; gRPC is loaded only if it is chosen.
The SDK itself reads the variables of exporter, batches, sampler, resource and limits.
"""

import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
from opentelemetry import trace

from toolset.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

SERVICE_NAME: Final = "kubernaut-dynamic-toolset"
FLUSH_TIMEOUT_S: Final = 5.0
FLUSH_POLL_S: Final = 0.02
UNEVENTFUL_SHARE: Final = 0.01
"""The share of uneventful reconciles of Services and probes that are traced, unless ``OTEL_TRACES_SAMPLER`` is set:
33 probes a second (1,000 tools) would be 120,000 useless traces an hour."""

_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SAMPLER: Final = "OTEL_TRACES_SAMPLER"
_NUMBERS: Final = (
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
)


_log: Final = logging.getLogger("toolset")


async def _nothing() -> None:
    """Send nothing."""


class Tracing(msgspec.Struct, frozen=True):
    """What is traced.

    Attributes:
        stop: Sends pending spans, within a bounded time, and ends the export; cancelling it drops them.
        share: The share of uneventful reconciles of Services and probes that are traced; ``None`` if nothing is.
    """

    stop: Callable[[], Awaitable[None]] = _nothing
    share: float | None = None


def set_up_traces(
    environment: Mapping[str, str], version: str, instance: str, *, flush_s: float = FLUSH_TIMEOUT_S
) -> Tracing:
    """Export spans if the environment enables it.

    A collector that hangs or dies never delays a reconcile: spans wait in a bounded queue of another thread, and the
    oldest are dropped when it is full.

    Args:
        environment: The variables; the SDK reads those of the process.
        version: The version of the service.
        instance: Distinguishes this process from its replicas.
        flush_s: Time limit for sending the last spans, seconds.

    Raises:
        SettingsError: A variable has an invalid value.
    """
    exporters = _exporters(environment)
    if not exporters:
        return Tracing()
    for name in _NUMBERS:
        if (value := environment.get(name, "1")) and not value.strip().isdecimal():
            raise SettingsError(f"{name}: `{value}` is no whole number")
    try:
        provider = _provider(exporters, version, instance)
    except Exception as error:  # the SDK raises anything; the variables are its only input
        raise SettingsError(f"traces cannot be exported as the variables OTEL_* say: {error}") from error
    trace.set_tracer_provider(provider)

    async def stop() -> None:
        # The SDK's own time limits fail while a collector hangs; a daemon thread is abandoned then.
        flush = threading.Thread(target=provider.shutdown, name="flush traces", daemon=True)
        _log.info("sending the last traces", extra={"at_most_s": flush_s})
        flush.start()
        with anyio.move_on_after(flush_s) as deadline:
            while flush.is_alive():  # noqa: ASYNC110 - a thread cannot set an event of the loop
                await anyio.sleep(FLUSH_POLL_S)
        if deadline.cancelled_caught:
            _log.warning("traces dropped: the collector does not take them", extra={"after_s": flush_s})

    return Tracing(stop, 1.0 if environment.get(_SAMPLER) else UNEVENTFUL_SHARE)


def _provider(exporters: Sequence["Callable[[], SpanExporter]"], version: str, instance: str) -> "TracerProvider":
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415 - 0.1 s to load
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above

    ours = {"service.name": SERVICE_NAME, "service.version": version, "service.instance.id": instance}
    theirs = OTELResourceDetector().detect().attributes
    provider = TracerProvider(resource=Resource.create({**ours, **theirs}), shutdown_on_exit=False)
    for make in exporters:
        provider.add_span_processor(BatchSpanProcessor(make()))
    return provider


def _exporters(environment: Mapping[str, str]) -> list["Callable[[], SpanExporter]"]:
    """Return a factory for each requested exporter; empty if tracing is off."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    implied = "otlp" if any(environment.get(name) for name in _ENDPOINTS) else "none"
    exporters: list[Callable[[], SpanExporter]] = []
    for name in (environment.get(_EXPORTER) or implied).split(","):
        match name.strip():
            case "otlp":
                exporters.append(_otlp(environment))
            case "console":
                exporters.append(_console)
            case "none":
                pass
            case unknown:
                raise SettingsError(f"{_EXPORTER}: `{unknown}` is no exporter; write `otlp`, `console` or `none`")
    return exporters


def _otlp(environment: Mapping[str, str]) -> "Callable[[], SpanExporter]":
    variable = next((name for name in _PROTOCOLS if environment.get(name)), "")
    protocol = environment.get(variable, "http/protobuf").strip()
    known: dict[str, Callable[[], SpanExporter]] = {"http/protobuf": _http, "grpc": _grpc}
    if protocol not in known:
        raise SettingsError(f"{variable}: `{protocol}` is not supported; write `http/protobuf` or `grpc`")
    return known[protocol]


def _http() -> "SpanExporter":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - slow to load

    return OTLPSpanExporter()


def _grpc() -> "SpanExporter":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC writes to standard error itself; the exporter logs failures
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - slow to load

    return OTLPSpanExporter()


def _console() -> "SpanExporter":
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415 - slow to load

    return ConsoleSpanExporter()
