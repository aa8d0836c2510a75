"""Keep a value that expires: renew it in time, or when it was refused, once for all callers."""

import math
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

import anyio
import msgspec
from anyio.abc import TaskGroup

from toolset.errors import SettingsError, ToolsetError, UnavailableError

T = TypeVar("T")

FORCED_S: Final = 10.0
"""Minimum time between renewals of a value that keeps being refused, seconds (client-go: 10 s)."""

SHARE: Final = 0.8
"""The share of its lifetime after which a value is renewed, as in the kubelet."""


class Loaded(msgspec.Struct, Generic[T], frozen=True):
    """A value that was just loaded.

    Attributes:
        value: The value.
        good_for_s: When to renew it, seconds from now.
        lives_s: When it expires, seconds from now; infinite if it is valid until it is refused.
    """

    value: T
    good_for_s: float
    lives_s: float = math.inf


def ending(value: T, lives_s: float) -> Loaded[T]:
    """Return a value that expires in ``lives_s`` seconds: renewed when a fifth of that is left, never immediately."""
    return Loaded(value, max(lives_s * SHARE, FORCED_S), max(lives_s, FORCED_S))


class _Attempt:
    """A running renewal, and the error that its waiters get instead of a value."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.error: ToolsetError | None = None


class Renewal(Generic[T]):
    """The last good value, and when it must be renewed; use it as an async context manager.

    Renewals run in a separate task, one at a time: callers only wait, so none of their deadlines can cancel one. While
    the value is still good, callers do not wait. A failed renewal leaves the last good value in place.
    """

    def __init__(
        self, load: Callable[[], Awaitable[Loaded[T]]], clock: Callable[[], float] = anyio.current_time
    ) -> None:
        """Create it; nothing is loaded yet.

        Args:
            load: Returns a value; raises SettingsError when there is none.
            clock: Returns the time, seconds.
        """
        self._load = load
        self._clock = clock
        self._group: TaskGroup | None = None
        self._wake = anyio.Event()
        self._attempt: _Attempt | None = None
        self._value: T | None = None
        self._renew_at = math.inf  # once there is a value
        self._ends_at = -math.inf
        self._refused = False
        self._forced_at = -math.inf

    async def __aenter__(self) -> Self:
        """Start renewing."""
        self._group = await anyio.create_task_group().__aenter__()
        self._group.start_soon(self._run, name="credentials")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Stop; a renewal that runs is cancelled."""
        group, self._group = self._group, None
        if group is None:
            return None
        group.cancel_scope.cancel()
        if isinstance(error, Exception):  # the group would wrap it, although none of its tasks raised it
            await group.__aexit__(None, None, None)
            return None
        return await group.__aexit__(kind, error, trace)

    async def current(self) -> T:
        """Return the value to use now; cheap while it is good.

        Raises:
            SettingsError: There never was one.
            UnavailableError: It was refused or has expired, and there is no other.
        """
        now = self._clock()
        if self._value is not None and now < self._renew_at:
            return self._value
        attempt = self._begun()
        if self._value is not None and not self._refused and now < self._ends_at:
            return self._value
        return await self._result(attempt)

    def refused(self, value: T) -> None:
        """Note that ``value`` was refused: unless it was replaced meanwhile, it is renewed, immediately if allowed."""
        if value is self._value:
            now = self._clock()
            self._refused = True
            self._renew_at = min(self._renew_at, max(now, self._forced_at + FORCED_S))
            if self._renew_at <= now:
                self._begun()

    async def _run(self) -> None:
        """Renew the value in time, and on demand."""
        while True:
            left_s = math.inf if self._value is None else self._renew_at - self._clock()
            with anyio.move_on_after(max(left_s, 0.0)):
                await self._wake.wait()
            attempt = self._begun()
            attempt.error = await self._renewed()
            self._wake, self._attempt = anyio.Event(), None
            attempt.done.set()

    async def _renewed(self) -> ToolsetError | None:
        """Load a value; return why the waiters get none."""
        started = self._clock()
        if self._refused:
            self._forced_at = started
        try:
            loaded = await self._load()
        except SettingsError as error:
            return self._failed(error, started)
        self._value = loaded.value
        self._renew_at, self._ends_at = started + loaded.good_for_s, started + loaded.lives_s
        self._refused = False  # what was refused meanwhile is the previous value
        return None

    def _failed(self, error: SettingsError, started: float) -> ToolsetError | None:
        if self._value is None:
            return error
        refused, self._refused = self._refused, False
        self._renew_at = started + FORCED_S
        if not refused and self._clock() < self._ends_at:
            return None
        return UnavailableError(f"the credentials were refused or have ended, and cannot be renewed: {error}")

    async def _result(self, attempt: "_Attempt") -> T:
        await attempt.done.wait()
        if attempt.error is not None:
            raise type(attempt.error)(str(attempt.error)) from attempt.error
        if self._value is None:
            raise RuntimeError("a renewal ended without a value and without an error")
        return self._value

    def _begun(self) -> "_Attempt":
        """Return the running renewal; start one if there is none."""
        if self._group is None:
            raise RuntimeError("the credentials are used outside their context")
        if self._attempt is None:
            self._attempt = _Attempt()
            self._wake.set()
        return self._attempt
