"""The ports of the reconcilers to the outside world; adapters implement these protocols."""

from collections.abc import Collection, Mapping
from typing import Literal, Protocol

from toolset.core.candidate import Candidate, Verdict
from toolset.core.health.removal_brake import Hold
from toolset.core.health.thresholds import Outcome
from toolset.core.publishing.plan import Apply
from toolset.core.publishing.publication import Publication
from toolset.model import ConfigMap, Key


class Prober(Protocol):
    """Port: probe a candidate."""

    async def probe(self, candidate: Candidate) -> Outcome:
        """Return the outcome of one probe, within the probe timeout once there is a free slot. Never raises."""
        ...


class Applier(Protocol):
    """Port: write the ConfigMap."""

    async def apply(self, target: Key, manifest: bytes) -> ConfigMap:
        """Apply ``manifest`` with this service's field manager, by force; return the result.

        Raises:
            ConflictError: The ConfigMap changed since the manifest was built; a newer version arrives by the watch.
            ToolsetError: The API server refused or failed.
        """
        ...

    async def patch(self, current: ConfigMap, data: Mapping[str, str | None]) -> ConfigMap:
        """Merge ``data`` into that of ``current`` in one request, ``None`` removes a key; return the result.

        Raises:
            ConflictError: The ConfigMap changed since ``current``.
            ToolsetError: The API server refused or failed.
        """
        ...


class Target(Protocol):
    """Port: the stored target ConfigMap, and the separate one for overrides."""

    def get(self, key: Key) -> ConfigMap | None:
        """Return one of the two as last seen, or ``None``."""
        ...

    def overlay(self, stored: ConfigMap) -> None:
        """Overlay the response to a write of this process on the store."""
        ...

    def relist(self) -> None:
        """Request a consistent list of the ConfigMap: the stored one may be out of date."""
        ...


class Triggers(Protocol):
    """Port: the follow-up work of a reconcile."""

    def detect(self, key: Key) -> None:
        """Detect the Service ``key`` again: something else that matters has changed."""
        ...

    def probe(self, key: Key) -> None:
        """Probe the candidate ``key`` now."""
        ...

    def publish(self) -> None:
        """Reconcile the ConfigMap: what is published may have to change."""
        ...


class PipelineObserver(Protocol):
    """What the reconcilers report."""

    def service_reconciled(self, key: Key) -> None:
        """A Service was reconciled, whether or not anything changed."""

    def verdict_changed(self, key: Key, verdict: Verdict | None) -> None:
        """The verdict on a Service changed; ``None`` if it was deleted."""

    def probed(self, candidate: Candidate, outcome: Outcome, took_s: float) -> None:
        """A probe ended."""

    def resources_exhausted(self) -> None:
        """A probe has no result, because this process lacks descriptors, memory or threads."""

    def composed(self, publication: Publication) -> None:
        """The content to publish has been composed."""

    def published(self, change: Apply, tools: int, editors: tuple[str, ...]) -> None:
        """The ConfigMap was written; ``editors`` made the edits that the write reverts, if it does."""

    def unchanged(self, tools: int) -> None:
        """A reconcile of the target found nothing to write."""

    def paced(self, services: Collection[Key], wait_s: float) -> None:
        """A write is delayed, because its ``services`` change too often; empty if it changes no tool."""

    def overwritten(self, by: tuple[str, ...]) -> None:
        """A repair is delayed, because others keep overwriting the same keys; empty for processes of this service."""

    def refused(self, why: str) -> None:
        """Nothing is written, because another process of this service owns the ConfigMap."""

    def conflicted(self) -> None:
        """A write conflicted with a newer version."""

    def held(self, hold: Hold) -> None:
        """The removal brake has checked the losses, and keeps ``hold.keys`` published."""

    def settled(self, verdicts: Mapping[Key, Verdict]) -> None:
        """The ConfigMap is up to date; ``verdicts`` has the final verdict on each candidate."""


class EventRecorder(Protocol):
    """Port: record changes as Kubernetes Events."""

    def record(
        self,
        kind: Literal["Normal", "Warning"],
        reason: str,
        note: str,
        *,
        related: Key | None = None,
        action: str = "Publish",
    ) -> None:
        """Record an Event; never waits, never raises. Frequent ones are counted or dropped.

        Args:
            kind: Whether action is required.
            reason: One word, for example ``Unhealthy``.
            note: A sentence, at most 1 kB.
            related: The Service that it is about.
            action: What was being done, one word.
        """
