"""Group the candidates of a namespace and type by backend: which Services lead to the same one.

Two Services have one backend if their ports can be the same and one selector is contained in the other, or if they are
parts of one installation. That is transitive, with two exceptions. If a named port could be either of two numbers, it
counts as the number of the preferred Service. A governing Service spans all instances of its operator in the namespace,
so it never joins them.

The result depends only on the candidates, not on their health or the order in which they were added. The work is
bounded for every namespace and type, whatever selectors a tenant creates.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from toolset.core.candidate import Candidate, Selector
from toolset.model import Key

CONTAINERS_LIMIT: Final = 32
"""Maximum number of selectors that are searched for in one other selector, the widest first."""
PORTS_LIMIT: Final = 4
"""Maximum number of ports of one selector that are compared with those of another, in the order of preference."""


class SameBackend(msgspec.Struct, frozen=True):
    """The candidates of one backend.

    Attributes:
        members: One of these is published, in the order of preference.
        followers: Governing Services that also lead to other backends: never published while there are members.
    """

    members: tuple[Candidate, ...]
    followers: tuple[Candidate, ...] = ()

    @property
    def all(self) -> tuple[Candidate, ...]:
        """All of them."""
        return (*self.members, *self.followers)


def preference(candidate: Candidate) -> tuple[bool, bool, int, int, str, Key]:
    """Return the sort key of a candidate among those of its backend, which needs no probe.

    Not headless, not governing, the most complete part, the wider selector, the oldest, by name.
    """
    backend = candidate.backend
    width = len(backend.selector)
    return candidate.headless, backend.governing, backend.part, width, candidate.created, candidate.key


class Duplicates:
    """The candidates by backend; a change regroups only its namespace and type."""

    def __init__(self) -> None:
        """Create an empty index."""
        self._places: dict[tuple[str, str], dict[Key, Candidate]] = {}
        self._groups: dict[tuple[str, str], tuple[SameBackend, ...]] = {}
        self._by_key: dict[Key, SameBackend] = {}

    def put(self, candidate: Candidate) -> None:
        """Add ``candidate``, or replace the previous candidate of its Service."""
        self._places.setdefault(_place(candidate), {})[candidate.key] = candidate
        self._groups.pop(_place(candidate), None)

    def remove(self, candidate: Candidate) -> None:
        """Remove ``candidate``."""
        place = _place(candidate)
        candidates = self._places[place]
        del candidates[candidate.key]
        self._by_key.pop(candidate.key, None)
        self._groups.pop(place, None)
        if not candidates:
            del self._places[place]

    def of(self, candidate: Candidate) -> SameBackend:
        """Return the candidates of the backend of ``candidate``."""
        self._grouped(_place(candidate))
        return self._by_key[candidate.key]

    def near(self, candidate: Candidate) -> tuple[SameBackend, ...]:
        """Return the backends of the namespace and type of ``candidate``."""
        return self._grouped(_place(candidate))

    def __iter__(self) -> Iterator[tuple[SameBackend, ...]]:
        """Return the backends of each namespace and type."""
        return map(self._grouped, self._places)

    def _grouped(self, place: tuple[str, str]) -> tuple[SameBackend, ...]:
        if place not in self._groups:
            self._groups[place] = by_backend(self._places[place].values())
            self._by_key.update((each.key, same) for same in self._groups[place] for each in same.all)
        return self._groups[place]


def _place(candidate: Candidate) -> tuple[str, str]:
    return candidate.key.namespace, candidate.type


def joined(groups: Sequence[SameBackend], backend_id: Callable[[Key], str]) -> Sequence[SameBackend]:
    """Return ``groups``, merged where members have reported the same backend.

    Args:
        groups: The backends of one namespace and type.
        backend_id: Returns the id that the backend of a Service reports, such as Elasticsearch's ``cluster_uuid``;
            empty if it reports none.
    """
    if len(groups) < 2:
        return groups
    by_id: dict[str, int] = {}
    leaders = list(range(len(groups)))
    for number, same in enumerate(groups):
        for name in filter(None, (backend_id(each.key) for each in same.members)):
            _join(leaders, by_id.setdefault(name, number), number)
    if not by_id:
        return groups
    together: dict[int, list[SameBackend]] = {}
    for number, same in enumerate(groups):
        together.setdefault(_leader(leaders, number), []).append(same)
    return [each[0] if len(each) == 1 else _merged(each) for each in together.values()]


def _merged(groups: Sequence[SameBackend]) -> SameBackend:
    members = sorted((each for same in groups for each in same.members), key=preference)
    return SameBackend(tuple(members), tuple(each for same in groups for each in same.followers))


def _leader(leaders: list[int], number: int) -> int:
    """Return the lowest number in the set of ``number``."""
    while leaders[number] != number:
        leaders[number] = number = leaders[leaders[number]]
    return number


def _join(leaders: list[int], one: int, other: int) -> None:
    """Merge the sets of two numbers."""
    one, other = _leader(leaders, one), _leader(leaders, other)
    leaders[max(one, other)] = min(one, other)


class _Pods(msgspec.Struct, frozen=True):
    """Indistinguishable candidates: the same pods, the same port.

    Attributes:
        rank: Its place in the order of preference.
        port: Number or name.
        governing: Whether these are governing Services.
        candidates: In the order of preference.
    """

    rank: int
    port: int | str
    governing: bool
    candidates: list[Candidate]


def by_backend(candidates: Iterable[Candidate]) -> tuple[SameBackend, ...]:
    """Return the candidates of one namespace and type by backend."""
    ordered = sorted(candidates, key=preference)
    if len(ordered) == 1:
        return (SameBackend((ordered[0],)),)
    alone = tuple(SameBackend((each,)) for each in ordered if not each.backend.selector)
    pods: dict[tuple[Selector, int | str, bool], _Pods] = {}
    by_selector: dict[Selector, list[_Pods]] = {}
    for each in ordered:
        backend = each.backend
        if not backend.selector:
            continue
        key = backend.selector, backend.port, backend.governing
        if key not in pods:
            pods[key] = _Pods(len(pods), backend.port, backend.governing, [])
            by_selector.setdefault(backend.selector, []).append(pods[key])
        pods[key].candidates.append(each)
    return (*_Grouping(list(pods.values()), by_selector).groups(), *alone)


class _Grouping:
    """Groups pods into backends, by union-find; the representative of a set is its preferred member."""

    def __init__(self, pods: Sequence[_Pods], by_selector: Mapping[Selector, Sequence[_Pods]]) -> None:
        self._pods = pods
        self._leaders = list(range(len(pods)))
        self._possible: list[tuple[int, int]] = []  # name, number
        self._governed: dict[int, list[int]] = {}
        for inner, outer in containments(by_selector):
            self._compare(by_selector[inner], by_selector[outer])
        self._settle_names()
        self._join_parts(by_selector.values())

    def groups(self) -> list[SameBackend]:
        """Return the backends."""
        members: dict[int, list[int]] = {}
        followers: dict[int, list[int]] = {}
        for pods in self._pods:
            leader = self._leader(pods.rank)
            if not pods.governing:
                members.setdefault(leader, []).append(pods.rank)
        for leader, ranks in self._governing_sets().items():
            governed = sorted({self._leader(other) for rank in ranks for other in self._governed.get(rank, ())})
            place = members if len(governed) < 2 else followers
            place.setdefault(governed[0] if governed else leader, []).extend(ranks)
        return [
            SameBackend(self._sorted(ranks), self._sorted(followers.get(leader, ())))
            for leader, ranks in sorted(members.items())
        ]

    def _governing_sets(self) -> dict[int, list[int]]:
        sets: dict[int, list[int]] = {}
        for pods in self._pods:
            if pods.governing:
                sets.setdefault(self._leader(pods.rank), []).append(pods.rank)
        return sets

    def _sorted(self, ranks: Iterable[int]) -> tuple[Candidate, ...]:
        found = [each for rank in ranks for each in self._pods[rank].candidates]
        return tuple(sorted(found, key=preference) if len(found) > 1 else found)

    def _compare(self, inner: Sequence[_Pods], outer: Sequence[_Pods]) -> None:
        """Join the common ports of two selectors of which one contains the other."""
        for one in inner[:PORTS_LIMIT]:
            for other in outer[:PORTS_LIMIT]:
                if one is not other and _comparable(one.port, other.port):
                    self._relate(one, other)

    def _relate(self, one: _Pods, other: _Pods) -> None:
        if one.governing != other.governing:
            governing, governed = (one, other) if one.governing else (other, one)
            self._governed.setdefault(governing.rank, []).append(governed.rank)
        elif one.port == other.port:
            self._join(one.rank, other.rank)
        else:
            name, number = (one, other) if isinstance(one.port, str) else (other, one)
            self._possible.append((name.rank, number.rank))

    def _settle_names(self) -> None:
        """Resolve each named port to the number of the preferred Service that it could be."""
        numbers: dict[int, list[int]] = {}
        for name, number in self._possible:
            numbers.setdefault(self._leader(name), []).append(number)
        for name, ranks in numbers.items():
            chosen = self._pods[min(ranks)].port
            for rank in ranks:
                if self._pods[rank].port == chosen:
                    self._join(name, rank)

    def _join_parts(self, selectors: Iterable[Sequence[_Pods]]) -> None:
        """Join the Services of the parts of one installation, whatever their ports, one port of each selector."""
        first: dict[str, int] = {}
        for pods in selectors:
            same = next((each for each in pods if not each.governing), None)
            if same is not None and (installation := same.candidates[0].backend.installation):
                self._join(first.setdefault(installation, same.rank), same.rank)

    def _leader(self, rank: int) -> int:
        return _leader(self._leaders, rank)

    def _join(self, one: int, other: int) -> None:
        _join(self._leaders, one, other)


def _comparable(one: int | str, other: int | str) -> bool:
    """Return whether two ports on the same pods can be the same one: a name may be any number."""
    return one == other or isinstance(one, str) is not isinstance(other, str)


def containments(selectors: Iterable[Selector]) -> Iterator[tuple[Selector, Selector]]:
    """Yield pairs of selectors of which one contains the other, including each with itself: the smaller one first.

    A selector is indexed by the rarest of its pairs, and can be contained only in those that have this pair.
    """
    every = sorted(selectors, key=lambda selector: (len(selector), sorted(selector)))
    counts = Counter(pair for selector in every for pair in selector)
    filed: dict[tuple[str, str], list[Selector]] = {}
    for selector in every:
        filed.setdefault(min(selector, key=lambda pair: (counts[pair], pair)), []).append(selector)
    for selector in every:
        yield selector, selector
        left = CONTAINERS_LIMIT
        for pair in sorted(selector):
            for inner in filed.get(pair, ())[:left]:
                if len(inner) >= len(selector):
                    break
                left -= 1
                if inner < selector:
                    yield inner, selector
