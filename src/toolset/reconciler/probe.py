"""The pass over one candidate: ask it whether it lives, and decide when to ask again."""

from collections.abc import Callable

import anyio
import msgspec
from opentelemetry import trace

from toolset.core.findings import ALIVE, Findings
from toolset.core.health import Outcome, next_look_s
from toolset.core.verdict import Candidate
from toolset.model import Key
from toolset.reconciler.gate import Gate
from toolset.reconciler.ports import Prober, ReconcileEvents
from toolset.reconciler.spans import pass_attributes, probe_attributes, tracer
from toolset.runtime.controller import DONE, Result


class ProbeOptions(msgspec.Struct, frozen=True):
    """How often candidates are probed.

    Attributes:
        enabled: Without probes every candidate counts as healthy.
        interval_s: Time between two looks at a tool that is well, seconds; jittered by a tenth.
    """

    enabled: bool = True
    interval_s: float = 30.0


class ProbeReconciler:
    """Keeps the health of one candidate current."""

    def __init__(
        self,
        findings: Findings,
        prober: Prober,
        gate: Gate,
        events: ReconcileEvents,
        options: ProbeOptions,
        *,
        publish: Callable[[], None],
        jitter: Callable[[], float],
    ) -> None:
        self._findings = findings
        self._prober = prober
        self._gate = gate
        self._events = events
        self._options = options
        self._publish = publish
        self._jitter = jitter

    async def __call__(self, key: Key) -> Result:
        """Probe the candidate ``key`` once and say when to look again; never raises."""
        with tracer.start_as_current_span("reconcile", attributes=pass_attributes("probe", key)):
            candidate = self._findings.candidate(key)
            if candidate is None:
                return DONE
            before = self._findings.health(key)
            outcome = await self._look(candidate)
            health = self._findings.probed(candidate, outcome)
            if health is None:  # the Service changed meanwhile, and its own pass has asked for another look
                return DONE
            self._gate.settle(key)
            if health.up != before.up:
                self._publish()
            if not self._options.enabled:
                return DONE
            wait_s = next_look_s(health, self._options.interval_s)
            return Result(requeue_after_s=wait_s * (0.95 + 0.1 * self._jitter()))

    async def _look(self, candidate: Candidate) -> Outcome:
        if not self._options.enabled:
            return ALIVE
        started = anyio.current_time()
        with tracer.start_as_current_span("probe", kind=trace.SpanKind.CLIENT, attributes=probe_attributes(candidate)):
            outcome = await self._prober.probe(candidate)
        self._events.probed(candidate, outcome, anyio.current_time() - started)
        return outcome
