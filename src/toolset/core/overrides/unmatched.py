"""Names in overrides that no Service has: probably misspelt, or of a Service that is created later."""

import difflib
from collections.abc import Collection, Iterator
from typing import Final

from toolset.core.overrides.overrides import Overrides
from toolset.model import Key

HINTS_LIMIT: Final = 3
"""To look for the nearest name takes milliseconds in a cluster of 10,000 Services."""


def unmatched(overrides: Overrides, known: Collection[Key]) -> tuple[str, ...]:
    """Return a sentence for each name in ``overrides`` that is not in ``known``; the first few propose the nearest one.

    Args:
        overrides: Those in force.
        known: Every Service of the cluster, and the static backends of the settings.
    """
    missing = [(name, place) for name, place in _named(overrides) if _key(name) not in known]
    return tuple(
        f"{place}: there is no {_kind(name)} {name}{_hint(name, known) if number < HINTS_LIMIT else ''}"
        for number, (name, place) in enumerate(missing)
    )


def _named(overrides: Overrides) -> Iterator[tuple[str, str]]:
    for name in overrides.tools:
        yield name, overrides.place("tools", name)
    for section, names in (("suppress", overrides.suppress), ("approve", overrides.approve)):
        for name in sorted(names):
            yield name, overrides.place(section)


def _key(name: str) -> Key:
    namespace, _, own = name.rpartition("/")
    return Key(namespace, own)


def _kind(name: str) -> str:
    return "Service" if "/" in name else "static backend"


def _hint(name: str, known: Collection[Key]) -> str:
    key = _key(name)
    similar = [str(each) for each in known if key.name == each.name or key.namespace == each.namespace]
    near = difflib.get_close_matches(name, similar, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""
