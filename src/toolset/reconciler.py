"""One pass over a Service, one over a candidate's health, one over the target; and the ports they need.

A Service pass is pure work and never waits; a probe pass waits for a backend; a target pass waits for the API
server. Each has a queue of its own, so that a slow backend delays neither detection nor publication.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import anyio
import msgspec
from opentelemetry import trace

from toolset.core.detector import DetectionOptions, detect
from toolset.core.dialects import kubernaut
from toolset.core.findings import ALIVE, Findings
from toolset.core.health import Outcome, next_look_s
from toolset.core.plan import Apply, Desired, Unchanged, desired, manifest, plan
from toolset.core.verdict import Candidate, Rejected, Verdict
from toolset.errors import ConflictError
from toolset.model import ConfigMap, Key, Service
from toolset.runtime.controller import DONE, Result
from toolset.runtime.store import Reader

CONFLICT_RETRY_S: Final = 0.5
"""A newer version is on its way through the watch, which wakes the pass; this is the safety net, seconds."""

_tracer = trace.get_tracer("toolset")


class Prober(Protocol):
    """Port: ask a candidate whether it lives."""

    async def probe(self, candidate: Candidate) -> Outcome:
        """Return what one health request found, within the probe timeout. Never raises."""
        ...


class Applier(Protocol):
    """Port: write the ConfigMap."""

    async def apply(self, target: Key, manifest: bytes) -> ConfigMap:
        """Apply ``manifest`` under our field manager, by force; return the result.

        Raises:
            ConflictError: The ConfigMap changed since the manifest was made; a newer version comes by the watch.
            ToolsetError: The API server refused or failed.
        """
        ...

    async def remove(self, current: ConfigMap, keys: Iterable[str]) -> ConfigMap:
        """Remove data ``keys`` from ``current``; return the result.

        Raises:
            ConflictError: The ConfigMap changed since ``current``.
            ToolsetError: The API server refused or failed.
        """
        ...


class Target(Reader[ConfigMap], Protocol):
    """Port: the stored ConfigMap."""

    def overlay(self, stored: ConfigMap) -> None:
        """Lay the answer to an own write over the store."""
        ...


class ReconcileEvents(Protocol):
    """What the passes tell of themselves."""

    def verdict_changed(self, key: Key, verdict: Verdict | None) -> None:
        """Detection says something new of a Service; ``None`` when it is gone."""

    def probed(self, candidate: Candidate, outcome: Outcome, took_s: float) -> None:
        """A health request ended."""

    def published(self, change: Apply, tools: int) -> None:
        """The ConfigMap was written."""

    def unchanged(self, tools: int) -> None:
        """A target pass found nothing to write."""

    def conflicted(self) -> None:
        """A write met a newer version."""


class Gate:
    """Holds the first write back until every initial candidate has a verdict, or time is up.

    Until it opens, whoever reads the findings would publish half the truth. Time being up excuses slow backends only:
    every initial Service has been looked at before it opens, however many there are.
    """

    def __init__(self, on_open: Callable[[], None]) -> None:
        self._on_open = on_open
        self._pending: set[Key] | None = None
        self._opened = anyio.Event()
        self._published: frozenset[str] = frozenset()
        self._unseen: set[Key] = set()
        self._time_is_up = False

    @property
    def is_open(self) -> bool:
        """Whether targets may be written."""
        return self._opened.is_set()

    def begin(self, keys: Iterable[Key], published: frozenset[str]) -> None:
        """Start to wait for a verdict on each of ``keys``.

        Args:
            keys: Every Service of the first complete list.
            published: URLs in the ConfigMap as found; their candidates start as up.
        """
        self._pending = set(keys)
        self._unseen = set(self._pending)
        self._published = published
        self._open_when_settled()

    def published(self, key: Key) -> frozenset[str]:
        """Return what stood in the ConfigMap, for the first look at ``key``; what comes later has to prove itself."""
        if key not in self._unseen:
            return frozenset()
        self._unseen.discard(key)
        self._open_when_settled()
        return self._published

    def settle(self, key: Key) -> None:
        """Note that ``key`` has its verdict."""
        if self._pending is not None:
            self._pending.discard(key)
            self._open_when_settled()

    def stop_waiting_for_probes(self) -> None:
        """Open it as soon as every initial Service has been looked at: time is up."""
        self._time_is_up = True
        self._open_when_settled()

    async def wait_opened(self) -> None:
        """Return once it is open."""
        await self._opened.wait()

    def _open_when_settled(self) -> None:
        settled = not self._pending or (self._time_is_up and not self._unseen)
        if settled and not self.is_open:
            self._opened.set()
            self._pending = None
            self._on_open()


class ServiceReconciler:
    """Brings the findings in line with one Service."""

    def __init__(
        self,
        services: Reader[Service],
        findings: Findings,
        gate: Gate,
        events: ReconcileEvents,
        options: DetectionOptions,
        *,
        probe: Callable[[Key], None],
        publish: Callable[[], None],
    ) -> None:
        """Make it.

        Args:
            services: The stored Services.
            findings: Where verdicts go.
            gate: Told of Services that need no probe.
            events: Told of new verdicts.
            options: How to detect.
            probe: Called with a candidate that needs a first look.
            publish: Called when what is published may have to change.
        """
        self._services = services
        self._findings = findings
        self._gate = gate
        self._events = events
        self._options = options
        self._probe = probe
        self._publish = publish

    async def __call__(self, key: Key) -> Result:
        """Detect what the Service ``key`` is; never raises."""
        with _tracer.start_as_current_span("reconcile", attributes=_attributes("service", key)):
            service = self._services.get(key)
            published = self._gate.published(key)
            if service is None:
                self._gate.settle(key)
                if self._findings.forget(key):
                    self._changed(key, None)
                return DONE
            with _tracer.start_as_current_span("detect"):
                verdict = detect(service, self._options)
            changed = self._findings.detected(key, verdict, published=published)
            if isinstance(verdict, Rejected):
                self._gate.settle(key)
            elif changed:
                self._probe(key)
            if changed:
                self._changed(key, verdict)
            return DONE

    def _changed(self, key: Key, verdict: Verdict | None) -> None:
        self._events.verdict_changed(key, verdict)
        self._publish()


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
        with _tracer.start_as_current_span("reconcile", attributes=_attributes("probe", key)):
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
        with _tracer.start_as_current_span(
            "probe", kind=trace.SpanKind.CLIENT, attributes=_probe_attributes(candidate)
        ):
            outcome = await self._prober.probe(candidate)
        self._events.probed(candidate, outcome, anyio.current_time() - started)
        return outcome


class TargetOptions(msgspec.Struct, frozen=True):
    """What the settings say about publishing.

    Attributes:
        prefix: The prefix of our annotations.
        grafana_key_env: For ``namespace/name`` of a Grafana, the reader's variable with its API key.
    """

    prefix: str = "kubernaut.io"
    grafana_key_env: Mapping[str, str] = {}


class TargetReconciler:
    """Brings the ConfigMap in line with the findings; no request at all when nothing differs."""

    def __init__(
        self,
        findings: Findings,
        config_maps: Target,
        applier: Applier,
        gate: Gate,
        events: ReconcileEvents,
        options: TargetOptions,
    ) -> None:
        self._findings = findings
        self._config_maps = config_maps
        self._applier = applier
        self._gate = gate
        self._events = events
        self._options = options

    async def __call__(self, key: Key) -> Result:
        """Publish what is known to the ConfigMap ``key``.

        Raises:
            ToolsetError: The API server refused or failed; a conflict is handled here.
        """
        with _tracer.start_as_current_span("reconcile", attributes=_attributes("target", key)):
            if not self._gate.is_open:
                return DONE
            with _tracer.start_as_current_span("render"):
                tools = self._findings.tools()
                documents = kubernaut.render(tools, self._options.grafana_key_env)
            with _tracer.start_as_current_span("plan"):
                wanted = desired(documents, len(tools), self._options.prefix)
                cached = self._config_maps.get(key)
                decision = plan(key, wanted, cached, self._options.prefix)
            if isinstance(decision, Unchanged):
                self._events.unchanged(len(tools))
                return DONE
            return await self._apply(key, wanted, cached, decision, len(tools))

    async def _apply(self, key: Key, wanted: Desired, cached: ConfigMap | None, change: Apply, tools: int) -> Result:
        with _tracer.start_as_current_span("apply", kind=trace.SpanKind.CLIENT):
            try:
                body = change.manifest
                if cached and change.by_patch:  # first: the apply takes them off our list, and then nobody would
                    cached = await self._applier.remove(cached, change.by_patch)
                    self._config_maps.overlay(cached)
                    body = manifest(key, wanted, cached)
                self._config_maps.overlay(await self._applier.apply(key, body))
            except ConflictError:
                self._events.conflicted()
                return Result(requeue_after_s=CONFLICT_RETRY_S)
        self._events.published(change, tools)
        return DONE


def _attributes(controller: str, key: Key) -> dict[str, str]:
    kind = "configmap" if controller == "target" else "service"
    return {
        "toolset.controller": controller,
        "k8s.namespace.name": key.namespace,
        f"k8s.{kind}.name": key.name,
    }


def _probe_attributes(candidate: Candidate) -> dict[str, str | int]:
    return {
        "toolset.type": candidate.type,
        "http.request.method": "GET",
        "server.address": candidate.host,
        "server.port": candidate.port,
    }
