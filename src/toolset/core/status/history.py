"""What the status records between reconciles: times of verdicts, the last probes, the latest changes, the last write.

It has one entry for each Service that is recognised, nearly recognised, or that an annotation opts in or out, and
``CHANGES_LIMIT`` changes. The caller gives the time.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from toolset.core.candidate import Candidate, Reason, Rejected, Verdict
from toolset.core.health.removal_brake import Hold
from toolset.core.health.thresholds import Outcome
from toolset.core.overrides.baseline import NOTHING, Published
from toolset.core.overrides.overrides import NO_OVERRIDES
from toolset.core.publishing.plan import Apply
from toolset.core.publishing.publication import Publication
from toolset.core.status.snapshot import (
    CHANGES_LIMIT,
    NAMES_LIMIT,
    PUBLISHED,
    Change,
    ChangeKind,
    Held,
    Overrides,
    Write,
    plain,
)
from toolset.model import Key

_SHOWN: Final = 5


class Seen(msgspec.Struct, frozen=True):
    """The last verdict on a Service.

    Attributes:
        word: ``Published``, or the reason.
        since: Since when; ``None`` for a verdict from before this replica led.
        type: The tool type.
        url: Where it is published; empty when it is not.
    """

    word: str
    since: datetime | None
    type: str = ""
    url: str = ""


class LastProbe(msgspec.Struct, frozen=True):
    """The last probe of a candidate: when it ended, what it found, and how long it took in seconds."""

    at: datetime
    outcome: Outcome
    took_s: float


class History:
    """Written by the observer of the reconcilers; read on requests for the status."""

    def __init__(self, target: Key) -> None:
        """Create an empty history; ``target`` is the ConfigMap."""
        self._target = target
        self.revision = 0
        self.number = 0
        self.write: Write | None = None
        self.overrides = Overrides()
        self.in_force = NO_OVERRIDES
        self.held = Held()
        self.tools: Mapping[Key, Candidate] = {}
        self.overridden: Mapping[Key, tuple[str, ...]] = {}
        self.notes: Mapping[Key, str] = {}
        self.bytes = 0
        self._composed: Mapping[Key, Candidate] = {}
        self._settled: Mapping[Key, Verdict] = {}
        self._seen: dict[Key, Seen] = {}
        self._probes: dict[Key, LastProbe] = {}
        self._changes: deque[Change] = deque(maxlen=CHANGES_LIMIT)
        self._resumed = NOTHING
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change; return a function that unsubscribes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def has_listeners(self) -> bool:
        """Whether there are listeners."""
        return bool(self._listeners)

    def touch(self) -> None:
        """Record that the content of the status has changed."""
        self.revision += 1
        for listener in tuple(self._listeners):
            listener()

    @property
    def changes(self) -> tuple[Change, ...]:
        """The latest changes, the newest first."""
        return tuple(reversed(self._changes))

    def changes_after(self, number: int) -> tuple[Change, ...]:
        """Return the changes after ``number`` that are remembered, the oldest first."""
        return tuple(each for each in self._changes if each.number > number)

    def seen(self, key: Key) -> Seen | None:
        """Return the last verdict on ``key``; ``None`` if there is none."""
        return self._seen.get(key)

    def probe(self, key: Key) -> LastProbe | None:
        """Return the last probe of ``key``; ``None`` when there is none."""
        return self._probes.get(key)

    def settled_verdict(self, key: Key) -> Verdict | None:
        """Return the verdict on the candidate ``key`` at the last write; ``None`` when there is none."""
        return self._settled.get(key)

    @property
    def size(self) -> tuple[int, int, int]:
        """How many verdicts, probes and changes are remembered."""
        return len(self._seen), len(self._probes), len(self._changes)

    def begin(self, published: Published) -> None:
        """Start a pipeline; what is already published is not a change."""
        self._resumed = published
        self.touch()

    def close(self) -> None:
        """Forget everything that another leader may change from now on."""
        self.tools, self._composed, self._settled = {}, {}, {}
        self.overridden, self.notes, self.in_force = {}, {}, NO_OVERRIDES
        self.overrides, self.held, self.bytes = Overrides(), Held(), 0
        self._seen.clear()
        self._probes.clear()
        self.touch()

    def detected(self, key: Key, verdict: Verdict | None, now: datetime) -> None:
        """Record the result of detection of ``key``; ``None`` if the Service was deleted."""
        if isinstance(verdict, Candidate):
            return
        self._probes.pop(key, None)
        before = self._seen.get(key)
        if verdict is not None and is_shown(verdict):
            if before is not None and before.word == verdict.reason.word:
                return
            self._seen[key] = Seen(verdict.reason.word, now, verdict.type)
        elif self._seen.pop(key, None) is None:
            return
        if before is not None and before.word == PUBLISHED:
            why = verdict.sentence if verdict is not None else "it was deleted"
            self._add("removed", key, before.type, f"no longer published: {why}", now)
        self.touch()

    def probed(self, candidate: Candidate, outcome: Outcome, took_s: float, now: datetime) -> None:
        """Record the outcome of a probe."""
        self._probes[candidate.key] = LastProbe(now, outcome, took_s)

    def composed(self, publication: Publication, now: datetime) -> None:
        """Record what is to be published, and the result of the overrides."""
        self._composed = {tool.key: tool for tool in publication.tools}
        self.overridden, self.notes, self.bytes = publication.overridden, publication.notes, publication.bytes
        self.in_force = publication.overrides
        problem = plain(publication.overrides_problem)
        if problem != self.overrides.error:
            dropped = len(publication.dropped)
            self.overrides = Overrides(valid=not problem, since=now, error=problem, dropped=dropped)
            self.touch()

    def held_back(self, hold: Hold, now: datetime) -> None:
        """Record which removals are held."""
        names = tuple(str(key) for key in sorted(hold.keys)[:NAMES_LIMIT])
        until = now + timedelta(seconds=hold.again_s) if hold.keys and hold.again_s is not None else None
        known, self.held = self.held, Held(count=len(hold.keys), until=until, tools=names)
        if hold.begins:
            shown = f"most of {hold.known} tools stopped answering at once: {_some(names, len(hold.keys))}"
            self._add("held", self._target, "", f"nothing is removed for now, {shown}", now)
        if hold.ends:
            self._add("released", self._target, "", "removals are no longer held", now)
        if hold.begins or hold.ends or known.tools != names or known.count != self.held.count:
            self.touch()

    def published(self, change: Apply, tools: int, now: datetime) -> None:
        """Record a write."""
        self.write = Write(
            at=now,
            tools=tools,
            written=change.written[:NAMES_LIMIT],
            removed=change.removed[:NAMES_LIMIT],
            drifted=change.drifted,
        )
        if change.drifted:
            keys = (*change.written, *change.removed)
            shown = _some(keys, len(keys))
            self._add("repaired", self._target, "", f"an edit by somebody else was reverted: {shown}", now)
        self.touch()

    def settled(self, verdicts: Mapping[Key, Verdict], now: datetime) -> None:
        """Record the verdict on each candidate, once the ConfigMap matches it."""
        before = self.revision
        self._settled, self.tools = verdicts, self._composed
        for key, verdict in verdicts.items():
            if isinstance(verdict, Candidate):
                self._settled_published(key, self.tools.get(key, verdict), now)
            elif verdict.reason is not Reason.UNPROBED:  # which is not final
                self._settled_rejected(key, verdict, now)
        self._resumed = NOTHING
        if self.revision != before:
            self.touch()

    def _settled_published(self, key: Key, tool: Candidate, now: datetime) -> None:
        known = self._seen.get(key)
        if known is not None and known.word == PUBLISHED:
            if (known.type, known.url) == (tool.type, tool.url):
                return
            self._add("changed", key, tool.type, f"published as {tool.type} at {tool.url}; it was {known.url}", now)
        elif known is None and self._resumed.holds(self._settled_candidate(key, tool)):
            self._seen[key] = Seen(PUBLISHED, None, tool.type, tool.url)
            self.revision += 1
            return
        else:
            self._add("added", key, tool.type, f"published as {tool.type} at {tool.url}", now)
        self._seen[key] = Seen(PUBLISHED, now, tool.type, tool.url)

    def _settled_candidate(self, key: Key, tool: Candidate) -> Candidate:
        verdict = self._settled[key]
        return verdict if isinstance(verdict, Candidate) else tool

    def _settled_rejected(self, key: Key, verdict: Rejected, now: datetime) -> None:
        known, word = self._seen.get(key), verdict.reason.word
        if known is not None and known.word == word:
            return
        was_published = known is not None and known.word == PUBLISHED
        kind: ChangeKind = "removed" if was_published else "rejected"
        said = "no longer published" if was_published else "not published"
        self._add(kind, key, verdict.type, f"{said}: {verdict.sentence}", now)
        self._seen[key] = Seen(word, now, verdict.type)

    def _add(self, kind: ChangeKind, key: Key, tool_type: str, sentence: str, now: datetime) -> None:
        self.number += 1
        self.revision += 1
        self._changes.append(
            Change(
                number=self.number,
                at=now,
                kind=kind,
                namespace=key.namespace,
                name=key.name,
                type=tool_type,
                sentence=plain(sentence),
            )
        )


def is_shown(verdict: Verdict) -> bool:
    """Return whether the Service has its own row: recognised, nearly, or with annotations for this service."""
    if isinstance(verdict, Candidate):
        return True
    return bool(verdict.type or verdict.unread) or verdict.asked or verdict.reason is Reason.OPTED_OUT


def _some(names: Sequence[str], count: int) -> str:
    """Return the first names, and the number of further ones."""
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {count - _SHOWN} more" if count > _SHOWN else shown
