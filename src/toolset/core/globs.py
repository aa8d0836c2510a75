"""Namespace globs."""

from collections.abc import Iterable


def matches_any(text: str, globs: Iterable[str]) -> bool:
    """Tell whether ``text`` fits one of ``globs``."""
    return any(matches_glob(text, glob) for glob in globs)


def matches_glob(text: str, glob: str) -> bool:
    """Tell whether ``text`` fits ``glob``, in which ``*`` stands for any characters."""
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
