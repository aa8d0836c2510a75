"""How much may be published: so many tools of a type, so many for a language model, so many bytes for the API server.

What does not fit is left out from the end of one fixed order, so the same tools always give the same cut, and one more
at the end moves nothing before it.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from toolset.core.candidate import Candidate, Reason, Rejected
from toolset.model import Key

KIB: Final = 1024
WARN_BYTES: Final = 500 * KIB
LIMIT_BYTES: Final = 900 * KIB
SERVER_LIMIT_BYTES: Final = 1024 * KIB
"""What the API server takes as the data of one ConfigMap (``MaxSecretSize`` of Kubernetes)."""
MARGIN_BYTES: Final = 8 * KIB
"""Room for what somebody adds while we write."""


class Caps(msgspec.Struct, frozen=True):
    """How many tools are published.

    Attributes:
        per_type: Of one type; 0 means any number.
        single: Of all types that cost a language model one tool each; 0 means any number.
        shared: The types that share their tools, however many instances there are.
    """

    per_type: int = 0
    single: int = 0
    shared: Container[str] = frozenset[str]()


class Cut(msgspec.Struct, frozen=True):
    """What may be published and what may not.

    Attributes:
        kept: In the order of publication.
        dropped: Why the others may not.
    """

    kept: tuple[Candidate, ...]
    dropped: Mapping[Key, Rejected]


def size(data: Mapping[str, str]) -> int:
    """Return how many bytes ``data`` takes in a ConfigMap, keys included."""
    return sum(len(key.encode()) + len(text.encode()) for key, text in data.items())


def allowance(limit: int, foreign: int) -> int:
    """Return how many bytes are ours.

    Args:
        limit: What the settings allow us, bytes.
        foreign: What others keep in the same ConfigMap, bytes.
    """
    return max(0, min(limit, SERVER_LIMIT_BYTES - MARGIN_BYTES - foreign))


def within_caps(tools: Sequence[Candidate], caps: Caps) -> Cut:
    """Return which ``tools`` the caps let through.

    Args:
        tools: In the order of publication.
        caps: How many there may be.
    """
    ranks = _ranks(tools)
    dropped: dict[Key, Rejected] = {}
    single = 0
    for tool in _order(tools):
        if caps.per_type and ranks[tool.key] >= caps.per_type:
            dropped[tool.key] = _over(tool, f"output.max_per_type is {caps.per_type}")
        elif tool.type not in caps.shared:
            single += 1
            if caps.single and single > caps.single:
                dropped[tool.key] = _over(tool, f"output.max_http_tools is {caps.single}")
    return Cut(tuple(tool for tool in tools if tool.key not in dropped), dropped)


def within_bytes(tools: Sequence[Candidate], cost: Callable[[Candidate], tuple[int, ...]], left: Sequence[int]) -> Cut:
    """Return which ``tools`` fit.

    Args:
        tools: In the order of publication.
        cost: What a tool adds at most to each of several sums, bytes.
        left: How much is left of each sum, bytes.
    """
    used = [0] * len(left)
    dropped: dict[Key, Rejected] = {}
    for tool in _order(tools):
        if not dropped:
            used = [total + more for total, more in zip(used, cost(tool), strict=True)]
        if dropped or any(total > room for total, room in zip(used, left, strict=True)):
            dropped[tool.key] = _over(tool, "the ConfigMap is full")
    return Cut(tuple(tool for tool in tools if tool.key not in dropped), dropped)


def _order(tools: Iterable[Candidate]) -> list[Candidate]:
    """Return the tools from the one that goes last: first of its type, of a known type, high priority, old."""
    tools = list(tools)
    ranks = _ranks(tools)
    return sorted(
        tools, key=lambda tool: (ranks[tool.key], tool.type not in _KNOWN, -tool.priority, tool.created, tool.key)
    )


def _ranks(tools: Iterable[Candidate]) -> dict[Key, int]:
    """Return how many instances of its type come before each tool."""
    seen: dict[str, int] = {}
    ranks: dict[Key, int] = {}
    for tool in tools:
        ranks[tool.key] = seen.get(tool.type, 0)
        seen[tool.type] = ranks[tool.key] + 1
    return ranks


def _over(tool: Candidate, detail: str) -> Rejected:
    return Rejected(Reason.OVER_LIMIT, detail, tool.type, tool.asked)


_KNOWN: Final = frozenset({"prometheus", "grafana", "jaeger", "elasticsearch"})
