"""What is known of each Service, and which of them are published, in which order."""

import math
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Final

import msgspec

from toolset.core.candidate import Candidate, Reason, Rejected, Verdict
from toolset.core.duplicates import Duplicates, SameBackend, joined
from toolset.core.health.options import DEFAULT_HEALTH, HealthOptions
from toolset.core.health.removal_brake import Hold, RemovalBrake, combined
from toolset.core.health.thresholds import Health, Outcome, assumed_up, observe
from toolset.core.overrides.baseline import NOTHING, Published
from toolset.core.shares import Shares, by_priority
from toolset.model import Key

_UNKNOWN: Final = Health()
SUBSTITUTES_LIMIT: Final = 8
"""Maximum number of candidates of one backend that are probed early when it may be lost."""
ALIVE: Final = Outcome(alive=True, assumed=True)


class Entry(msgspec.Struct, frozen=True):
    """The state of one Service.

    Attributes:
        verdict: The result of detection.
        health: The results of probes.
        tool: A candidate at the variant that answered, as published when it is up; else the verdict.
    """

    verdict: Verdict
    health: Health
    tool: Verdict


@lru_cache(maxsize=1024)
def _rejected(verdict: Rejected) -> Entry:
    """Return the entry of a Service that is no candidate; all with the same verdict share it, as most do."""
    return Entry(verdict, _UNKNOWN, verdict)


def _entry(verdict: Verdict, health: Health) -> Entry:
    if isinstance(verdict, Rejected):
        return _rejected(verdict)
    tool = verdict.at(health.variant) if health.variant is not None else verdict
    if health.unauthorized:
        tool = msgspec.structs.replace(tool, unauthorized=True, wants_tenant=health.wants_tenant)
    return Entry(verdict, health, tool)


class Inventory:
    """The verdict and the health of each Service; written by the Service and probe reconcilers, read by the target one.

    Results depend only on its content, not on the order of updates.

    Attributes:
        shares: The shares of namespaces, for all users of the inventory.
    """

    def __init__(
        self,
        options: HealthOptions = DEFAULT_HEALTH,
        approved: frozenset[Key] = frozenset(),
        shares: Shares = Shares(),
    ) -> None:
        """Create an empty inventory.

        Args:
            options: How health is judged.
            approved: The Services that the admin has approved.
            shares: The shares of namespaces.
        """
        self._options = options
        self._approved = approved
        self.shares = shares
        self._brakes = {trusted: RemovalBrake(options) for trusted in (True, False)}
        self._entries: dict[Key, Entry] = {}
        self._candidates: dict[Key, Candidate] = {}
        self._duplicates = Duplicates()

    def detected(self, key: Key, verdict: Verdict, published: Published = NOTHING) -> bool:
        """Record the verdict on ``key``; return whether it changed.

        Health is kept while the check is the same, and the variant that answered is still one of the candidate's.

        Args:
            key: The Service.
            verdict: The result of detection.
            published: The tools that start as up.
        """
        known = self._entries.get(key)
        if known is not None and known.verdict == verdict:
            return False
        health = _UNKNOWN
        self._drop_candidate(key)
        if isinstance(verdict, Candidate):
            self._candidates[key] = verdict
            self._duplicates.put(verdict)
            if known is not None and _still_holds(known, verdict):
                health = known.health
            elif (variant := published.variant(verdict)) is not None:
                health = assumed_up(variant)
        self._entries[key] = _entry(verdict, health)
        return True

    def probed(
        self, candidate: Candidate, outcome: Outcome, *, began_s: float = -math.inf, now_s: float = -math.inf
    ) -> Health | None:
        """Record the outcome of a probe of ``candidate``; return its health.

        ``None`` means that the Service changed meanwhile, so that the outcome does not apply.

        Args:
            candidate: The probed candidate.
            outcome: The outcome.
            began_s: When the probe started, on any monotonic clock.
            now_s: When it ended, on the same clock.
        """
        known = self._entries.get(candidate.key)
        if known is None or known.verdict != candidate:
            return None
        asked = known.health.variant or candidate.variant
        health = observe(known.health, outcome, self._options, asked=asked, began_s=began_s, now_s=now_s)
        if _published_by(known.health) == _published_by(health):
            self._entries[candidate.key] = Entry(candidate, health, known.tool)
        else:
            self._entries[candidate.key] = _entry(candidate, health)
        return health

    def approve(self, approved: frozenset[Key]) -> frozenset[Key]:
        """Record which Services the admin approves; return those whose approval changed."""
        changed = approved ^ self._approved
        self._approved = approved
        return changed

    def is_approved(self, key: Key) -> bool:
        """Return whether the admin has approved the Service ``key``."""
        return key in self._approved

    def forget(self, key: Key) -> bool:
        """Remove ``key``; return whether it was present."""
        self._drop_candidate(key)
        return self._entries.pop(key, None) is not None

    def health(self, key: Key) -> Health:
        """Return the health of ``key``; an unknown one if there is none."""
        entry = self._entries.get(key)
        return entry.health if entry else _UNKNOWN

    def candidate(self, key: Key) -> Candidate | None:
        """Return the candidate that ``key`` is, or ``None``."""
        return self._candidates.get(key)

    def tool(self, key: Key) -> Candidate | None:
        """Return the candidate that ``key`` is, at the variant that answered last; ``None`` if it is not one."""
        entry = self._entries.get(key)
        return entry.tool if entry is not None and isinstance(entry.tool, Candidate) else None

    def tools(self) -> tuple[Candidate, ...]:
        """Return the healthy candidates, each backend once, best instance of a type first."""
        return tools_of(self.candidate_verdicts())

    def candidate_verdicts(self, held: Container[Key] = ()) -> Mapping[Key, Verdict]:
        """Return for each candidate its tool, or why it is not published.

        Args:
            held: Candidates that count as up although they are down.
        """
        winners = self._winners()
        return {key: self._final(self._entries[key], winners, held) for key in self._candidates}

    @property
    def loss_waits(self) -> bool:
        """Whether a lost tool stays published until more is known about the others."""
        return any(brake.waits for brake in self._brakes.values())

    def hold(self, now_s: float, published: Published) -> Hold:
        """Return which lost tools stay published.

        Trusted tools are judged separately, so that the others neither hold nor release them.

        Args:
            now_s: The time, on the clock of :meth:`probed`.
            published: The tools that are published now; a backend is if one of its Services is.
        """
        winners = self._winners()
        counted = {winner.key for key, winner in winners.items() if published.lists(self._candidates[key])}
        healths = self._healths_by_trust(winners)
        return combined([brake.decide(healths[trusted], now_s, counted) for trusted, brake in self._brakes.items()])

    def healths(self, *, trusted: bool) -> Mapping[Key, Health]:
        """Return the health of each backend's representative, in ``trusted`` namespaces or in the others."""
        return self._healths_by_trust(self._winners())[trusted]

    def _healths_by_trust(self, winners: Mapping[Key, Candidate]) -> dict[bool, dict[Key, Health]]:
        found: dict[bool, dict[Key, Health]] = {True: {}, False: {}}
        for key in dict.fromkeys(winner.key for winner in winners.values()):
            found[self.shares.trusted(key.namespace)][key] = self._entries[key].health
        return found

    def substitutes(self, key: Key) -> Iterator[Key]:
        """Yield the candidates that may take over if ``key``, which represents its backend, is lost."""
        candidate = self._candidates.get(key)
        if candidate is None or self._preferred(self._duplicates.of(candidate)) is not candidate:
            return
        same = self._backend_of(candidate)
        if self._preferred(same) is candidate:
            yield from (each.key for each in same.members[:SUBSTITUTES_LIMIT] if each is not candidate)

    def verdict(self, key: Key) -> Verdict | None:
        """Return the tool of the Service ``key``, or why it is not published; ``None`` for an unknown Service."""
        entry = self._entries.get(key)
        if entry is None or isinstance(entry.verdict, Rejected):
            return entry.verdict if entry is not None else None
        return self._final(entry, self._winners_of([self._backend_of(entry.verdict)]))

    def verdicts(self) -> Mapping[Key, Verdict]:
        """Return for each Service, ordered by name, its tool, or why it is not published."""
        winners = self._winners()
        return {key: self._final(self._entries[key], winners) for key in sorted(self._entries)}

    def rejections(self) -> Mapping[Key, Rejected]:
        """Return the reason for each Service that is not a candidate, in no order."""
        verdicts = ((key, entry.verdict) for key, entry in self._entries.items())
        return {key: verdict for key, verdict in verdicts if isinstance(verdict, Rejected)}

    def _drop_candidate(self, key: Key) -> None:
        if (candidate := self._candidates.pop(key, None)) is not None:
            self._duplicates.remove(candidate)

    def _winners(self) -> dict[Key, Candidate]:
        """Return for each candidate the one that represents its backend."""
        return self._winners_of(chain.from_iterable(joined(each, self._backend_id) for each in self._duplicates))

    def _winners_of(self, backends: Iterable[SameBackend]) -> dict[Key, Candidate]:
        winners: dict[Key, Candidate] = {}
        for same in backends:
            winner = self._winner(same)
            winners.update((each.key, winner) for each in same.all)
        return winners

    def _backend_of(self, candidate: Candidate) -> SameBackend:
        """Return the candidates of the backend of ``candidate``, without considering other namespaces and types."""
        own = self._duplicates.of(candidate)
        if not any(self._backend_id(each.key) for each in own.members):
            return own
        near = joined(self._duplicates.near(candidate), self._backend_id)
        return next(same for same in near if own.members[0] in same.members)

    def _backend_id(self, key: Key) -> str:
        return self._entries[key].health.backend_id

    def _winner(self, same: SameBackend) -> Candidate:
        """Return the preferred candidate of those that have answered; if it is lost, another healthy one.

        One that answers takes precedence over one that requires credentials.
        The published one stays until a better one is proven. A candidate that started to fail before the preferred one
        was lost does not take over: both probably lead to the same pods, and the loss is real.
        """
        preferred = self._preferred(same)
        lost = self._entries[preferred.key].health
        if lost.fell_s is None:
            return preferred
        return next((each for each in same.members if _outlives(self._entries[each.key].health, lost)), preferred)

    def _preferred(self, same: SameBackend) -> Candidate:
        locked: Candidate | None = None
        for each in same.members:
            health = self._entries[each.key].health
            if not health.never_up:
                if not health.unauthorized:
                    return each
                locked = locked or each
        return locked or same.members[0]

    def _final(self, entry: Entry, winners: Mapping[Key, Candidate], held: Container[Key] = ()) -> Verdict:
        verdict = entry.verdict
        if isinstance(verdict, Rejected):
            return verdict
        winner = winners[verdict.key]
        if winner is not verdict:
            return Rejected(Reason.DUPLICATE, f"of {winner.key}", verdict.type, verdict.asked)
        health = entry.health
        if health.up or verdict.key in held:
            return entry.tool
        if health.up is None:
            return Rejected(Reason.UNPROBED, "", verdict.type, verdict.asked)
        reason = Reason.IDENTITY_MISMATCH if health.identity_mismatch else Reason.UNHEALTHY
        return Rejected(reason, health.detail, verdict.type, verdict.asked)


def tools_of(verdicts: Mapping[Key, Verdict]) -> tuple[Candidate, ...]:
    """Return the tools among ``verdicts``, in the order of publication."""
    return tuple(instances(verdict for verdict in verdicts.values() if isinstance(verdict, Candidate)))


def instances(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates in the order of publication, which depends only on the candidates.

    By type, then trusted ones first, then the admin's priority, the oldest, and the name. Within the positions that its
    Services have so far, each namespace orders them by the priority in their annotations, then age and name; see
    :func:`toolset.core.shares.by_priority`. So that priority never puts one namespace before another.
    """

    def rank(candidate: Candidate) -> tuple[str, bool, int]:
        return candidate.type, not candidate.trusted, -candidate.admin_priority

    return by_priority(sorted(candidates, key=lambda c: (*rank(c), c.created, c.key)), rank)


def _published_by(health: Health) -> tuple[object, ...]:
    """Return the parts of ``health`` that belong to a tool."""
    return health.variant, health.unauthorized, health.wants_tenant


def _outlives(health: Health, lost: Health) -> bool:
    """Return whether a candidate is up, was not failing when the preferred one was ``lost``, and needs no more."""
    if not health.up or (health.unauthorized and not lost.unauthorized):
        return False
    return not health.failures or lost.fell_s is None or health.began_s > lost.fell_s


def _still_holds(known: Entry, now: Candidate) -> bool:
    """Return whether the health in ``known`` applies to ``now`` too."""
    before, variant = known.verdict, known.health.variant
    if isinstance(before, Rejected) or _probed(before) != _probed(now):
        return False
    ways = (*now.variants, *now.fallbacks)
    return (*before.variants, *before.fallbacks) == ways if variant is None else variant in ways


def _probed(candidate: Candidate) -> tuple[object, ...]:
    """Return what determines the outcome of a probe at a variant of ``candidate``."""
    return candidate.host, candidate.type, candidate.check, candidate.health_path, candidate.address
