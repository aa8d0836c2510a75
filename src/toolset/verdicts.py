"""Tell people what becomes of each Service: log lines, series by reason, and Kubernetes Events."""

import logging
from collections import Counter
from collections.abc import Container, Mapping
from functools import partial
from typing import Final

from toolset.adapters.metrics import TOOL_TYPES, VERDICTS, Metrics, type_label
from toolset.core.verdict import Candidate, Reason, Rejected, Verdict
from toolset.model import Key
from toolset.reconciler.ports import EventRecorder

_log: Final = logging.getLogger("toolset")
PUBLISHED: Final = "Published"


class VerdictLog:
    """Remembers one word of each Service, so that only what changes is told.

    Kubernetes Events are for Services that were published or that asked for it; the thousands that are nothing
    stay silent everywhere but in the series.
    """

    def __init__(self, metrics: Metrics, recorder: EventRecorder) -> None:
        self._metrics = metrics
        self._recorder = recorder
        self._detected: dict[Key, str] = {}
        self._settled: dict[Key, str] = {}
        self._count: Counter[str] = Counter()
        for word in VERDICTS:  # read when somebody asks: cheaper than to set a series for each change
            metrics.services.labels(word).set_function(partial(self._count.__getitem__, word))
        self._resumed: Container[str] = ()

    def resume(self, urls: Container[str]) -> None:
        """Take what stands in the ConfigMap at the start as known: it is no news."""
        self._resumed = urls

    def detected(self, key: Key, verdict: Verdict | None) -> None:
        """Note what detection says of a Service; ``None`` when it is gone."""
        word = _word(verdict)
        before = self._detected.pop(key, "")
        if word:
            self._detected[key] = word
        self._move(before if before != PUBLISHED else "", word if word != PUBLISHED else "")
        if isinstance(verdict, Candidate):
            extra = {"type": verdict.type, "evidence": verdict.evidence.value, "url": verdict.url}
            _log.info("service recognised", extra={**named(key), **extra})
            return
        if before == PUBLISHED:
            _log.info("service no longer recognised", extra={**named(key), "reason": word or "Deleted"})
        elif verdict is not None and verdict.type:
            extra = {"type": verdict.type, "reason": word, "detail": verdict.detail}
            _log.info("service not usable", extra={**named(key), **extra})
        self._drop(key, verdict)

    def settled(self, verdicts: Mapping[Key, Verdict]) -> None:
        """Note the last word on each candidate."""
        for key, verdict in verdicts.items():
            word, before = _word(verdict), self._settled.get(key)
            if before is None and isinstance(verdict, Candidate) and verdict.url in self._resumed:
                before = PUBLISHED
                self._move("", word)
            if word != before:
                self._move(before or "", word)
                self._tell(key, verdict, before)
            self._settled[key] = word
        self._resumed = ()
        published = Counter(type_label(each.type) for each in verdicts.values() if isinstance(each, Candidate))
        for kind in TOOL_TYPES:
            self._metrics.tools.labels(kind).set(published[kind])

    def close(self) -> None:
        """Forget everything: this replica answers for no Service any more."""
        self._count.clear()
        self._metrics.held.set(0)
        self._metrics.config_map_bytes.set(0)
        self._metrics.overrides_valid.set(1)
        for kind in TOOL_TYPES:
            self._metrics.tools.labels(kind).set(0)

    def _drop(self, key: Key, verdict: Rejected | None) -> None:
        """Note that a Service is no candidate, or none any more."""
        before = self._settled.pop(key, "")
        self._move(before, "")
        if before == PUBLISHED:
            word, why = (verdict.reason.word, verdict.sentence) if verdict else ("Deleted", "it was deleted")
            self._recorder.record("Normal", word, f"Service {key} is no longer published: {why}", related=key)
        elif verdict is not None and verdict.asked:
            note = f"Service {key} is not published: {verdict.sentence}"
            self._recorder.record("Warning", verdict.reason.word, note, related=key)

    def _tell(self, key: Key, verdict: Verdict, before: str | None) -> None:
        if isinstance(verdict, Candidate):
            _log.info("tool published", extra={**named(key), "type": verdict.type, "url": verdict.url})
            note = f"Service {key} is published as {verdict.type} at {verdict.url}"
            self._recorder.record("Normal", PUBLISHED, note, related=key)
            return
        lost = before == PUBLISHED
        if lost:
            extra = {"type": verdict.type, "reason": verdict.reason.word, "detail": verdict.detail}
            _log.info("tool no longer published", extra={**named(key), **extra})
        if lost or (verdict.asked and verdict.reason is not Reason.UNPROBED):
            state = "no longer published" if lost else "not published"
            note = f"Service {key} is {state}: {verdict.sentence}"
            self._recorder.record("Warning", verdict.reason.word, note, related=key)

    def _move(self, before: str, word: str) -> None:
        for name, step in ((before, -1), (word, 1)):
            if name:
                self._count[name] += step


def named(key: Key) -> dict[str, str]:
    """Return the fields that name a Service, by OpenTelemetry's names."""
    return {"k8s.namespace.name": key.namespace, "k8s.object.name": key.name}


def _word(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    return PUBLISHED if isinstance(verdict, Candidate) else verdict.reason.word
