"""The reconciler of one candidate: probe it, and decide when to probe it again."""

import math
from collections.abc import Callable
from typing import Final

import anyio
from opentelemetry.trace import SpanKind

from toolset.core.candidate import Candidate
from toolset.core.health.options import HealthOptions
from toolset.core.health.removal_brake import FEWEST
from toolset.core.health.search import to_request
from toolset.core.health.thresholds import RECHECK_DELAYS_S, Health, Outcome, next_probe_s
from toolset.core.inventory import ALIVE, Inventory
from toolset.model import Key
from toolset.reconciler import spans
from toolset.reconciler.bulkhead import Bulkhead
from toolset.reconciler.ports import PipelineObserver, Prober, Triggers
from toolset.reconciler.startup_gate import StartupGate
from toolset.runtime.controller import DONE, Result
from toolset.runtime.pacing import Paces

PATIENCE: Final = 0.2
"""The share of a probe's time after which a backend counts as slow."""

SWEEP_EVERY_S: Final = sum(RECHECK_DELAYS_S)
"""Minimum time between early probes of all tools, however many begin to fail, seconds."""


class ProbeReconciler:
    """Keeps the health of one candidate current."""

    def __init__(
        self,
        inventory: Inventory,
        prober: Prober,
        gate: StartupGate,
        triggers: Triggers,
        observer: PipelineObserver,
        options: HealthOptions,
        *,
        jitter: Callable[[], float],
    ) -> None:
        """Create it.

        Args:
            inventory: Stores the healths.
            prober: Probes backends.
            gate: Notified of candidates that have their first verdict.
            triggers: Queues follow-up work.
            observer: Notified of every probe.
            options: How often to probe.
            jitter: Returns 0 to 1.
        """
        self._inventory = inventory
        self._prober = prober
        self._gate = gate
        self._triggers = triggers
        self._observer = observer
        self._options = options
        self._jitter = jitter
        self._bulkhead = Bulkhead(options.concurrency, options.timeout * PATIENCE, triggers.probe, inventory.shares)
        self._swept_s = {True: -math.inf, False: -math.inf}  # keyed by whether those were trusted
        self._sweeps: Paces[str] = Paces()

    async def __call__(self, key: Key) -> Result:
        """Probe the candidate ``key`` once and return when to probe it again; never raises."""
        candidate = self._inventory.candidate(key)
        if candidate is None:
            self._bulkhead.forget(key)
            return DONE
        before, began_s = self._inventory.health(key), anyio.current_time()
        outcome = await self._look(candidate)
        now_s = anyio.current_time()
        health = self._inventory.probed(candidate, outcome, began_s=began_s, now_s=now_s)
        if self._inventory.candidate(key) is None:  # removed meanwhile: it will not be probed again
            self._bulkhead.forget(key)
            return DONE
        if health is not None and outcome.retry_after_s:
            self._observer.resources_exhausted()
            return Result(requeue_after_s=outcome.retry_after_s)
        if health is None or outcome.deferred:  # the change, or the lanes, will queue another probe
            return DONE
        return self._conclude(key, before, health)

    def _conclude(self, key: Key, before: Health, health: Health) -> Result:
        self._gate.settle(key)
        if _published_by(health) != _published_by(before) or self._inventory.loss_waits:
            self._triggers.publish()
        if not self._options.enabled:
            return DONE
        if before.up and health.failures >= min(len(RECHECK_DELAYS_S), self._options.fall):
            self._probe_substitutes(key, health)
            self._probe_the_others(key.namespace, health)
        wait_s = next_probe_s(health, self._options.interval)
        return Result(requeue_after_s=wait_s * (0.95 + 0.1 * self._jitter()))

    def _probe_substitutes(self, key: Key, failing: Health) -> None:
        """Check whether another Service still leads to the backend of ``key``, before that one is lost."""
        for other in self._inventory.substitutes(key):
            health = self._inventory.health(other)
            if health.up and not health.doubtful and health.probed_s < failing.began_s:
                self._triggers.probe(other)

    def _probe_the_others(self, namespace: str, failing: Health) -> None:
        """Check whether a tool that is about to be lost fails alone, before it is lost.

        Without this the brake would know only after the next regular probes of the others, up to an interval later.
        It compares trusted tools with trusted ones only, and the others likewise; so does this. A namespace whose tools
        fail repeatedly is no sign of a common cause, and triggers probes of the others with growing pauses.
        """
        trusted, now_s = self._inventory.shares.trusted(namespace), anyio.current_time()
        if failing.probed_s < self._swept_s[trusted] + SWEEP_EVERY_S or self._sweeps.wait_s(namespace, now_s):
            return
        healths = self._inventory.healths(trusted=trusted)
        if sum(1 for health in healths.values() if health.up) < FEWEST - 1:
            return
        self._swept_s[trusted] = failing.probed_s
        self._sweeps.acted([namespace], now_s)
        for key, health in healths.items():
            if health.up and not health.doubtful and health.probed_s < failing.began_s:
                self._triggers.probe(key)

    async def _look(self, candidate: Candidate) -> Outcome:
        if not self._options.enabled:
            return ALIVE
        return await self._bulkhead.run(candidate.key, lambda: self._ask(candidate))

    async def _ask(self, candidate: Candidate) -> Outcome:
        started = anyio.current_time()
        asked = to_request(candidate, self._inventory.health(candidate.key), self._options)
        with spans.step("probe", SpanKind.CLIENT, spans.probe_attributes(asked)) as step:
            outcome = await self._prober.probe(asked)
            step.set_attributes(spans.outcome_attributes(outcome, asked))
        if not outcome.deferred and self._inventory.candidate(candidate.key) is not None:
            took_s = anyio.current_time() - started
            if took_s >= spans.SLOW_S or not (outcome.alive or self._inventory.health(candidate.key).failures):
                spans.keep()  # before it is reported, so that logs and metrics link to it
            self._observer.probed(candidate, outcome, took_s)
        return outcome


def _published_by(health: Health) -> tuple[object, ...]:
    """Return the parts of ``health`` that decide what is published."""
    return health.up, health.variant, health.unauthorized, health.wants_tenant, health.backend_id
