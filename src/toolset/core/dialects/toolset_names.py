"""Names for instances and toolsets: safe for the tools of a language model, and never the same twice."""

import re
from collections import Counter
from collections.abc import Container, Sequence
from hashlib import sha256
from itertools import count
from typing import Final

from toolset.core.candidate import Candidate

HTTP_NAME_LIMIT: Final = 56
"""HolmesGPT appends ``_request``, and a model takes 64 characters."""
_HASH_LENGTH: Final = 8
_NOT_PLAIN: Final = re.compile(r"[^a-z0-9-]+")


def instance_names(tools: Sequence[Candidate]) -> dict[str, Candidate]:
    """Return tools of one type by name: ``namespace-service``, and ``namespace.service`` where two would meet."""
    plain = Counter(f"{tool.key.namespace}-{tool.key.name}" for tool in tools)
    named: dict[str, Candidate] = {}
    for tool in tools:
        name = f"{tool.key.namespace}-{tool.key.name}"
        named[name if plain[name] == 1 else f"{tool.key.namespace}.{tool.key.name}"] = tool
    return named


def http_names(tools: Sequence[Candidate]) -> dict[str, Candidate]:
    """Return tools by name: ``type-namespace-service``, with a hash where that is too long or taken.

    The first one keeps the plain name, so the order decides; the best instance comes first.
    """
    named: dict[str, Candidate] = {}
    for tool in tools:
        named[_free_name(tool, named)] = tool
    return named


def _free_name(tool: Candidate, taken: Container[str]) -> str:
    plain = _NOT_PLAIN.sub("-", f"{tool.type}-{tool.key.namespace}-{tool.key.name}")
    if len(plain) <= HTTP_NAME_LIMIT and plain not in taken:
        return plain
    start = plain[: HTTP_NAME_LIMIT - _HASH_LENGTH - 1].rstrip("-")
    for attempt in count():
        digest = sha256(f"{tool.type}/{tool.key}/{attempt}".encode()).hexdigest()[:_HASH_LENGTH]
        if f"{start}-{digest}" not in taken:
            return f"{start}-{digest}"
    raise AssertionError  # pragma: no cover - count never ends
