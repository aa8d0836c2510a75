"""The status of each Service: log lines, series by reason, and Kubernetes Events."""

import logging
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Final, Literal

from toolset.adapters.metrics import TOOL_TYPES, VERDICTS, Metrics, type_label
from toolset.core.candidate import Candidate, Reason, Rejected, Verdict
from toolset.core.overrides.baseline import NOTHING, Published
from toolset.model import Key
from toolset.reconciler.ports import EventRecorder
from toolset.telemetry import event_notes

_log: Final = logging.getLogger("toolset")
PUBLISHED: Final = "Published"
UNKNOWN_ANNOTATION: Final = "UnknownAnnotation"
_WANTED: Final = frozenset(
    {
        Reason.NO_MATCH,
        Reason.OPTED_OUT,
        Reason.NAMESPACE_EXCLUDED,
        Reason.NOT_OPTED_IN,
        Reason.TERMINATING,
        Reason.DUPLICATE,
        Reason.SUPPRESSED,
    }
)
"""Reasons that somebody's decision leads to; every other one is a fault that somebody should correct."""


class ServiceStatusLog:
    """Remembers the reported status of each Service, and reports only changes.

    Only Services that were published, or whose annotation asks for it, get Kubernetes Events; all others appear in
    the series only.
    """

    def __init__(self, metrics: Metrics, recorder: EventRecorder) -> None:
        self._metrics = metrics
        self._recorder = recorder
        self._recognised: dict[Key, Candidate] = {}
        self._refused: dict[Key, Rejected] = {}  # near matches, and Services that opted in
        self._counted: dict[Key, str] = {}
        self._count: Counter[str] = Counter()
        for word in VERDICTS:  # read at each scrape: cheaper than setting a series at each change
            metrics.services.labels(word).set_function(partial(self._count.__getitem__, word))
        self._candidates: Counter[tuple[str, str]] = Counter()
        self._reported: dict[Key, Candidate | str] = {}  # the published tool, or the reason why not
        self._resumed = NOTHING

    def resume(self, published: Published) -> None:
        """Treat the content of the ConfigMap at the start of a pipeline as already reported."""
        self._resumed = published

    def known(self) -> tuple[Key, ...]:
        """Return the Services that have a status."""
        return tuple(self._counted)

    def detected(self, key: Key, verdict: Verdict | None) -> None:
        """Record the result of detection, ``None`` when the Service was deleted; report it if it changed."""
        refused, before = self._refused.pop(key, None), self._recognised.get(key)
        if isinstance(verdict, Rejected) and (verdict.type or verdict.asked or verdict.unread):
            self._refused[key] = verdict
        if verdict is None or verdict not in (refused, before):
            self._recognised.pop(key, None)
            self._report_detected(key, verdict, before)
        last = before or refused
        if verdict is not None and verdict.unread and (last is None or verdict.unread != last.unread):
            self._report_unread(key, verdict.unread)

    def _report_detected(self, key: Key, verdict: Verdict | None, before: Candidate | None) -> None:
        if isinstance(verdict, Candidate):
            self._recognised[key] = verdict
            self._log_candidate(key, verdict, before)
            if before is None:  # else its last verdict counts until the next one
                self._recount(key, "")
            return
        word = verdict.reason.word if verdict else ""
        if before is not None:
            extra = {"type": before.type, "url": before.url, "reason": word or "Deleted"}
            _log.info("service removed", extra={**service_fields(key), **extra})
        elif verdict is not None and (verdict.type or verdict.asked):
            extra = {"type": verdict.type, "reason": word, "detail": verdict.detail}
            _log.info("service not usable", extra={**service_fields(key), **extra})
        self._recount(key, word)
        self._drop(key, verdict)

    def settled(self, verdicts: Mapping[Key, Verdict]) -> None:
        """Record the verdict on each candidate."""
        for key, verdict in verdicts.items():
            self._recount(key, _word(verdict))
            if isinstance(verdict, Candidate):
                self._report_published(key, verdict)
            elif verdict.reason is not Reason.UNPROBED:  # which is not final
                self._report_rejected(key, verdict)
        self._resumed = NOTHING
        recognised = (each for each in self._refused.values() if each.reason.of_candidates)
        self._count_candidates(
            Counter((type_label(each.type), _word(each)) for each in (*verdicts.values(), *recognised))
        )

    def is_published(self, key: Key) -> bool:
        """Return whether the last reported status of a Service is that it is published."""
        return isinstance(self._reported.get(key), Candidate)

    def close(self) -> None:
        """Reset the series: this replica no longer leads."""
        self._count.clear()
        self._count_candidates(Counter())

    def _log_candidate(self, key: Key, candidate: Candidate, before: Candidate | None) -> None:
        extra: dict[str, object] = {
            "type": candidate.type,
            "evidence": candidate.evidence.value,
            "url": candidate.url,
        }
        if before is None:
            level = logging.DEBUG if self._resumed.holds(candidate) else logging.INFO
            _log.log(level, "service added", extra={**service_fields(key), **extra})
        else:
            extra["changed"] = [
                field for field in Candidate.__struct_fields__ if getattr(candidate, field) != getattr(before, field)
            ]
            _log.info("service changed", extra={**service_fields(key), **extra, **_as_it_was(before, candidate)})

    def _report_published(self, key: Key, tool: Candidate) -> None:
        before = self._reported.get(key)
        self._reported[key] = tool
        fields = {**service_fields(key), "type": tool.type, "url": tool.url}
        if not isinstance(before, Candidate):
            if self._resumed.holds(tool):
                return
            _log.info("tool published", extra=fields)
            note = event_notes.published(key, tool, None)
        elif (before.type, before.url) != (tool.type, tool.url):
            _log.info("tool changed", extra={**fields, **_as_it_was(before, tool)})
            note = event_notes.published(key, tool, before)
        else:
            return
        self._recorder.record("Normal", PUBLISHED, note, related=_related(key))

    def _report_rejected(self, key: Key, verdict: Rejected) -> None:
        before, word = self._reported.get(key), verdict.reason.word
        self._reported[key] = word
        if isinstance(before, Candidate):
            self._log_loss(key, before, word, verdict.detail)
        elif not verdict.asked or word == before:
            return
        note = event_notes.not_published(key, verdict, before=isinstance(before, Candidate))
        self._recorder.record(_kind(verdict), word, note, related=_related(key))

    def _drop(self, key: Key, verdict: Rejected | None) -> None:
        """Report that a Service is not a candidate, or no longer one."""
        before = self._reported.pop(key, None)
        if isinstance(before, Candidate):
            word = verdict.reason.word if verdict else "Deleted"
            self._log_loss(key, before, word, verdict.detail if verdict else "")
            self._recorder.record(
                _kind(verdict), word, event_notes.not_published(key, verdict, before=True), related=_related(key)
            )
        elif verdict is not None and verdict.asked:
            note = event_notes.not_published(key, verdict, before=False)
            self._recorder.record(_kind(verdict), verdict.reason.word, note, related=_related(key))

    def _report_unread(self, key: Key, sentence: str) -> None:
        _log.warning("annotation not read", extra={**service_fields(key), "detail": sentence})
        self._recorder.record(
            "Warning", UNKNOWN_ANNOTATION, event_notes.annotation_not_read(key, sentence), related=_related(key)
        )

    @staticmethod
    def _log_loss(key: Key, tool: Candidate, word: str, detail: str) -> None:
        extra = {"type": tool.type, "url": tool.url, "reason": word, "detail": detail}
        _log.info("tool no longer published", extra={**service_fields(key), **extra})

    def _recount(self, key: Key, word: str) -> None:
        """Count a Service under ``word`` instead of the previous one; under none if it is empty."""
        before = self._counted.pop(key, "")
        if word:
            self._counted[key] = word
        if word == before:
            return
        for name, step in ((before, -1), (word, 1)):
            if name:
                self._count[name] += step

    def _count_candidates(self, count: Counter[tuple[str, str]]) -> None:
        before, self._candidates = self._candidates, count
        for kind, word in {*before, *count}:
            self._metrics.candidates.labels(kind, word).set(count[kind, word])
        for kind in TOOL_TYPES:
            self._metrics.tools.labels(kind).set(count[kind, PUBLISHED])


def service_fields(key: Key) -> dict[str, str]:
    """Return the log fields that name a Service, as OpenTelemetry's conventions name them, or a static backend."""
    if not key.namespace:
        return {"toolset.static.name": key.name}
    return {"k8s.namespace.name": key.namespace, "k8s.service.name": key.name}


def _kind(verdict: Rejected | None) -> Literal["Normal", "Warning"]:
    """Return the type of the Event about a Service that is not published; ``None`` for one that was deleted."""
    return "Normal" if verdict is None or verdict.reason in _WANTED else "Warning"


def _related(key: Key) -> Key | None:
    """Return the object of the cluster that an Event is about; a static backend has none."""
    return key if key.namespace else None


def _as_it_was(before: Candidate, now: Candidate) -> dict[str, str]:
    """Return the type and URL of ``before`` where they differ from ``now``."""
    pairs = (("type", before.type, now.type), ("url", before.url, now.url))
    return {f"{name}_before": old for name, old, new in pairs if old != new}


def _word(verdict: Verdict) -> str:
    return PUBLISHED if isinstance(verdict, Candidate) else verdict.reason.word
