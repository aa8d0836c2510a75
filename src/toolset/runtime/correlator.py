"""Deduplicate and rate-limit Events: repeats are counted, look-alikes are combined, floods are dropped.

The shape and most figures are client-go's (``tools/record/events_cache.go``, ``tools/events/event_broadcaster.go``):
10 look-alikes in 10 minutes, a burst of 25 about an object and one more every 5 minutes, series that end after 6
minutes, 4,096 of everything remembered.

One thing differs. client-go allows 25 per *regarded* object, and here all Events regard the one ConfigMap: its rule
would silence the service after 25 occurrences. So the allowance belongs to the related object, separately for
``Normal`` and ``Warning``, so that frequent Events never hide a warning. Two wider allowances limit the sum: one per
namespace, the tenant boundary, so that a tenant with thousands of changing Services silences no other; and an overall
one, which limits such Events to about 610, 1 MB, in the API server with its TTL of one hour. When that is used up, each
namespace still has a few reserved, so that three namespaces together cannot silence a fourth. Namespaces may share an
account, and then use at most half of the overall allowance. Events without a related object are about the target
itself: they have a separate allowance, so that no Service can silence them.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime
from enum import Enum
from typing import Generic, TypeVar

import anyio
import msgspec

from toolset.model import Key

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Occurrence(msgspec.Struct, frozen=True):
    """One occurrence; equal ones are repeats.

    Attributes:
        kind: ``Normal`` or ``Warning``.
        reason: The reason, one word.
        action: The action, one word.
        note: The message.
        related: The object that caused it; ``None`` when it concerns the target alone.
    """

    kind: str
    reason: str
    action: str
    note: str
    related: Key | None = None


class Series(msgspec.Struct, eq=False):
    """One occurrence and its repeats, or combined look-alikes.

    Attributes:
        occurrence: The first one.
        combined: Whether the others differ in their notes.
        first_at: The time of the first one.
        last_at: The time of the last one.
        last_s: The same on the clock of ``anyio``.
        count: The number of occurrences.
        name: The name of its Event; set by the sender.
        recorded: The count in the API server; set by the sender.
        regarded: The uid of the object that its Event regards; set by the sender.
    """

    occurrence: Occurrence
    combined: bool
    first_at: datetime
    last_at: datetime
    last_s: float
    count: int = 1
    name: str = ""
    recorded: int = 0
    regarded: str = ""


class Refusal(Enum):
    """The exhausted allowance."""

    OBJECT = "object"
    NAMESPACE = "namespace"
    OVERALL = "overall"


class Allowance(msgspec.Struct, frozen=True):
    """How many series may start.

    Attributes:
        burst: The number at once.
        refill_s: Seconds until one more is allowed.
    """

    burst: int
    refill_s: float


class CorrelatorOptions(msgspec.Struct, frozen=True):
    """Limits and times; the module docstring names their sources.

    Attributes:
        look_alikes: The number of different notes of one reason after which further ones are combined.
        look_alike_s: Time after the last look-alike until that count restarts, seconds.
        series_s: Time after its last repeat until a series ends, seconds.
        remembered: Maximum number of remembered series, groups and allowances, each.
        by_object: Per related object and kind.
        by_namespace: For the related objects of one namespace.
        overall: For all related objects.
        by_account: Part of ``overall`` for namespaces that share an account.
        reserved: For the related objects of one namespace once ``overall`` is used up.
    """

    look_alikes: int = 10
    look_alike_s: float = 600.0
    series_s: float = 360.0
    remembered: int = 4096
    by_object: Allowance = Allowance(25, 300.0)
    by_namespace: Allowance = Allowance(100, 30.0)
    overall: Allowance = Allowance(250, 10.0)
    by_account: Allowance = Allowance(125, 20.0)
    reserved: Allowance = Allowance(10, 300.0)


class Correlator:
    """See the module docstring. Use it from one event loop only."""

    def __init__(
        self,
        options: CorrelatorOptions = CorrelatorOptions(),  # noqa: B008 - it is frozen
        account: Callable[[str], str] = str,
    ) -> None:
        """Start with full allowances.

        Args:
            options: Limits and times.
            account: Returns the account of a namespace; by default each has its own.
        """
        self._options = options
        self._account = account
        self._series: _Recent[Occurrence, Series] = _Recent(options.remembered)
        self._groups: _Recent[Occurrence, _Group] = _Recent(options.remembered)
        self._buckets: _Recent[Hashable, _Bucket] = _Recent(options.remembered)
        self._overall = _Bucket(options.overall)

    def observe(self, occurrence: Occurrence, at: datetime) -> Series | Refusal:
        """Count ``occurrence`` at the time ``at``; return its series, or why there is none.

        Only the start of a series uses an allowance: a series that cannot start is forgotten, and repeats of a started
        one are always counted.
        """
        now = anyio.current_time()
        series = self._series.get(occurrence)
        group = None
        if not self._is_ongoing(series, now):
            group = self._look_alikes(occurrence, now)
            series = group.series if group else None
        if series is not None and self._is_ongoing(series, now):
            series.count += 1
            series.last_at, series.last_s = at, now
            return series
        refusal = self._take(occurrence, now)
        if refusal is not None:
            return refusal
        series = Series(occurrence, group is not None, at, at, now)
        if group is not None:
            group.series = series
        else:
            self._series.put(occurrence, series)
        return series

    def _is_ongoing(self, series: Series | None, now: float) -> bool:
        return series is not None and now - series.last_s <= self._options.series_s

    def _look_alikes(self, occurrence: Occurrence, now: float) -> "_Group | None":
        """Count one more; return the group once its members are to be combined."""
        key = msgspec.structs.replace(occurrence, note="")
        group = self._groups.get(key)
        if group is None or now - group.last_s > self._options.look_alike_s:
            group = self._groups.put(key, _Group(now))
        group.last_s = now
        note = hash(occurrence.note)  # a set of complete notes would take 10 kB
        if note in group.notes:
            return None
        if len(group.notes) >= self._options.look_alikes:
            return group
        group.notes.add(note)
        return None

    def _take(self, occurrence: Occurrence, now: float) -> Refusal | None:
        """Take one from every allowance, or from none."""
        related = occurrence.related
        by_object = self._bucket((occurrence.kind, related), self._options.by_object)
        wanted = [(Refusal.OBJECT, by_object)]
        if related is not None:
            by_namespace = self._bucket(related.namespace, self._options.by_namespace)
            shared = self._shared(related.namespace, now)
            wanted += [(Refusal.NAMESPACE, by_namespace), *((Refusal.OVERALL, bucket) for bucket in shared)]
        for refusal, bucket in wanted:
            if not bucket.has_one(now):
                return refusal
        for _, bucket in wanted:
            bucket.tokens -= 1.0
        return None

    def _shared(self, namespace: str, now: float) -> "Sequence[_Bucket]":
        """Return the overall allowance, or the reserve of ``namespace`` once its part of that is used up."""
        shared = [self._overall]
        if (account := self._account(namespace)) != namespace:
            shared.append(self._bucket(("account", account, ""), self._options.by_account))
        if all(bucket.has_one(now) for bucket in shared):
            return shared
        return [self._bucket(("reserved", namespace, ""), self._options.reserved)]

    def _bucket(self, key: Hashable, allowance: Allowance) -> "_Bucket":
        return self._buckets.get(key) or self._buckets.put(key, _Bucket(allowance))


class _Group(msgspec.Struct):
    """The different notes of one reason about one object."""

    last_s: float
    notes: set[int] = msgspec.field(default_factory=set[int])
    series: Series | None = None  # those beyond the first few


class _Bucket:
    """An allowance; unlike ``backoff.TokenBucket`` it rejects instead of returning a later time."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._filled_at = 0.0
        self.tokens = float(allowance.burst)

    def has_one(self, now: float) -> bool:
        gained = (now - self._filled_at) / self._allowance.refill_s
        self.tokens = min(float(self._allowance.burst), self.tokens + gained)
        self._filled_at = now
        return self.tokens >= 1.0


class _Recent(Generic[K, V]):
    """An LRU cache."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> V:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value
