"""Reconcile one Service: detect what it is."""

from toolset.core.candidate import Rejected, Verdict
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
        """
        self._services = services
        self._namespaces = namespaces
        self._inventory = inventory
        self._gate = gate
        self._triggers = triggers
        self._observer = observer
        self._options = options

    async def __call__(self, key: Key) -> Result:
        """Detect what the Service ``key`` is; never raises."""
        service = self._services.get(key)
        published = self._gate.published(key)
        if service is None:
            self._gate.settle(key)
            if self._inventory.forget(key):
                self._changed(key, None)
        else:
            with step("detect"):
                namespace = self._namespaces.get(namespace_key(key.namespace))
                approved = self._inventory.is_approved(key)
                verdict = detect(service, self._options, namespace, approved=approved)
            changed = self._inventory.detected(key, verdict, published=published)
            if isinstance(verdict, Rejected) or not (verdict.trusted and published.awaits(verdict)):
                self._gate.settle(key)  # no first write waits for a tool that is not trusted
            if changed and not isinstance(verdict, Rejected):
                self._triggers.probe(key)
            if changed:
                self._changed(key, verdict)
        self._observer.service_reconciled(key)
        return DONE

    def _changed(self, key: Key, verdict: Verdict | None) -> None:
        self._observer.verdict_changed(key, verdict)
        self._triggers.publish()
