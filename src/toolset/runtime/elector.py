"""Elect one leader among replicas through a Lease, and end its work before another one can begin.

Why there are never two:

- A leadership is valid for ``lease_s`` from the moment *before* its last successful write was sent. A standby takes
  the Lease only when it has seen one and the same version of it for as long as the holder asked for, and it cannot
  have seen it before it was written. Only the monotonic clock counts, and beside it one that goes on while the machine
  is suspended; the wall clock is written down for people.
- Every write is fenced by the version that was read, so of two that try, one fails.
- A leader that could not renew for ``renew_s`` cancels its work, waits for it to end, and stands by again.
- A Lease that was deleted says nothing of its holder: who saw it held waits all the same.
- It is released only when the work has ended.

A machine that was suspended wakes with a leadership that is over, and writes nothing before it has renewed the Lease or
taken it again.

When a standby asks the API server: at the start, and then when the Lease can be taken. The watch, through
:meth:`Elector.observe`, tells at once that it was released, and puts off the moment at which it would expire. When
a read finds what the watch has not told, the watch is not relied on: then it reads every ``retry_s``, with jitter,
until the watch has caught up.

A server that asks for patience by ``Retry-After`` is not asked before; a leader tries once more before its
time is over.
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
"""How much time the last attempt to renew is left, seconds: the least that one request may take."""
RELEASE_RETRY_S: Final = 0.1
"""Between two attempts to give the Lease back, seconds; arbitrary."""

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
        """Make it a standby.

        Args:
            client: The Lease.
            identity: Of this process and no other: who finds it in the Lease takes the Lease for its own.
            jitter: Returns a number in [0, 1).
            options: The times.
            observer: Told of what happens.
            now: The wall clock, only for what is written into the Lease.
            boottime: A clock that goes on while the machine is suspended, seconds.
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
        """Tell whether this replica is a standby, leads, or has been over its time for less than ``grace_s`` seconds.

        Else its work does not end, and only the end of the process helps. The default is kube-controller-manager's.
        """
        return self._leadership is None or anyio.current_time() < self._leadership.valid_until + grace_s

    def observe(self, lease: Lease | None) -> None:
        """Take note of what a watch tells; ``None`` when the Lease is gone. It decides nothing: it may be old."""
        if self._leadership is not None:  # a leader learns from its own writes, and the watch lags behind them
            return
        self._lease.observe(lease)
        if self._lease.held_until <= anyio.current_time():
            self._freed.set()

    async def run(self, lead: Lead) -> None:
        """Stand by, and run ``lead`` whenever this replica leads, until cancelled or until ``lead`` returns.

        When the Lease is lost ``lead`` is cancelled, and may be called again later; an end with
        :class:`LeadershipLostError` counts as the same. At the end the Lease is given back, after ``lead`` has ended;
        until then it is renewed, also while a cancelled ``lead`` winds down.

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
        """Finish, then do not stand by: return once :meth:`run` has ended and the Lease is given back.

        A standby stops at once. A leader leads on until ``lead`` has ended or the Lease is lost, and does not stand by
        again.
        """
        self._stands_down = True
        self._standing_by.cancel()
        if self._running is not None:
            await self._running.wait()

    async def _as_standby(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Return what ``work`` returns; ``None`` as soon as this replica stands down."""
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
        except ConflictError:  # another one was quicker
            return None
        except Exception as error:  # noqa: BLE001 - a standby that died of a bug would never lead
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
        """Return when the Lease is worth another attempt, and the server may be asked for it."""
        self._stood_by = True
        await self._wait_for_lease()
        await anyio.sleep_until(self._lease.patient_until)

    async def _wait_for_lease(self) -> None:
        now = anyio.current_time()
        retry_at = now + self._options.retry_s * (1.0 + (self._options.jitter - 1.0) * self._jitter())
        if self._lease.held_until <= now:  # it is free, yet could not be taken or kept
            await anyio.sleep_until(retry_at)
            return
        while not self._freed.is_set():
            due = self._lease.held_until if self._lease.is_watched else min(self._lease.held_until, retry_at)
            if due <= anyio.current_time():
                return
            with anyio.CancelScope(deadline=due):
                await self._freed.wait()

    async def _serve(self, leadership: Leadership, lead: Lead) -> bool:
        """Run ``lead`` while the Lease is renewed; tell whether it ended by itself."""
        ended = lost = False
        working, renewing = anyio.CancelScope(), anyio.CancelScope(shield=True)
        self._leadership = leadership
        self._observer.started_leading(leadership.epoch)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep, leadership, renewing, working)
                try:
                    with working:
                        await checkpoint()  # who was cancelled meanwhile does not begin
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
        """Renew until the Lease is lost, and end the work then."""
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
        """Return how long to wait before the next renewal; the last one in time still gets its chance."""
        now = anyio.current_time()
        left_s = self._lease.renewed_at + self._options.renew_s - now - LAST_TRY_S
        pause_s = max(self._options.retry_s, self._lease.patient_until - now)
        return min(pause_s, left_s) if left_s > 0.0 else self._options.retry_s

    async def _is_lost(self, leadership: Leadership) -> bool:
        """Renew; tell whether the Lease turned out to be another's. A renewal that fails says nothing."""
        try:
            try:
                await self._renew(leadership)
            except (ConflictError, InvalidError):
                self._observer.took_slow_path()
                await self._lease.read()
                if not self._lease.is_ours(leadership.epoch):
                    return True
                await self._renew(leadership)
        except Exception as error:  # noqa: BLE001 - whatever it is, the Lease can be renewed until its time is over
            self._lease.failed(error)
        return False

    async def _renew(self, leadership: Leadership) -> None:
        await self._lease.renew(leadership.epoch)
        leadership.valid_until = self._lease.renewed_at + self._options.lease_s
        leadership.awake_until = self._lease.renewed_awake_at + self._options.lease_s

    async def _release(self) -> None:
        """Give the Lease back if it may be ours, in a bounded time."""
        with anyio.move_on_after(self._options.release_s, shield=True):
            while self._lease.may_be_ours:
                try:
                    await self._lease.give_back()
                except Exception as error:  # noqa: BLE001 - at worst the Lease expires
                    self._lease.failed(error)
                    await anyio.sleep_until(max(self._lease.patient_until, anyio.current_time() + RELEASE_RETRY_S))
