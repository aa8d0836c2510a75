"""Reconcile one Service: detect what it is."""

from collections.abc import Mapping

from toolset.core.candidate import Candidate, Verdict
from toolset.core.detection.detect import DetectionOptions, detect, detect_further
from toolset.core.inventory import Inventory
from toolset.core.overrides.baseline import Published
from toolset.model import Key, Namespace, Service, namespace_key
from toolset.reconciler.ports import PipelineObserver, Triggers
from toolset.reconciler.spans import step
from toolset.reconciler.startup_gate import StartupGate
from toolset.runtime.controller import DONE, Result
from toolset.runtime.store import Reader


class ServiceReconciler:
    """Brings the inventory in line with one Service."""

    def __init__(
        self,
        services: Reader[Service],
        namespaces: Reader[Namespace],
        inventory: Inventory,
        gate: StartupGate,
        triggers: Triggers,
        observer: PipelineObserver,
        options: DetectionOptions,
        static: Mapping[Key, Candidate] = {},
    ) -> None:
        """Create it.

        Args:
            services: The stored Services.
            namespaces: The stored Namespaces; an unknown one excludes no Service.
            inventory: Stores the verdicts.
            gate: Settled by Services whose first probe need not be awaited.
            triggers: Queues follow-up work.
            observer: Notified of new verdicts.
            options: How to detect.
            static: The candidates in the settings, independent of the cluster.
        """
        self._services = services
        self._namespaces = namespaces
        self._inventory = inventory
        self._gate = gate
        self._triggers = triggers
        self._observer = observer
        self._options = options
        self._static = static
        self._further: dict[Key, tuple[Key, ...]] = {}  # by Service, its tools after the first one

    async def __call__(self, key: Key) -> Result:
        """Detect what the Service ``key`` is; never raises."""
        published = self._gate.published(key)
        verdict = self._static.get(key) or self._detect(key)
        self._note(key, verdict, published)
        if isinstance(verdict, Candidate) or key in self._further:
            self._note_further(key, verdict, published)
        if not isinstance(verdict, Candidate) or not (verdict.trusted and published.awaits(verdict)):
            self._gate.settle(key)  # no first write waits for a tool that is not trusted
        self._observer.service_reconciled(key)
        return DONE

    def _detect(self, key: Key) -> Verdict | None:
        """Return what the Service ``key`` is; ``None`` if it does not exist."""
        service = self._services.get(key)
        if service is None:
            return None
        with step("detect"):
            namespace = self._namespaces.get(namespace_key(key.namespace))
            return detect(service, self._options, namespace, approved=self._inventory.is_approved(key))

    def _note_further(self, key: Key, first: Verdict | None, published: Published) -> None:
        """Record the further tools of a Service, and forget those that it no longer has."""
        service = self._services.get(key)
        found: dict[Key, Candidate] = {}
        if service is not None and isinstance(first, Candidate) and key not in self._static:
            found = {each.key: each for each in detect_further(service, first, self._options)}
        known = self._further.pop(key, ())
        for each in (*found, *(each for each in known if each not in found)):
            self._note(each, found.get(each), published)
        if found:
            self._further[key] = tuple(found)

    def _note(self, key: Key, verdict: Verdict | None, published: Published) -> None:
        """Record one verdict, and queue the follow-up work if it is new."""
        if verdict is None:
            if self._inventory.forget(key):
                self._changed(key, None)
        elif self._inventory.detected(key, verdict, published=published):
            if isinstance(verdict, Candidate):
                self._triggers.probe(key)
            self._changed(key, verdict)

    def _changed(self, key: Key, verdict: Verdict | None) -> None:
        self._observer.verdict_changed(key, verdict)
        self._triggers.publish()
