"""What the passes need of the outside world; adapters fit these by shape."""

from collections.abc import Collection, Mapping
from typing import Literal, Protocol

from toolset.core.candidate import Candidate, Verdict
from toolset.core.health.removal_brake import Hold
from toolset.core.health.thresholds import Outcome
from toolset.core.publishing.plan import Apply
from toolset.core.publishing.publication import Publication
from toolset.model import ConfigMap, Key


class Prober(Protocol):
    """Port: ask a candidate whether it lives."""

    async def probe(self, candidate: Candidate) -> Outcome:
        """Return what one health request found, within the probe timeout once there is room for it. Never raises."""
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

    async def patch(self, current: ConfigMap, data: Mapping[str, str | None]) -> ConfigMap:
        """Write ``data`` over that of ``current`` in one request, ``None`` removes a key; return the result.

        Raises:
            ConflictError: The ConfigMap changed since ``current``.
            ToolsetError: The API server refused or failed.
        """
        ...


class Target(Protocol):
    """Port: the stored ConfigMap, and that of the admin's own."""

    def get(self, key: Key) -> ConfigMap | None:
        """Return one of the two as last seen, or ``None``."""
        ...

    def overlay(self, stored: ConfigMap) -> None:
        """Lay the answer to an own write over the store."""
        ...

    def relist(self) -> None:
        """Have the ConfigMap listed again, consistently: what is stored may be out of date."""
        ...


class Triggers(Protocol):
    """Port: what a reconcile asks for next."""

    def detect(self, key: Key) -> None:
        """Detect once more what the Service ``key`` is: something else that counts has changed."""
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
        """Detection says something new of a Service; ``None`` when it is gone."""

    def probed(self, candidate: Candidate, outcome: Outcome, took_s: float) -> None:
        """A health request ended."""

    def resources_exhausted(self) -> None:
        """A probe found nothing out, because this process lacks descriptors, memory or threads."""

    def composed(self, publication: Publication) -> None:
        """What is to be published has been composed."""

    def published(self, change: Apply, tools: int) -> None:
        """The ConfigMap was written."""

    def unchanged(self, tools: int) -> None:
        """A target pass found nothing to write."""

    def paced(self, services: Collection[Key], wait_s: float) -> None:
        """A write waits, because the ``services`` that it is for change too often; empty when it changes no tool."""

    def overwritten(self, by: tuple[str, ...]) -> None:
        """A repair waits, because others keep overwriting the same keys; empty for another process of this service."""

    def refused(self, why: str) -> None:
        """Nothing is written, because another process of this service keeps the ConfigMap."""

    def conflicted(self) -> None:
        """A write met a newer version."""

    def held(self, hold: Hold) -> None:
        """The removal brake has looked at what was lost, and keeps ``hold.keys`` published."""

    def settled(self, verdicts: Mapping[Key, Verdict]) -> None:
        """The ConfigMap says what is known; ``verdicts`` has the last word on each candidate."""


class EventRecorder(Protocol):
    """Port: tell people, by Kubernetes Events, what changed."""

    def record(
        self,
        kind: Literal["Normal", "Warning"],
        reason: str,
        note: str,
        *,
        related: Key | None = None,
        action: str = "Publish",
    ) -> None:
        """Note something; never waits, never raises. What comes too often is counted or dropped.

        Args:
            kind: Whether people have to act.
            reason: One word, for example ``Unhealthy``.
            note: A sentence, at most 1 kB.
            related: The Service that it is about.
            action: What was being done, one word.
        """
