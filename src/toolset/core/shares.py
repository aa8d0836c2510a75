"""Divide what namespaces share: what one says of its own Services moves none of another."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from toolset.core.candidate import Candidate

UNTRUSTED: Final = ""
"""The account of all untrusted namespaces; no namespace has this name."""


def _everyone(_: str) -> bool:
    return True


class Shares(msgspec.Struct, frozen=True):
    """The account of each namespace, which counts its usage of shared resources.

    Every account has the same weight. Each trusted namespace has its own; all untrusted ones share one, and take turns
    in it. So many untrusted namespaces get no larger share of what trusted ones need.

    Attributes:
        trusted: Returns whether a namespace is trusted now.
    """

    trusted: Callable[[str], bool] = _everyone

    def account(self, namespace: str) -> str:
        """Return the account of ``namespace``: its own name, or :data:`UNTRUSTED`."""
        return namespace if self.trusted(namespace) else UNTRUSTED


def by_priority(ordered: Sequence[Candidate], rank: Callable[[Candidate], Hashable]) -> list[Candidate]:
    """Return ``ordered`` with the Services of each namespace sorted by annotation priority, within its own positions.

    A namespace keeps its positions of each rank: other namespaces keep theirs whatever the annotations say. Pairwise
    comparison cannot do that: if ``new`` precedes ``old`` in one namespace by priority, and a Service of another
    namespace is between the two by age, the order would be cyclic.

    Args:
        ordered: In the order without annotations.
        rank: What an annotation's priority cannot change; only Services of one rank are exchanged.
    """
    own: dict[tuple[str, Hashable], list[Candidate]] = {}
    for each in ordered:
        own.setdefault((each.key.namespace, rank(each)), []).append(each)
    turns: dict[tuple[str, Hashable], Iterator[Candidate]] = {
        place: iter(sorted(services, key=lambda each: -each.priority)) for place, services in own.items()
    }
    return [next(turns[each.key.namespace, rank(each)]) for each in ordered]


def in_turn(ordered: Iterable[Candidate]) -> list[Candidate]:
    """Return the trusted ones in order, then the first one of each untrusted namespace, the second, and so on.

    Args:
        ordered: In the order without shares.
    """
    seen: Counter[str] = Counter()
    turns: list[tuple[int, Candidate]] = []
    for each in ordered:
        turns.append((0 if each.trusted else 1 + seen[each.key.namespace], each))
        seen[each.key.namespace] += 1
    return [each for _, each in sorted(turns, key=lambda turn: turn[0])]
