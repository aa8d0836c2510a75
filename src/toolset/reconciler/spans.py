"""Spans of a reconcile: its steps, whether it changed something, and its result.

A reconcile becomes a trace once it turns out to be relevant, and most reconciles change nothing. Until then its steps
are only recorded, which costs a few microseconds, while two spans of the SDK cost 25; without tracing, almost nothing.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from time import time_ns
from typing import Final, Protocol

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode

from toolset.core.candidate import Candidate
from toolset.core.health.thresholds import Failure, Outcome
from toolset.errors import ToolsetError
from toolset.model import Key

Attributes = Mapping[str, str | int | float | bool]

SLOW_S: Final = 1.0
"""A reconcile that takes this long is traced even if it changed nothing; seconds."""

tracer: Final = trace.get_tracer("toolset")
_under_way: Final[ContextVar["ReconcileTrace | None"]] = ContextVar("pass under way", default=None)


class Step(Protocol):
    """A step of a reconcile."""

    def set_attributes(self, attributes: Attributes) -> None:
        """Set further attributes."""
        ...


class _Noted:
    """A step of a reconcile that is not a trace yet."""

    def __init__(self, name: str, kind: SpanKind, attributes: Attributes) -> None:
        self._name = name
        self._kind = kind
        self._attributes = dict(attributes)
        self._began_ns = time_ns()
        self._ended_ns = self._began_ns
        self._error = ""

    def set_attributes(self, attributes: Attributes) -> None:
        self._attributes.update(attributes)

    @contextmanager
    def measured(self) -> Generator[Step]:
        """Record when the block ends, and what it raises."""
        try:
            yield self
        except Exception as error:
            self._error = type(error).__name__
            raise
        finally:
            self._ended_ns = time_ns()

    def export(self) -> None:
        """Make it a span below the current one."""
        span = tracer.start_span(self._name, kind=self._kind, attributes=self._attributes, start_time=self._began_ns)
        if self._error:
            _fail(span, self._error)
        span.end(self._ended_ns)


class ReconcileTrace:
    """One reconcile that may become a trace."""

    def __init__(self, describe: Callable[[], Attributes], links: Sequence[Link] = ()) -> None:
        """Start it.

        Args:
            describe: Returns the attributes of its root span.
            links: Links to the reconciles that queued it.
        """
        self._describe = describe
        self._links = links
        self._began_ns = time_ns()
        self._noted: list[_Noted] = []
        self._root: Span | None = None
        self._outside: Token[Context] | None = None

    @contextmanager
    def under_way(self) -> Generator[None]:
        """Make this the current reconcile for the functions of this module, inside the block."""
        before = _under_way.set(self)
        try:
            yield
        finally:
            _under_way.reset(before)
            if self._outside is not None:
                context.detach(self._outside)
            if self._root is not None:
                self._root.end()

    def step(self, name: str, kind: SpanKind, attributes: Attributes) -> AbstractContextManager[Step]:
        """Return a context manager for one step."""
        if self._root is not None:
            return tracer.start_as_current_span(name, kind=kind, attributes=attributes, record_exception=False)
        noted = _Noted(name, kind, attributes)
        self._noted.append(noted)
        return noted.measured()

    def keep(self) -> Span:
        """Make it a trace from its start on; return the root span, which becomes the current span.

        Call it between two steps only: a step that has begun would not be part of it.
        """
        if self._root is None:
            self._root = tracer.start_span(
                "reconcile", Context(), attributes=self._describe(), links=self._links, start_time=self._began_ns
            )
            self._outside = context.attach(trace.set_span_in_context(self._root))
            for noted in self._noted:
                noted.export()
        return self._root

    def ended(self, result: str, took_s: float) -> None:
        """Record its result."""
        if took_s >= SLOW_S:
            self.keep()
        if self._root is not None:
            self._root.set_attribute("toolset.result", result)

    def exemplar(self) -> dict[str, str] | None:
        """Return the exemplar labels that link a series to this reconcile; ``None`` if it is not exported."""
        where = self._root.get_span_context() if self._root is not None else None
        if where is None or not where.trace_flags.sampled:
            return None
        return {"trace_id": trace.format_trace_id(where.trace_id), "span_id": trace.format_span_id(where.span_id)}


_NO_STEP: Final[AbstractContextManager[Step]] = nullcontext(trace.INVALID_SPAN)


def step(
    name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None
) -> AbstractContextManager[Step]:
    """Return a context manager for one step of the current reconcile."""
    current = _under_way.get()
    return current.step(name, kind, attributes or {}) if current is not None else _NO_STEP


def keep() -> None:
    """Mark the current reconcile to be traced; call it between two of its steps."""
    if (current := _under_way.get()) is not None:
        current.keep()


def changed() -> SpanContext | None:
    """Record that the current reconcile has changed something; return the link to its trace, if there is one."""
    if (current := _under_way.get()) is None:
        return None
    root = current.keep()
    root.set_attribute("toolset.changed", True)
    where = root.get_span_context()
    return where if where.trace_flags.sampled else None


def failed(error: Exception) -> None:
    """Record what the current reconcile raised; a bug with its traceback."""
    if (current := _under_way.get()) is not None:
        root = current.keep()
        _fail(root, type(error).__name__, str(error))
        if not isinstance(error, ToolsetError | TimeoutError):
            root.record_exception(error)


def ended(result: str, took_s: float) -> None:
    """Record the result and duration of the current reconcile; a slow one is traced."""
    if (current := _under_way.get()) is not None:
        current.ended(result, took_s)


def exemplar() -> dict[str, str] | None:
    """Return the exemplar labels that link a series to the current reconcile; ``None`` if it is not exported."""
    current = _under_way.get()
    return current.exemplar() if current is not None else None


def object_attributes(controller: str, key: Key) -> dict[str, str]:
    """Return the attributes of the object that ``controller`` reconciles, by OpenTelemetry's Kubernetes names."""
    kind = "configmap" if controller in {"target", "notify"} else "service"
    return {"k8s.namespace.name": key.namespace, f"k8s.{kind}.name": key.name}


def reconcile_attributes(controller: str, key: Key) -> dict[str, str]:
    """Return the attributes that identify one reconcile: its controller and its object."""
    return {"toolset.controller": controller, **object_attributes(controller, key)}


def probe_attributes(candidate: Candidate) -> dict[str, str | int]:
    """Return the attributes that distinguish health requests, by OpenTelemetry's names for HTTP."""
    return {
        "toolset.type": candidate.type,
        "http.request.method": "GET",
        "url.full": f"{candidate.url}{candidate.check.path}",
        "server.address": candidate.host,
        "server.port": candidate.port,
    }


def outcome_attributes(outcome: Outcome, candidate: Candidate) -> dict[str, str | int]:
    """Return the result of the probe of ``candidate``, by OpenTelemetry's names for HTTP; no text from the backend."""
    attributes: dict[str, str | int] = {"toolset.probe.outcome": outcome.word}
    if outcome.status:
        attributes["http.response.status_code"] = outcome.status
    if not outcome.alive:
        attributes["error.type"] = str(outcome.status) if outcome.failure is Failure.STATUS else outcome.word
    if outcome.requests > 1:
        attributes["toolset.probe.variants"] = outcome.requests
    if outcome.variant is not None:
        attributes["toolset.probe.variant"] = candidate.at(outcome.variant).url
        attributes["toolset.probe.how"] = outcome.how
    return attributes


def _fail(span: Span, kind: str, message: str = "") -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, message[:512] or None))
