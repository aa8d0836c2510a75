"""Reconcile one Service: detect what it is."""

from collections.abc import Mapping

from toolset.core.candidate import Candidate, Rejected, Verdict
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.inventory import Inventory
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
        """Make it.

        Args:
            services: The stored Services.
            namespaces: The stored Namespaces; an unknown one excludes no Service.
            inventory: Where verdicts go.
            gate: Settled by Services whose first probe nothing waits for.
            triggers: What to reconcile next.
            observer: Told of new verdicts.
            options: How to detect.
            static: The candidates that the settings list; they are there whatever the cluster holds.
        """
        self._services = services
        self._namespaces = namespaces
        self._inventory = inventory
        self._gate = gate
        self._triggers = triggers
        self._observer = observer
        self._options = options
        self._static = static

    async def __call__(self, key: Key) -> Result:
        """Detect what the Service ``key`` is; never raises."""
        verdict = self._static.get(key) or self._detect(key)
        published = self._gate.published(key)
        if verdict is None:
            self._gate.settle(key)
            if self._inventory.forget(key):
                self._changed(key, None)
        else:
            changed = self._inventory.detected(key, verdict, published=published)
            if isinstance(verdict, Rejected) or not (verdict.trusted and published.awaits(verdict)):
                self._gate.settle(key)  # no first write waits for a tool that is not trusted
            if changed and not isinstance(verdict, Rejected):
                self._triggers.probe(key)
            if changed:
                self._changed(key, verdict)
        self._observer.service_reconciled(key)
        return DONE

    def _detect(self, key: Key) -> Verdict | None:
        """Return the verdict on the Service ``key``; ``None`` when there is none."""
        service = self._services.get(key)
        if service is None:
            return None
        with step("detect"):
            namespace = self._namespaces.get(namespace_key(key.namespace))
            approved = self._inventory.is_approved(key)
            return detect(service, self._options, namespace, approved=approved)

    def _changed(self, key: Key, verdict: Verdict | None) -> None:
        self._observer.verdict_changed(key, verdict)
        self._triggers.publish()
