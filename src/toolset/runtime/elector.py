"""Elect one leader among replicas through a Lease, and end its work before another one can start.

Why there are never two:

- A leadership is valid for ``lease_s`` from the moment *before* its last successful write was sent. A standby takes
  the Lease only when it has seen the same version of it for as long as the holder requested, and it cannot have seen
  it before it was written. Only the monotonic clock and one that continues while the machine is suspended are used;
  the wall clock is recorded for people.
- Every write is fenced by the version that was read, so of two concurrent ones, one fails.
- A leader that could not renew for ``renew_s`` cancels its work, waits for it to end, and becomes a standby again.
- A deleted Lease proves nothing about its holder: a standby that ever saw it held waits as if it had just been renewed.
- It is released only when the work has ended.

After a suspend, the leadership has expired, and nothing is written before the Lease is renewed or taken again.

A standby reads the Lease at the start, and then when the Lease can be taken. The watch, through
:meth:`Elector.observe`, reports a release immediately, and each renewal extends the expiry. If a read finds a change
that the watch has not reported, the watch is not trusted: the standby then reads every ``retry_s``, with jitter,
until the watch has caught up.

A ``Retry-After`` of the server is obeyed; a leader tries once again before its time is over.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from toolset.errors import ConflictError, InvalidError, LeadershipLostError
from toolset.model import Lease
from toolset.runtime.election import (
    DEFAULT_OPTIONS,
    ElectionObserver,
    ElectorOptions,
    Leadership,
    LeaseClient,
    NoElectionObserver,
)
from toolset.runtime.observed_lease import ObservedLease, utc_now

LAST_TRY_S: Final = 1.0
"""The time reserved for the last attempt to renew, seconds: the minimum time limit of one request."""
RELEASE_RETRY_S: Final = 0.1
"""Time between two attempts to release the Lease, seconds; arbitrary."""

T = TypeVar("T")

Lead = Callable[[Leadership], Awaitable[None]]


class Elector:
    """One replica's part in the election; see the module docstring. Use it from one event loop only."""

    def __init__(
        self,
        client: LeaseClient,
        identity: str,
        *,
        jitter: Callable[[], float],
        options: ElectorOptions = DEFAULT_OPTIONS,
        observer: ElectionObserver | None = None,
        now: Callable[[], datetime] = utc_now,
        boottime: Callable[[], float] = anyio.current_time,
    ) -> None:
        """Create a standby.

        Args:
            client: The Lease.
            identity: Unique to this process: a process that finds its identity in the Lease regards it as its own.
            jitter: Returns a number in [0, 1).
            options: The times.
            observer: Notified of events.
            now: The wall clock, only for what is written into the Lease.
            boottime: A clock that continues while the machine is suspended, seconds.
        """
        self._boottime = boottime
        self._identity = identity
        self._jitter = jitter
        self._options = options
        self._observer: ElectionObserver = observer or NoElectionObserver()
        self._lease = ObservedLease(client, identity, options, self._observer, now, boottime)
        self._freed = anyio.Event()  # set when the watch reports that it can be taken
        self._stood_by = False
        self._stands_down = False
        self._standing_by = anyio.CancelScope()
        self._running: anyio.Event | None = None  # set when a run has ended
        self._leadership: Leadership | None = None

    @property
    def leader(self) -> str:
        """The holder that was last seen; empty for none."""
        return self._lease.holder

    def healthy(self, *, grace_s: float = 20.0) -> bool:
        """Return whether this replica is a standby, leads, or has exceeded its time by less than ``grace_s`` seconds.

        Otherwise its work does not end, and the process must be restarted. The default is kube-controller-manager's.
        """
        return self._leadership is None or anyio.current_time() < self._leadership.valid_until + grace_s

    def observe(self, lease: Lease | None) -> None:
        """Record what a watch reports; ``None`` if the Lease was deleted. It may be stale, so it decides nothing."""
        if self._leadership is not None:  # a leader relies on its own writes, and the watch lags behind them
            return
        self._lease.observe(lease)
        if self._lease.held_until <= anyio.current_time():
            self._freed.set()

    async def run(self, lead: Lead) -> None:
        """Stand by, and run ``lead`` whenever this replica leads, until cancelled or until ``lead`` returns.

        When the Lease is lost, ``lead`` is cancelled, and may be called again later; a :class:`LeadershipLostError`
        from it is treated the same. At the end the Lease is released, after ``lead`` has ended; until then it is
        renewed, even while a cancelled ``lead`` winds down.

        Raises:
            ExceptionGroup: What ``lead`` raised; never an error of a request.
        """
        running = self._running = anyio.Event()
        try:
            while not self._stands_down:
                leadership = await self._as_standby(self._attempt)
                if leadership is not None and await self._serve(leadership, lead):
                    return
                await self._as_standby(self._wait)
        finally:
            try:
                await self._release()
            finally:
                running.set()

    async def stand_down(self) -> None:
        """Finish without returning to standby: return once :meth:`run` has ended and the Lease is released.

        A standby stops immediately. A leader leads until ``lead`` has ended or the Lease is lost, and does not return
        to standby.
        """
        self._stands_down = True
        self._standing_by.cancel()
        if self._running is not None:
            await self._running.wait()

    async def _as_standby(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Return what ``work`` returns; ``None`` as soon as this replica finishes."""
        with anyio.CancelScope() as self._standing_by:
            result = None if self._stands_down else await work()
            return None if self._stands_down else result
        return None

    async def _attempt(self) -> Leadership | None:
        """Read the Lease and take it if it is free."""
        self._freed = anyio.Event()
        try:
            await self._lease.read()
            if anyio.current_time() >= self._lease.held_until:
                return await self._take()
        except ConflictError:  # another replica was faster
            return None
        except Exception as error:  # noqa: BLE001 - a standby that fails with a bug would never lead
            self._lease.failed(error)
        return None

    async def _take(self) -> Leadership | None:
        epoch = await self._lease.take()
        leadership = Leadership(
            self._identity,
            epoch,
            self._lease.renewed_at + self._options.lease_s,
            stood_by=self._stood_by,
            awake_until=self._lease.renewed_awake_at + self._options.lease_s,
            boottime=self._boottime,
        )
        return leadership if leadership.remaining_s() else None  # the event loop stalled

    async def _wait(self) -> None:
        """Return when the next attempt is useful, and allowed by the server."""
        self._stood_by = True
        await self._wait_for_lease()
        await anyio.sleep_until(self._lease.patient_until)

    async def _wait_for_lease(self) -> None:
        now = anyio.current_time()
        retry_at = now + self._options.retry_s * (1.0 + (self._options.jitter - 1.0) * self._jitter())
        if self._lease.held_until <= now:  # it is free, but could not be taken or kept
            await anyio.sleep_until(retry_at)
            return
        while not self._freed.is_set():
            due = self._lease.held_until if self._lease.is_watched else min(self._lease.held_until, retry_at)
            if due <= anyio.current_time():
                return
            with anyio.CancelScope(deadline=due):
                await self._freed.wait()

    async def _serve(self, leadership: Leadership, lead: Lead) -> bool:
        """Run ``lead`` while the Lease is renewed; return whether it returned on its own."""
        ended = lost = False
        working, renewing = anyio.CancelScope(), anyio.CancelScope(shield=True)
        self._leadership = leadership
        self._observer.started_leading(leadership.epoch)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep, leadership, renewing, working)
                try:
                    with working:
                        await checkpoint()  # do not start if cancelled meanwhile
                        await lead(leadership)
                        ended = True
                except* LeadershipLostError:
                    lost = True
                finally:
                    renewing.cancel()
        finally:
            lost = lost or leadership.lost.is_set()
            leadership.lost.set()
            self._leadership = None
            self._observer.stopped_leading(leadership.epoch, lost=lost)
        return ended and not lost

    async def _keep(self, leadership: Leadership, renewing: anyio.CancelScope, working: anyio.CancelScope) -> None:
        """Renew until the Lease is lost, then end the work."""
        with renewing:
            with anyio.CancelScope() as patience:
                lost = False
                while not lost:
                    patience.deadline = self._lease.renewed_at + self._options.renew_s
                    await anyio.sleep(self._renewal_pause_s())
                    lost = await self._is_lost(leadership)
            leadership.lost.set()
            working.cancel()

    def _renewal_pause_s(self) -> float:
        """Return how long to wait before the next renewal, with time for a last one before the deadline."""
        now = anyio.current_time()
        left_s = self._lease.renewed_at + self._options.renew_s - now - LAST_TRY_S
        pause_s = max(self._options.retry_s, self._lease.patient_until - now)
        return min(pause_s, left_s) if left_s > 0.0 else self._options.retry_s

    async def _is_lost(self, leadership: Leadership) -> bool:
        """Renew; return whether another replica holds the Lease. A failed renewal proves nothing."""
        try:
            try:
                await self._renew(leadership)
            except (ConflictError, InvalidError):
                self._observer.took_slow_path()
                await self._lease.read()
                if not self._lease.is_ours(leadership.epoch):
                    return True
                await self._renew(leadership)
        except Exception as error:  # noqa: BLE001 - whatever the error, the Lease can be renewed until it expires
            self._lease.failed(error)
        return False

    async def _renew(self, leadership: Leadership) -> None:
        await self._lease.renew(leadership.epoch)
        leadership.valid_until = self._lease.renewed_at + self._options.lease_s
        leadership.awake_until = self._lease.renewed_awake_at + self._options.lease_s

    async def _release(self) -> None:
        """Release the Lease if this replica may hold it, within a bounded time."""
        with anyio.move_on_after(self._options.release_s, shield=True):
            while self._lease.may_be_ours:
                try:
                    await self._lease.give_back()
                except Exception as error:  # noqa: BLE001 - at worst the Lease expires
                    self._lease.failed(error)
                    await anyio.sleep_until(max(self._lease.patient_until, anyio.current_time() + RELEASE_RETRY_S))
