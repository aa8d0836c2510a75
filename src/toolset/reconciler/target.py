"""The pass over the target: render what is known, and write only what changed."""

from collections.abc import Mapping
from typing import Final

import msgspec
from opentelemetry import trace

from toolset.core.dialects import kubernaut
from toolset.core.findings import Findings, tools_of
from toolset.core.plan import Apply, Desired, Unchanged, desired, manifest, plan
from toolset.errors import ConflictError
from toolset.model import ConfigMap, Key
from toolset.reconciler.gate import Gate
from toolset.reconciler.ports import Applier, ReconcileEvents, Target
from toolset.reconciler.spans import pass_attributes, tracer
from toolset.runtime.controller import DONE, Result

CONFLICT_RETRY_S: Final = 0.5
"""A newer version is on its way through the watch, which wakes the pass; this is the safety net, seconds."""


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
        with tracer.start_as_current_span("reconcile", attributes=pass_attributes("target", key)):
            if not self._gate.is_open:
                return DONE
            with tracer.start_as_current_span("render"):
                verdicts = self._findings.candidate_verdicts()
                tools = tools_of(verdicts)
                documents = kubernaut.render(tools, self._options.grafana_key_env)
            with tracer.start_as_current_span("plan"):
                wanted = desired(documents, len(tools), self._options.prefix)
                cached = self._config_maps.get(key)
                decision = plan(key, wanted, cached, self._options.prefix)
            if isinstance(decision, Unchanged):
                self._events.unchanged(len(tools))
            elif not await self._apply(key, wanted, cached, decision):
                return Result(requeue_after_s=CONFLICT_RETRY_S)
            else:
                self._events.published(decision, len(tools))
            self._events.settled(verdicts)
            return DONE

    async def _apply(self, key: Key, wanted: Desired, cached: ConfigMap | None, change: Apply) -> bool:
        """Write ``change``; return whether nobody else wrote meanwhile."""
        with tracer.start_as_current_span("apply", kind=trace.SpanKind.CLIENT):
            try:
                body = change.manifest
                if cached and change.by_patch:  # first: the apply takes them off our list, and then nobody would
                    # What is written goes with it, so that a tool whose key moves is never away in between.
                    moved = {key: wanted.data[key] for key in change.written} | dict.fromkeys(change.by_patch)
                    cached = await self._applier.patch(cached, moved)
                    self._config_maps.overlay(cached)
                    body = manifest(key, wanted, cached)
                self._config_maps.overlay(await self._applier.apply(key, body))
            except ConflictError:
                self._events.conflicted()
                return False
        return True
