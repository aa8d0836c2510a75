"""Names for instances and toolsets: safe for the tools of a language model, and unique."""

import re
from collections import Counter
from collections.abc import Collection, Container, Sequence
from hashlib import sha256
from itertools import count
from typing import Final

from toolset.core.candidate import Candidate

HTTP_NAME_LIMIT: Final = 56
"""HolmesGPT appends ``_request``, and a model accepts 64 characters."""
_HASH_LENGTH: Final = 8
_NOT_PLAIN: Final = re.compile(r"[^a-z0-9-]+")


def instance_names(tools: Sequence[Candidate]) -> dict[str, Candidate]:
    """Return tools of one type by name: ``namespace-service``, or ``namespace.service`` on a collision.

    A static backend always keeps the name that the admin gave it.
    A name from an untrusted namespace is opaque: a language model reads it, and a tenant could write instructions
    there.
    """
    plain = Counter(_plain(tool) for tool in tools if tool.trusted)
    named = {_plain(tool) if plain[_plain(tool)] == 1 else _dotted(tool): tool for tool in tools if tool.trusted}
    for tool in tools:
        if not tool.trusted:
            named[_opaque(tool, named)] = tool
    return named


def http_names(tools: Sequence[Candidate], taken: Collection[str] = frozenset[str]()) -> dict[str, Candidate]:
    """Return tools by name: ``type-namespace-service``, with a hash if that is too long or taken.

    The first one keeps the plain name, so the order decides; static backends come first, then trusted ones, then the
    best instance. A static backend is called ``type-name``.
    Names of untrusted namespaces and of their Services are opaque.

    Args:
        tools: The best instance first.
        taken: Names that are already used.
    """
    named: dict[str, Candidate] = {}
    used = {tool_name(name) for name in taken}
    for tool in sorted(tools, key=lambda tool: (not tool.trusted, bool(tool.key.namespace))):
        name = _free_name(tool, used)
        used.add(tool_name(name))
        named[name] = tool
    return named


def tool_name(toolset: str) -> str:
    """Return how HolmesGPT writes the name of a toolset in the names of its tools; each must be unique."""
    return toolset.replace("/", "_").replace("-", "_")


def plain_http_name(tool: Candidate) -> str:
    """Return the name of the toolset of ``tool`` if it is short enough and free."""
    return _NOT_PLAIN.sub("-", f"{tool.type}-{_plain(tool) if tool.trusted else _opaque(tool, ())}")


def possible_http_names(tool: Candidate) -> tuple[str, str]:
    """Return the names of the toolset of ``tool``: if the plain one is free, and if it is taken."""
    return plain_http_name(tool), _hashed_name(tool, 0)


def possible_instance_names(tool: Candidate) -> frozenset[str]:
    """Return the names of ``tool`` as an instance: if the plain one is free, and if it is taken."""
    return frozenset({_plain(tool), _dotted(tool)})


def _plain(tool: Candidate) -> str:
    return "-".join(filter(None, (tool.key.namespace, tool.key.name)))


def _dotted(tool: Candidate) -> str:
    return ".".join(filter(None, (tool.key.namespace, tool.key.name)))


def _opaque(tool: Candidate, used: Container[str]) -> str:
    for attempt in count():
        seed = f"{tool.key}/{attempt}" if attempt else str(tool.key)
        name = f"team-{sha256(seed.encode()).hexdigest()[:_HASH_LENGTH]}"
        if name not in used:
            return name
    raise AssertionError  # pragma: no cover - count never ends


def _free_name(tool: Candidate, used: Container[str]) -> str:
    plain = plain_http_name(tool)
    if len(plain) <= HTTP_NAME_LIMIT and tool_name(plain) not in used:
        return plain
    for attempt in count():
        name = _hashed_name(tool, attempt)
        if tool_name(name) not in used:
            return name
    raise AssertionError  # pragma: no cover - count never ends


def _hashed_name(tool: Candidate, attempt: int) -> str:
    start = plain_http_name(tool)[: HTTP_NAME_LIMIT - _HASH_LENGTH - 1].rstrip("-")
    return f"{start}-{sha256(f'{tool.type}/{tool.key}/{attempt}'.encode()).hexdigest()[:_HASH_LENGTH]}"
