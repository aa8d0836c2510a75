"""Glob patterns of namespaces and Services."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

REMEMBERED: Final = 1024
"""Maximum number of cached results: tenants may create and delete namespaces indefinitely."""


class Namespaces:
    """Matches namespaces; results for the latest names are cached."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str] = ()) -> None:
        self._include = include
        self._exclude = exclude
        self._matches = lru_cache(maxsize=REMEMBERED)(self._compare)

    def __contains__(self, namespace: str) -> bool:
        """Return whether ``namespace`` matches one of the globs to include and none of those to exclude."""
        return self._matches(namespace)

    @property
    def remembered(self) -> int:
        """The number of cached names."""
        return self._matches.cache_info().currsize

    def _compare(self, namespace: str) -> bool:
        return matches_any(namespace, self._include) and not matches_any(namespace, self._exclude)


def matches_any(text: str, globs: Iterable[str]) -> bool:
    """Return whether ``text`` matches one of ``globs``."""
    return any(matches_glob(text, glob) for glob in globs)


def matches_glob(text: str, glob: str) -> bool:
    """Return whether ``text`` matches ``glob``, in which ``*`` stands for any characters."""
    head, *rest = glob.split("*")
    if not rest:
        return text == glob
    if not text.startswith(head):
        return False
    *middle, tail = rest
    position = len(head)
    for part in middle:
        position = text.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return len(text) - position >= len(tail) and text.endswith(tail)
