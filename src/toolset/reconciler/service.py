"""Reconcile one Service: detect what it is."""

from collections.abc import Mapping

from toolset.core.candidate import Candidate, Rejected, Verdict
from toolset.core.detection.detect import DetectionOptions, detect, detect_further
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
        self._tools: dict[Key, tuple[Key, ...]] = {}  # by Service with further tools, the keys of all

    async def __call__(self, key: Key) -> Result:
        """Detect what the Service ``key`` is; never raises."""
        published = self._gate.published(key)
        verdicts = self._verdicts(key)
        for known in self._tools.pop(key, (key,)):
            if known not in verdicts and self._inventory.forget(known):
                self._changed(known, None)
        if len(verdicts) > 1:
            self._tools[key] = tuple(verdicts)
        for each, verdict in verdicts.items():
            changed = self._inventory.detected(each, verdict, published=published)
            if changed and not isinstance(verdict, Rejected):
                self._triggers.probe(each)
            if changed:
                self._changed(each, verdict)
        first = verdicts.get(key)
        if first is None or isinstance(first, Rejected) or not (first.trusted and published.awaits(first)):
            self._gate.settle(key)  # no first write waits for a tool that is not trusted
        self._observer.service_reconciled(key)
        return DONE

    def _verdicts(self, key: Key) -> dict[Key, Verdict]:
        """Return the verdict on the Service ``key`` and its further tools, by key; empty when there is none."""
        if (static := self._static.get(key)) is not None:
            return {key: static}
        service = self._services.get(key)
        if service is None:
            return {}
        with step("detect"):
            namespace = self._namespaces.get(namespace_key(key.namespace))
            approved = self._inventory.is_approved(key)
            verdict = detect(service, self._options, namespace, approved=approved)
            verdicts = {key: verdict}
            if isinstance(verdict, Candidate):
                verdicts |= {each.key: each for each in detect_further(service, verdict, self._options)}
        return verdicts

    def _changed(self, key: Key, verdict: Verdict | None) -> None:
        self._observer.verdict_changed(key, verdict)
        self._triggers.publish()
