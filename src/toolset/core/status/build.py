"""Build the snapshot from the current state of the service; nothing is kept between calls."""

from collections import Counter
from collections.abc import Container, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from toolset.core.candidate import Candidate, Reason, Rejected, Verdict
from toolset.core.health.options import DEFAULT_HEALTH, HealthOptions
from toolset.core.health.thresholds import next_probe_s
from toolset.core.inventory import Inventory
from toolset.core.overrides.unmatched import unmatched
from toolset.core.status.advice import remedy
from toolset.core.status.history import History, is_shown
from toolset.core.status.problems import Condition, missing_tools, problems, unmatched_overrides
from toolset.core.status.required import Missing
from toolset.core.status.snapshot import (
    PROBLEMS_LIMIT,
    PUBLISHED,
    SERVICES_LIMIT,
    Installation,
    Probe,
    ServiceStatus,
    Sizes,
    StatusSnapshot,
    Summary,
    plain,
)
from toolset.model import Key

_SEVERITIES: Final = ("error", "warning", "info")
_OF_CANDIDATES: Final = frozenset(reason.word for reason in Reason if reason.of_candidates)
_UNSETTLED: Final = Rejected(Reason.UNPROBED, "its first write is still to come")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the service at the time of a request.

    Attributes:
        now: The time.
        installation: Which process answers.
        condition: The state of the parts of the process.
        history: The recorded history.
        inventory: The state of each Service; ``None`` on a replica that does not lead.
        services: The number of known Services.
        documents: The owned documents in the ConfigMap.
        limit_bytes: The maximum size of the documents.
        required: Services that must be published.
        missing: Those of them that are not.
        health: How health is judged.
        prefix: The annotation prefix.
    """

    now: datetime
    installation: Installation
    condition: Condition
    history: History
    inventory: Inventory | None = None
    services: int = 0
    documents: Mapping[str, str] = {}
    limit_bytes: int = 0
    required: Container[Key] = frozenset[Key]()
    missing: Mapping[Key, Missing] = {}
    health: HealthOptions = DEFAULT_HEALTH
    prefix: str = "kubernaut.io"


def snapshot(facts: Facts, *, limit: int = SERVICES_LIMIT) -> StatusSnapshot:
    """Return the whole status; ``limit`` bounds the Services in it."""
    verdicts = _verdicts(facts)
    shown = [key for key, verdict in verdicts.items() if is_shown(verdict) or key in facts.required]
    kept = sorted(sorted(shown, key=lambda key: (_rank(verdicts[key]), key))[:limit])
    return StatusSnapshot(
        summary=_summary(facts, verdicts),
        services=tuple(_row(facts, key, verdicts[key]) for key in kept),
        services_omitted=len(shown) - len(kept),
        documents=facts.documents,
    )


def _verdicts(facts: Facts) -> Mapping[Key, Verdict]:
    if facts.inventory is None:
        return {}
    of_candidates = facts.inventory.candidate_verdicts()
    return {
        **facts.inventory.rejections(),
        **{key: _settled(facts, key, verdict) for key, verdict in of_candidates.items()},
    }


def service(facts: Facts, key: Key) -> ServiceStatus | None:
    """Return the status of any one Service; ``None`` if there is none of that name, or this replica is a standby."""
    if facts.inventory is None:
        return None
    settled = facts.history.settled_verdict(key) if facts.inventory.candidate(key) is not None else None
    # Otherwise its namespace and type would be regrouped whenever something there has changed since.
    verdict = settled if settled is not None else facts.inventory.verdict(key)
    return _row(facts, key, _settled(facts, key, verdict)) if verdict is not None else None


def _settled(facts: Facts, key: Key, verdict: Verdict) -> Verdict:
    """Return the verdict on a Service; for a candidate the one in the ConfigMap."""
    if facts.inventory is None or facts.inventory.candidate(key) is None:
        return verdict
    settled = facts.history.settled_verdict(key)
    if settled is None:
        return _UNSETTLED if isinstance(verdict, Candidate) else verdict
    return settled


def _rank(verdict: Verdict) -> int:
    """If not all fit, published Services come first, then recognised ones."""
    if isinstance(verdict, Candidate):
        return 0
    return 1 if verdict.reason.of_candidates else 2 if verdict.type or verdict.asked else 3


def _summary(facts: Facts, verdicts: Mapping[Key, Verdict]) -> Summary:
    history = facts.history
    reasons = Counter(None if isinstance(each, Candidate) else each.reason for each in verdicts.values())
    counts = Counter({PUBLISHED if reason is None else reason.word: count for reason, count in reasons.items()})
    recognised = sum(count for word, count in counts.items() if word == PUBLISHED or word in _OF_CANDIDATES)
    found = (
        *missing_tools(facts.missing, verdicts, facts.now),
        *problems(facts.condition, history, counts),
        *unmatched_overrides(unmatched(history.in_force, verdicts.keys()), facts.condition),
    )
    worst_first = sorted(found, key=lambda each: _SEVERITIES.index(each.severity))
    return Summary(
        at=facts.now,
        revision=history.revision,
        installation=facts.installation,
        problems=tuple(worst_first[:PROBLEMS_LIMIT]),
        verdicts=dict(sorted(counts.items())),
        sizes=Sizes(
            services=facts.services,
            candidates=recognised,
            tools=counts[PUBLISHED],
            bytes=history.bytes,
            limit_bytes=facts.limit_bytes,
        ),
        overrides=history.overrides,
        held=history.held,
        write=history.write,
        changes=history.changes,
    )


def _row(facts: Facts, key: Key, verdict: Verdict) -> ServiceStatus:
    history, inventory = facts.history, facts.inventory
    found = inventory.candidate(key) if inventory is not None else None
    word = PUBLISHED if isinstance(verdict, Candidate) else verdict.reason.word
    seen, tool = history.seen(key), history.tools.get(key, found)
    health = inventory.health(key) if inventory is not None else None
    named = tool or found
    return ServiceStatus(
        namespace=key.namespace,
        name=key.name,
        type=plain(named.type if named else verdict.type),
        product=found.product if found else "",
        published=word == PUBLISHED,
        verdict=word,
        since=seen.since if seen is not None and seen.word == word else None,
        sentence=plain("it is published" if isinstance(verdict, Candidate) else verdict.sentence),
        remedy=""
        if isinstance(verdict, Candidate)
        else plain(remedy(word, facts.prefix, facts.condition.overrides or facts.condition.target)),
        evidence=found.evidence.value if found else "",
        url=plain(named.url) if named else "",
        how=plain(health.how) if health is not None else "",
        trusted=found.trusted if found else None,
        held=word == PUBLISHED and health is not None and health.up is False,
        required=key in facts.required,
        overridden=history.overridden.get(key, ()),
        note=plain("; ".join(filter(None, (history.notes.get(key, ""), (found or verdict).unread)))),
        probe=_probe(facts, key),
    )


def _probe(facts: Facts, key: Key) -> Probe | None:
    last = facts.history.probe(key)
    if last is None or facts.inventory is None:
        return None
    health, outcome = facts.inventory.health(key), last.outcome
    return Probe(
        at=last.at,
        outcome=outcome.word,
        detail=plain(outcome.detail),
        status=outcome.status,
        took_ms=round(1000 * last.took_s, 1),
        successes=health.successes,
        failures=health.failures,
        fall=facts.health.fall,
        next_at=last.at + timedelta(seconds=next_probe_s(health, facts.health.interval)),
    )
