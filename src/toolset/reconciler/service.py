"""The pass over one Service: detect what it is."""

from collections.abc import Callable

from toolset.core.candidate import Rejected, Verdict
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.inventory import Inventory
from toolset.model import Key, Namespace, Service, namespace_key
from toolset.reconciler.ports import PipelineObserver
from toolset.reconciler.spans import step
from toolset.reconciler.startup_gate import StartupGate
from toolset.runtime.controller import DONE, Result
from toolset.runtime.store import Reader


class ServiceReconciler:
    """Brings the findings in line with one Service."""

    def __init__(
        self,
        services: Reader[Service],
        namespaces: Reader[Namespace],
        inventory: Inventory,
        gate: StartupGate,
        events: PipelineObserver,
        options: DetectionOptions,
        *,
        probe: Callable[[Key], None],
        publish: Callable[[], None],
    ) -> None:
        """Make it.

        Args:
            services: The stored Services.
            namespaces: The stored Namespaces; a Service counts as if its namespace were well while that is unknown.
            inventory: Where verdicts go.
            gate: Told of Services whose first probe nothing waits for.
            events: Told of new verdicts.
            options: How to detect.
            probe: Called with a candidate that needs a first look.
            publish: Called when what is published may have to change.
        """
        self._services = services
        self._namespaces = namespaces
        self._inventory = inventory
        self._gate = gate
        self._events = events
        self._options = options
        self._probe = probe
        self._publish = publish

    async def __call__(self, key: Key) -> Result:
        """Detect what the Service ``key`` is; never raises."""
        service = self._services.get(key)
        published = self._gate.published(key)
        if service is None:
            self._gate.settle(key)
            if self._inventory.forget(key):
                self._changed(key, None)
            return DONE
        with step("detect"):
            verdict = detect(service, self._options, self._namespaces.get(namespace_key(key.namespace)))
        changed = self._inventory.detected(key, verdict, published=published)
        if isinstance(verdict, Rejected) or not published.awaits(verdict):
            self._gate.settle(key)
        if changed and not isinstance(verdict, Rejected):
            self._probe(key)
        if changed:
            self._changed(key, verdict)
        return DONE

    def _changed(self, key: Key, verdict: Verdict | None) -> None:
        self._events.verdict_changed(key, verdict)
        self._publish()
