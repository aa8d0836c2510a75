"""Durations as written in settings."""

import re
from typing import Final

from typing_extensions import override

from toolset.core.json_values import quoted

_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_UNIT_S: Final = (3600.0, 60.0, 1.0, 0.001)
_WORDS: Final = re.compile(r"(\d+(?:\.\d+)?) *(ms|milli|h|m|s|\Z)[a-z]*")
"""A number and its unit as people write them in other places."""


class Duration(float):
    """A duration in seconds, written as ``5m``, ``30s``, ``1m30s`` or ``250ms``."""

    @classmethod
    def parse(cls, text: object) -> "Duration":
        """Return the duration ``text``.

        Raises:
            ValueError: It is not a valid duration.
        """
        match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
        if match is None:
            raise ValueError(f"expected a duration such as `30s`, `5m` or `250ms`{_not(text)}")
        return cls(sum(float(part) * unit for part, unit in zip(match.groups("0"), _UNIT_S, strict=True)))


class Interval(Duration):
    """A positive duration, so that a loop that waits for it does not spin."""

    @classmethod
    @override
    def parse(cls, text: object) -> "Interval":
        """Return the interval ``text``.

        Raises:
            ValueError: It is not a valid duration.
        """
        length = super().parse(text)
        if length <= 0:
            raise ValueError("expected a duration of more than `0s`")
        return cls(length)


def _not(value: object) -> str:
    """Return how a value is not written, and how it probably should be."""
    wrong = quoted(value)
    if not wrong:
        return ""
    words = _WORDS.fullmatch(wrong.strip("`").strip().lower())
    near = words[1] + {"milli": "ms", "": "s"}.get(words[2], words[2]) if words else ""
    return f", not {wrong}" + (f"; write `{near}`" if near and _DURATION.fullmatch(near) else "")
