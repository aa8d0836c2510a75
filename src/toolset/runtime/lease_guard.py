"""Work only while no other process holds the Lease: for a process that does not participate in the election.

A holder is alive while it renews the Lease. A Lease that is seen for the first time counts as held: for its duration if
``renewTime`` is recent, else for two renewals, because the clock of the holder may be wrong. Each later renewal extends
that by the duration, on the monotonic clock, as in the election.
"""

import math
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Final, Protocol

import anyio

from toolset.errors import ForbiddenError, TransientError
from toolset.model import Lease
from toolset.runtime.backoff import RETRY_AFTER_CAP_S
from toolset.runtime.election import DEFAULT_OPTIONS, ElectorOptions, LeaseClient
from toolset.runtime.observed_lease import utc_now

_LONG_AGO: Final = datetime.min.replace(tzinfo=timezone.utc)


class LeaseGuardObserver(Protocol):
    """What a guard reports."""

    def held(self, holder: str) -> None:
        """Another process holds the Lease, so this one does not work; reported once for each holder."""

    def unreadable(self, error: ForbiddenError) -> None:
        """Reading the Lease is forbidden, so no holder is respected."""

    def failed(self, error: Exception) -> None:
        """A request failed; it is retried."""


class LeaseGuard:
    """Runs work while nobody holds the Lease; use it from one event loop only."""

    def __init__(
        self,
        client: LeaseClient,
        observer: LeaseGuardObserver,
        *,
        options: ElectorOptions = DEFAULT_OPTIONS,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Create it.

        Args:
            client: The Lease; only read.
            observer: Notified of events.
            options: How often it is read: every ``retry_s`` while another process holds it, else every ``lease_s``.
            now: The wall clock, only to compare it with ``renewTime`` of a Lease that is seen for the first time.
        """
        self._client = client
        self._observer = observer
        self._options = options
        self._now = now
        self._version: str | None = None  # as last seen, empty for none; ``None`` before the first answer
        self._holder = ""
        self._reported = ""
        self._held_until = math.inf  # unknown until the first answer
        self._readable = True
        self._patient_until = -math.inf
        self._waiting = False
        self._has_waited = False

    @property
    def is_waiting(self) -> bool:
        """Whether it blocks work."""
        return self._waiting

    @property
    def has_waited(self) -> bool:
        """Whether it blocked work before: this process's view of the cluster may be stale."""
        return self._has_waited

    @property
    def holder(self) -> str:
        """The last known holder; empty if there is none, or if the Lease could not be read yet."""
        return self._holder

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` whenever nobody holds the Lease, until it returns; cancel it when a process takes the Lease.

        Raises:
            ExceptionGroup: What ``work`` raised; never an error of a request.
        """
        ended = False
        while not ended:
            await self._wait()
            async with anyio.create_task_group() as group:
                group.start_soon(self._cancel_when_held, group.cancel_scope)
                await work()
                ended = True
                group.cancel_scope.cancel()

    async def _wait(self) -> None:
        self._waiting = True
        await self._read()
        while self._is_held():
            if self._holder != self._reported:
                self._reported = self._holder
                self._observer.held(self._holder)
            self._has_waited = True
            await self._pause(self._options.retry_s)
            await self._read()
        self._waiting, self._reported = False, ""

    async def _cancel_when_held(self, work: anyio.CancelScope) -> None:
        while self._readable:
            await self._pause(self._options.lease_s)
            await self._read()
            if self._is_held():
                work.cancel()
                return

    def _is_held(self) -> bool:
        return anyio.current_time() < self._held_until

    async def _pause(self, pause_s: float) -> None:
        await anyio.sleep_until(max(self._patient_until, anyio.current_time() + pause_s))

    async def _read(self) -> None:
        try:
            with anyio.fail_after(self._options.request_s):
                lease = await self._client.read()
        except ForbiddenError as error:
            self._observer.unreadable(error)
            self._readable, self._held_until, self._holder = False, -math.inf, ""
        except Exception as error:  # noqa: BLE001 - it is read again, and until then the last state applies
            self._observer.failed(error)
            asked_s = error.retry_after_s if isinstance(error, TransientError) else 0.0
            self._patient_until = anyio.current_time() + min(asked_s, RETRY_AFTER_CAP_S)
        else:
            self._see(lease)

    def _see(self, lease: Lease | None) -> None:
        before, self._version = self._version, lease.version if lease else ""
        if self._version == before:
            return
        self._holder = lease.holder if lease else ""
        if lease is None or not self._holder:
            self._held_until = -math.inf
            return
        duration_s = float(lease.spec.lease_duration_seconds or self._options.lease_s)
        is_old = before is None and _renewed(lease) + timedelta(seconds=duration_s) < self._now()
        self._held_until = anyio.current_time() + (2.0 * self._options.retry_s if is_old else duration_s)


def _renewed(lease: Lease) -> datetime:
    """Return when ``lease`` was renewed, by the clock of its holder; long ago if it does not say."""
    try:
        renewed = datetime.fromisoformat(lease.spec.renew_time or "")
    except ValueError:
        return _LONG_AGO
    return renewed if renewed.tzinfo else renewed.replace(tzinfo=timezone.utc)
