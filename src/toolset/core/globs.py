"""Glob patterns of namespaces and Services."""

from collections.abc import Iterable, Sequence


class Namespaces:
    """Which namespaces are meant; each name is compared with the globs once."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str] = ()) -> None:
        self._include = include
        self._exclude = exclude
        self._known: dict[str, bool] = {}

    def __contains__(self, namespace: str) -> bool:
        """Tell whether ``namespace`` fits one of the globs to include and none of those to exclude."""
        known = self._known.get(namespace)
        if known is None:
            known = matches_any(namespace, self._include) and not matches_any(namespace, self._exclude)
            self._known[namespace] = known
        return known


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
