"""Durations as written in settings."""

import re
from typing import Final

from typing_extensions import override

_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_UNIT_S: Final = (3600.0, 60.0, 1.0, 0.001)


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
            raise ValueError("Expected a duration such as `30s`, `5m` or `250ms`")
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
            raise ValueError("Expected a duration of more than `0s`")
        return cls(length)
