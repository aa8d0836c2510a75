"""The reconcilers' observer: turns results into log lines, metrics and Events."""

import logging
import math
from collections.abc import Callable, Collection, Container, Mapping
from datetime import datetime, timezone
from typing import Final

import anyio

from toolset.adapters.metrics import Metrics, type_label
from toolset.core.candidate import Candidate, Reason, Rejected, Verdict
from toolset.core.health.removal_brake import Hold
from toolset.core.health.thresholds import Outcome
from toolset.core.overrides.baseline import Published
from toolset.core.publishing.plan import Apply
from toolset.core.publishing.publication import Publication
from toolset.core.status.history import History
from toolset.model import Key
from toolset.reconciler import spans
from toolset.reconciler.ports import EventRecorder
from toolset.telemetry import event_notes
from toolset.telemetry.local_resources import LocalResources
from toolset.telemetry.service_status import ServiceStatusLog, service_fields

_log: Final = logging.getLogger("toolset")
STAYED_S: Final = 10.0
"""How long a repair must last until the ConfigMap counts as no longer overwritten, seconds."""
_PROBLEM_LIMIT: Final = 768  # characters
_NAMED: Final = 10  # keys in a line or a note
_MANAGERS: Final = 3  # of 128 characters each, so that they fit a note


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class ReconcileLog:
    """Logs changes, and measures every reconcile."""

    def __init__(
        self,
        metrics: Metrics,
        recorder: EventRecorder,
        resources: LocalResources | None = None,
        history: History | None = None,
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Create the log.

        Args:
            metrics: The series.
            recorder: Records Kubernetes Events.
            resources: Counts what this process lacks; ``None`` for one that nothing else reads.
            history: Remembers what the status shows; ``None`` for one that nothing else reads.
            now: The wall clock.
        """
        self._metrics = metrics
        self._now = now
        self._history = history or History(Key("", ""))
        self.resources_exhausted = (resources or LocalResources(metrics)).exhausted
        self._verdicts = ServiceStatusLog(metrics, recorder)
        self._recorder = recorder
        self._changed_at: dict[Key, float] = {}  # of Services not reconciled since
        self._awaited: dict[Key, float] = {}
        self._failing: dict[Key, str] = {}
        self._is_large = False
        self._blocked: tuple[str, ...] = ()
        self._overrides_problem = ""
        self._withheld = ""
        self._notes: Mapping[Key, str] = {}
        self._wrote = False
        self._written_at = -math.inf
        self._refused = ""
        self._overwritten_by = ""
        self._delayed: set[Key] = set()  # Services whose changes wait

    def begin(self, services: Container[Key], published: Published) -> None:
        """Start the reports of a new pipeline; what an earlier one reported is not repeated.

        Args:
            services: The existing Services.
            published: What the ConfigMap publishes.
        """
        self._verdicts.resume(published)
        self._history.begin(published)
        for key in self._verdicts.known():
            if key.service not in services:
                self.verdict_changed(key, None)

    def close(self) -> None:
        """Reset the series: this replica no longer leads."""
        self._verdicts.close()
        self._metrics.held.set(0)
        self._metrics.config_map_bytes.set(0)
        self._metrics.overrides_valid.set(1)
        self._metrics.overrides_dropped.set(0)
        self._set_overwritten("")
        self._refused = self._withheld = ""
        self._history.close()

    def problem(self) -> str:
        """Return why the ConfigMap is not what this replica wrote, or would write, for readiness; empty when it is."""
        return self._refused or self._fight() or self._withheld

    def _fight(self) -> str:
        by = self._overwritten_by
        return by and f"the ConfigMap is repeatedly overwritten by {by}: stop one of the two writers"

    def service_changed(self, key: Key) -> None:
        """Record when a Service changed, until it is reconciled."""
        self._changed_at.setdefault(key, anyio.current_time())

    def service_reconciled(self, key: Key) -> None:
        """Record that a Service was reconciled."""
        self._changed_at.pop(key, None)

    def age_s(self, key: Key) -> float | None:
        """Return the seconds since a Service changed; ``None`` once it is reconciled."""
        changed_at = self._changed_at.get(key)
        return anyio.current_time() - changed_at if changed_at is not None else None

    def verdict_changed(self, key: Key, verdict: Verdict | None) -> None:
        """Record the result of detection; ``None`` when the Service was deleted."""
        self._failing.pop(key, None)
        if key in self._changed_at:
            self._awaited.setdefault(key, self._changed_at[key])
        self._verdicts.detected(key, verdict)
        self._history.detected(key, verdict, self._now())

    def settled(self, verdicts: Mapping[Key, Verdict]) -> None:
        """Record the verdict on each candidate, and measure the time from its change to the write."""
        wrote, self._wrote = self._wrote, False
        for key in [key for key in self._awaited if not _is_open(verdicts.get(key))]:
            changed_at = self._awaited.pop(key)
            if wrote:
                self._metrics.event_to_write.observe(anyio.current_time() - changed_at, spans.exemplar())
        self._verdicts.settled(verdicts)
        self._history.settled(verdicts, self._now())

    def held(self, hold: Hold) -> None:
        """Measure held removals; log when a hold begins and ends."""
        self._metrics.held.set(len(hold.keys))
        self._history.held_back(hold, self._now())
        if hold.begins:
            self._metrics.holds.inc()
            some = [str(key) for key in sorted(hold.keys)[:10]]
            extra = {"held": len(hold.keys), "known": hold.known, "hold_s": hold.again_s, "some": some}
            _log.warning("removals held: most tools stopped answering at once", extra=extra)
            self._recorder.record("Warning", "RemovalsHeld", event_notes.removals_held(hold), action="Hold")
        if hold.ends:
            _log.warning("removals no longer held")

    def probed(self, candidate: Candidate, outcome: Outcome, took_s: float) -> None:
        """Measure a probe; log a failure, repeated ones of an unpublished tool at debug level."""
        self._history.probed(candidate, outcome, took_s, self._now())
        kind = type_label(candidate.type)
        self._metrics.probes.labels(kind, outcome.word).inc()
        self._metrics.probe_time.labels(kind).observe(took_s, spans.exemplar())
        before = self._failing.pop(candidate.key, None)
        if outcome.how and outcome.variant is not None:
            extra = {"type": candidate.type, "url": candidate.at(outcome.variant).url, "detail": outcome.how}
            _log.info("endpoint found", extra={**service_fields(candidate.key), **extra})
        if not outcome.alive:
            self._failing[candidate.key] = outcome.detail
            known = outcome.detail == before and not self._verdicts.is_published(candidate.key)
            level = logging.DEBUG if known else logging.INFO
            extra = {**service_fields(candidate.key), "type": candidate.type, "detail": outcome.detail}
            _log.log(level, "probe failed", extra=extra)

    def composed(self, publication: Publication) -> None:
        """Measure what is to be published; report overrides that are not applied, and tools published differently."""
        self._metrics.config_map_bytes.set(publication.bytes)
        self._history.composed(publication, self._now())
        if publication.is_large and not self._is_large:
            _log.warning("config map is large", extra={"bytes": publication.bytes})
        self._is_large = publication.is_large
        self._note_blocked(publication.blocked)
        self._withheld = publication.withheld
        self._metrics.overrides_dropped.set(len(publication.dropped))
        problem = publication.overrides_problem
        self._metrics.overrides_valid.set(0 if problem else 1)
        if problem != self._overrides_problem:
            self._overrides_problem = problem
            self._report_overrides(publication)
        for key, note in publication.notes.items():
            if self._notes.get(key) != note:
                _log.warning(
                    "tool published with a warning",
                    extra={**service_fields(key), "detail": note},
                )
        self._notes = publication.notes

    def _report_overrides(self, publication: Publication) -> None:
        problem = publication.overrides_problem
        extra: dict[str, object] = {"error": problem[:_PROBLEM_LIMIT]}
        reason, note = "OverridesInvalid", problem
        if not problem:
            _log.info("overrides valid again")
            return
        if publication.withheld:
            _log.error("nothing written; overrides missing", extra=extra)
            reason = "OverridesMissing"
        elif publication.lost:
            _log.warning("overrides deleted; those that were in force stay", extra=extra)
            reason = "OverridesDeleted"
        elif publication.error:
            _log.warning("overrides not valid; those that were in force stay", extra=extra)
            note = event_notes.overrides_invalid(problem)
        elif dropped := len(publication.dropped):
            _log.warning("overrides dropped in part", extra={"dropped": dropped, **extra})
            note = event_notes.overrides_dropped(dropped, problem)
        else:
            _log.warning("overrides ignored", extra=extra)
            reason = "OverridesIgnored"
        self._recorder.record("Warning", reason, note, action="Override")

    def _note_blocked(self, blocked: tuple[str, ...]) -> None:
        """Report documents whose keys are used in ``binaryData``, when that changes."""
        if blocked and blocked != self._blocked:
            _log.warning("documents not written; their keys are in binaryData", extra={"keys": list(blocked[:_NAMED])})
            note = event_notes.documents_blocked(blocked[:_NAMED])
            self._recorder.record("Warning", "DocumentBlocked", note, action="Publish")
        self._blocked = blocked

    def published(self, change: Apply, tools: int, editors: tuple[str, ...] = ()) -> None:
        """Count and log a write; report the edits that it reverts."""
        self._wrote = True
        self._delayed.clear()
        if self._refused or self._overwritten_by:
            self._written_at = anyio.current_time()
        self._metrics.writes.inc()
        self._history.published(change, tools, self._now())
        changed: dict[str, object] = {"written": list(change.written), "removed": list(change.removed)}
        if change.drifted:
            self._metrics.drift.inc()
            who = _named(editors)
            changed |= {"drifted": True, "by": who}
            keys = (*change.written, *change.removed)[:_NAMED]
            self._recorder.record("Normal", "EditReverted", event_notes.edit_reverted(who, keys), action="Publish")
        _log.info(
            "config map written", extra={"tools": tools, **{name: value for name, value in changed.items() if value}}
        )

    def unchanged(self, tools: int) -> None:
        """Report that others no longer overwrite the ConfigMap, once it has stayed as it was written."""
        if (self._refused or self._overwritten_by) and anyio.current_time() - self._written_at >= STAYED_S:
            _log.info("config map no longer overwritten", extra={"tools": tools})
            self._set_overwritten("")
            self._refused = ""

    def refused(self, why: str) -> None:
        """Record why nothing is written, for readiness; the error itself is logged where it ends the reconcile."""
        if why != self._refused:
            self._history.touch()
        self._refused = why

    def overwritten(self, by: tuple[str, ...]) -> None:
        """Report other writers that keep overwriting the ConfigMap, once until they change."""
        who = _named(by)
        if who != self._overwritten_by:
            _log.warning("config map repeatedly overwritten", extra={"by": who})
            self._recorder.record("Warning", "Overwritten", event_notes.overwritten(who))
            self._set_overwritten(who)

    def _set_overwritten(self, by: str) -> None:
        if self._overwritten_by:
            self._metrics.overwritten.remove(self._overwritten_by)
        if by:
            self._metrics.overwritten.labels(by).set(1)
        self._overwritten_by = by
        self._history.touch()

    def paced(self, services: Collection[Key], wait_s: float) -> None:
        """Count a write that waits, and report for which Services, each once until the next write."""
        self._metrics.paced_writes.inc()
        new = sorted(set(services) - self._delayed)[:_NAMED]
        self._delayed.update(services)
        if new:
            names = [str(key) for key in new]
            _log.info("config map write delayed", extra={"services": names, "wait_s": round(wait_s, 1)})
        for key in new:
            self._recorder.record("Normal", "WriteDelayed", event_notes.write_delayed(key), related=key)

    def conflicted(self) -> None:
        """Count and log a conflict."""
        self._metrics.conflicts.inc()
        _log.info("config map changed meanwhile; trying again with the newer version")


def _is_open(verdict: Verdict | None) -> bool:
    return isinstance(verdict, Rejected) and verdict.reason is Reason.UNPROBED


def _named(managers: tuple[str, ...]) -> str:
    """Return the names of field managers, for people."""
    return ", ".join(each[:128] for each in managers[:_MANAGERS]) or "another process of this service"
