"""The spans that passes make, as the SDK has them when they end."""

from collections.abc import Mapping

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import SpanContext

from toolset.adapters import consumer
from toolset.adapters.kube import transport
from toolset.reconciler import spans


class Exported:
    """What passes export inside one test; a provider for the whole process could be set only once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, sampler: Sampler = ALWAYS_ON) -> None:
        self._memory = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        tracer = provider.get_tracer("toolset")
        monkeypatch.setattr(spans, "tracer", tracer)
        monkeypatch.setattr(transport, "_tracer", tracer)
        monkeypatch.setattr(consumer, "_tracer", tracer)

    @property
    def ended(self) -> list[ReadableSpan]:
        """Every span, in the order in which they ended."""
        return [*self._memory.get_finished_spans()]

    @property
    def roots(self) -> list[ReadableSpan]:
        """Every root span, in the order in which they ended."""
        return [span for span in self._memory.get_finished_spans() if span.parent is None]

    def below(self, root: ReadableSpan) -> list[ReadableSpan]:
        """Return the children of ``root``, in the order in which they began."""
        where = context(root)
        found = [
            span for span in self._memory.get_finished_spans() if span.parent and span.parent.span_id == where.span_id
        ]
        return sorted(found, key=lambda span: span.start_time or 0)

    def steps(self, root: ReadableSpan) -> list[str]:
        """Return the names of the children of ``root``."""
        return [span.name for span in self.below(root)]


def context(span: ReadableSpan) -> SpanContext:
    """Return what identifies a span."""
    where = span.get_span_context()
    assert where is not None
    return where


def attributes(span: ReadableSpan) -> Mapping[str, object]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})
