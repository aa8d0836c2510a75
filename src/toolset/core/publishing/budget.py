"""The limits of publication: tools per type, tools for a language model, bytes for the API server.

Tools that do not fit are omitted from the end of one fixed order, so the same tools always give the same result, and a
new one at the end affects none before it. Trusted namespaces come first, so that others cannot take anything from them;
untrusted ones share the rest in turn, one tool of each namespace after another.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from toolset.core.backends.catalog import TYPES
from toolset.core.candidate import Candidate, Reason, Rejected
from toolset.core.shares import by_priority, in_turn
from toolset.model import Key

KIB: Final = 1024
WARN_BYTES: Final = 500 * KIB
LIMIT_BYTES: Final = 900 * KIB
SERVER_LIMIT_BYTES: Final = 1024 * KIB
"""Maximum size of the data of one ConfigMap (``MaxSecretSize`` of Kubernetes)."""
MARGIN_BYTES: Final = 8 * KIB
"""Reserve for additions by others during a write."""


class Caps(msgspec.Struct, frozen=True):
    """Maximum numbers of published tools.

    Attributes:
        per_type: Per type; 0 means any number.
        single: For all types that cost a language model one tool per instance; 0 means any number.
        shared: By type, the toolsets that read all its instances; any other type costs one tool per instance.
        per_untrusted: Per untrusted namespace; 0 means any number.
        untrusted: By toolset, how many instances of untrusted namespaces the reader tolerates.
        alone: The toolsets that read only one instance.
    """

    per_type: int = 0
    single: int = 0
    shared: Mapping[str, Sequence[str]] = {}
    per_untrusted: int = 0
    untrusted: Mapping[str, int] = {}
    alone: Container[str] = frozenset[str]()


class Cut(msgspec.Struct, frozen=True):
    """Which tools may be published and which may not.

    Attributes:
        kept: In the order of publication.
        dropped: Why the others may not.
    """

    kept: tuple[Candidate, ...]
    dropped: Mapping[Key, Rejected]


def size(data: Mapping[str, str]) -> int:
    """Return the size of ``data`` in a ConfigMap, including keys, bytes."""
    return sum(len(key.encode()) + len(text.encode()) for key, text in data.items())


def allowance(limit: int, foreign: int) -> int:
    """Return how many bytes this service may use.

    Args:
        limit: The limit in the settings, bytes.
        foreign: What others keep in the same ConfigMap, bytes.
    """
    return max(0, min(limit, SERVER_LIMIT_BYTES - MARGIN_BYTES - foreign))


def within_caps(tools: Sequence[Candidate], caps: Caps) -> Cut:
    """Return which ``tools`` are within the caps.

    First per untrusted namespace, then per toolset and per type: namespaces take turns, the oldest tool first, so that
    none displaces an older tool that is the first of its kind in its namespace. The limits over all types come last.

    Args:
        tools: In the order of publication.
        caps: The maximum numbers.
    """
    dropped: dict[Key, Rejected] = {}

    def keep(ordered: Iterable[Candidate], limits: Callable[[Candidate], Iterator[_Limit]]) -> None:
        taken: Counter[str] = Counter()
        for tool in ordered:
            applied = [] if tool.key in dropped else list(limits(tool))
            used_up = next((limit for limit in applied if taken[limit.share] >= limit.number), None)
            if used_up is None:
                taken.update(limit.share for limit in applied)
            else:
                dropped[tool.key] = _over(tool, used_up.sentence)

    keep(_order(tools), lambda tool: _namespace_limits(tool, caps))
    left = [tool for tool in tools if tool.key not in dropped]
    for toolset in dict.fromkeys(name for tool in left for name in caps.shared.get(tool.type, ())):
        readable = (tool for tool in left if toolset in caps.shared.get(tool.type, ()))
        keep(in_turn(readable), partial(_toolset_limits, toolset, caps=caps))
    for kind in dict.fromkeys(tool.type for tool in left):
        keep(in_turn(tool for tool in left if tool.type == kind), lambda _: _type_limits(caps))
    keep(_order(left), lambda tool: _overall_limits(tool, caps))
    return Cut(tuple(tool for tool in tools if tool.key not in dropped), dropped)


class _Limit(msgspec.Struct, frozen=True):
    """A limit that applies to a tool: what is shared, by how many tools, and its sentence."""

    share: str
    number: int
    sentence: str


def _namespace_limits(tool: Candidate, caps: Caps) -> Iterator[_Limit]:
    if caps.per_untrusted and not tool.trusted:
        sentence = f"discovery.untrusted_limit is {caps.per_untrusted} for each untrusted namespace"
        yield _Limit(tool.key.namespace, caps.per_untrusted, sentence)


def _toolset_limits(toolset: str, tool: Candidate, caps: Caps) -> Iterator[_Limit]:
    if not tool.trusted and (most := caps.untrusted.get(toolset)) is not None:
        sentence = f"HolmesGPT survives {most} {tool.type} of untrusted namespaces, should they all hang"
        yield _Limit("untrusted", most, sentence)
    if toolset in caps.alone:
        yield _Limit("alone", 1, f"HolmesGPT reads only one backend with {toolset}")


def _type_limits(caps: Caps) -> Iterator[_Limit]:
    if caps.per_type:
        yield _Limit("all", caps.per_type, f"output.max_per_type is {caps.per_type}")


def _overall_limits(tool: Candidate, caps: Caps) -> Iterator[_Limit]:
    if caps.single and tool.type not in caps.shared:
        yield _Limit("single", caps.single, f"output.max_http_tools is {caps.single}")


def within_bytes(tools: Sequence[Candidate], cost: Callable[[Candidate], int], left: int, untrusted: int) -> Cut:
    """Return which ``tools`` fit.

    Args:
        tools: In the order of publication.
        cost: The maximum size that a tool adds, bytes.
        left: The remaining size, bytes.
        untrusted: How much of that tools of untrusted namespaces may use, after the trusted ones, bytes.
    """
    used = 0
    dropped: dict[Key, Rejected] = {}
    for tool in _order(tools):
        used += 0 if dropped else cost(tool)
        if dropped or used > (left if tool.trusted else untrusted):
            dropped[tool.key] = _over(tool, "the ConfigMap is full")
    return Cut(tuple(tool for tool in tools if tool.key not in dropped), dropped)


def _order(tools: Sequence[Candidate]) -> list[Candidate]:
    """Return the tools, the last to be dropped first: trusted, first of its type, of a known type, high priority, old.

    Those of untrusted namespaces take turns, and each namespace ranks only its own.
    """
    ranks = _ranks(tools)

    def rank(tool: Candidate) -> tuple[int, bool, int]:
        return ranks[tool.key], tool.type not in TYPES, -tool.admin_priority

    return in_turn(by_priority(sorted(tools, key=lambda tool: (*rank(tool), tool.created, tool.key)), rank))


def _ranks(tools: Iterable[Candidate]) -> dict[Key, int]:
    """Return how many instances of its type come before each tool, among the trusted ones or in its namespace."""
    seen: Counter[tuple[str, str]] = Counter()
    ranks: dict[Key, int] = {}
    for tool in tools:
        share = tool.type, "" if tool.trusted else tool.key.namespace
        ranks[tool.key] = seen[share]
        seen[share] += 1
    return ranks


def _over(tool: Candidate, detail: str) -> Rejected:
    return Rejected(Reason.OVER_LIMIT, detail, tool.type, tool.asked)
