"""Keep a value that ages: renew it in time, or when it was refused, once for all who wait for it."""

import math
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import anyio

from toolset.errors import SettingsError, UnavailableError

T = TypeVar("T")

FORCED_S: Final = 10.0
"""A value that goes on being refused is renewed at most this often, seconds (client-go: every 10 s)."""


class Renewal(Generic[T]):
    """The last good value, and when it has to be renewed.

    One renewal runs at a time, however many ask. One that fails leaves the last good value in place.
    """

    def __init__(
        self, load: Callable[[], Awaitable[tuple[T, float]]], clock: Callable[[], float] = anyio.current_time
    ) -> None:
        """Make it; nothing is loaded yet.

        Args:
            load: Returns a value and for how long it is good, seconds; raises SettingsError when there is none.
            clock: Tells the time, seconds.
        """
        self._load = load
        self._clock = clock
        self._lock = anyio.Lock()
        self._value: T | None = None
        self._renew_at = -math.inf
        self._forced = False
        self._forced_at = -math.inf

    async def current(self) -> T:
        """Return the value to use now; cheap while it is good.

        Raises:
            SettingsError: There never was one.
            UnavailableError: It was refused, and there is no other.
        """
        if self._value is not None and self._clock() < self._renew_at:
            return self._value
        async with self._lock:
            value = self._value  # somebody may have renewed it meanwhile
            return await self._renew() if value is None or self._clock() >= self._renew_at else value

    def refused(self, value: T) -> None:
        """Take note that ``value`` was refused: unless it was replaced meanwhile, the next call renews it."""
        if value is self._value:
            self._forced = True
            self._renew_at = min(self._renew_at, max(self._clock(), self._forced_at + FORCED_S))

    async def _renew(self) -> T:
        forced, self._forced = self._forced, False
        started = self._clock()
        if forced:
            self._forced_at = started
        try:
            value, good_for_s = await self._load()
        except SettingsError as error:
            if self._value is None:
                raise
            self._renew_at = started + FORCED_S
            if forced:
                raise UnavailableError(f"the credentials were refused and cannot be renewed: {error}") from error
            return self._value
        self._value, self._renew_at = value, started + good_for_s
        self._forced = False  # whatever was refused meanwhile is the value before
        return value
