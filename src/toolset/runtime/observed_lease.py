"""The Lease as seen by one replica, and that replica's writes to it.

The expiry of another holder counts from when this replica first saw the current version, or that the Lease is deleted,
on the monotonic clock; the wall clock is written into the Lease for people only. Every write is fenced by the version
that was seen.
"""

import math
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Final

import anyio
import msgspec

from toolset.errors import TransientError, UnavailableError
from toolset.model import Lease, LeaseSpec
from toolset.runtime.backoff import RETRY_AFTER_CAP_S
from toolset.runtime.election import TRANSITIONS_LIMIT, ElectionObserver, ElectorOptions, LeaseClient

_NEVER: Final = -math.inf


def utc_now() -> datetime:
    """Return the time of the wall clock, with its time zone, which the API requires."""
    return datetime.now(timezone.utc)


class ObservedLease:
    """What one replica knows about the Lease; use it from one event loop only.

    Attributes:
        held_until: Until then another process holds it, as far as known; on the clock of ``anyio``.
        is_watched: Whether a watch has reported the version that was seen last.
        renewed_at: When the last successful write was sent; on the clock of ``anyio``.
        renewed_awake_at: The same on a clock that continues while the machine is suspended.
        patient_until: When the next request is allowed by ``Retry-After``; on the clock of ``anyio``.
        may_be_ours: Whether a write of this replica may have taken it, and it was not released.
    """

    def __init__(
        self,
        client: LeaseClient,
        identity: str,
        options: ElectorOptions,
        observer: ElectionObserver,
        now: Callable[[], datetime],
        boottime: Callable[[], float],
    ) -> None:
        """Start without information; the arguments are those of the elector."""
        self.held_until = _NEVER
        self.is_watched = False
        self.renewed_at = self.renewed_awake_at = 0.0
        self.patient_until = _NEVER
        self.may_be_ours = False
        self._client = client
        self._identity = identity
        self._options = options
        self._observer = observer
        self._now = now
        self._boottime = boottime
        self._lease: Lease | None = None
        self._acquired = ""

    @property
    def holder(self) -> str:
        """The holder that was last seen; empty for none."""
        return self._lease.holder if self._lease is not None else ""

    def is_ours(self, epoch: int) -> bool:
        """Return whether it belongs to this leadership, and not to an earlier one or a process of the same name."""
        lease = self._lease
        return lease is not None and (lease.holder, lease.spec.lease_transitions) == (self._identity, epoch)

    def observe(self, lease: Lease | None) -> None:
        """Record what a watch reports; ``None`` if the Lease was deleted."""
        self._see(lease)
        self.is_watched = True

    def failed(self, error: Exception) -> None:
        """Record a failed request, and its ``Retry-After``."""
        self._observer.failed(error)
        asked_s = error.retry_after_s if isinstance(error, TransientError) else 0.0
        self.patient_until = anyio.current_time() + min(asked_s, RETRY_AFTER_CAP_S)

    async def read(self) -> None:
        """Read the Lease from the API server.

        Raises:
            TimeoutError: No answer within ``request_s``.
            ToolsetError: The API server refused or failed.
        """
        with anyio.fail_after(self._options.request_s):
            self._see(await self._client.read())

    async def take(self) -> int:
        """Write this replica into it; return the epoch of its leadership.

        Raises:
            ConflictError: Another replica was faster.
            TimeoutError: No answer within ``request_s``; this replica may hold it nevertheless.
            ToolsetError: The API server refused or failed.
        """
        epoch = self._next_epoch()
        self._acquired = self._stamp()
        self.may_be_ours = True
        await self.renew(epoch)
        return epoch

    async def renew(self, epoch: int) -> None:
        """Renew it; the errors are those of :meth:`take`."""
        duration_s = math.ceil(self._options.lease_s)
        await self._write(LeaseSpec(self._identity, duration_s, self._acquired, self._stamp(), epoch))

    async def give_back(self) -> None:
        """Release it, unless another replica holds it; the errors are those of :meth:`take`."""
        await self.read()  # an interrupted write may have moved the version
        if self._lease is not None and self._lease.holder == self._identity:
            await self._write(
                msgspec.structs.replace(
                    self._lease.spec, holder_identity="", lease_duration_seconds=1, renew_time=self._stamp()
                )
            )
        self.may_be_ours = False

    async def _write(self, spec: LeaseSpec) -> None:
        """Write ``spec`` over the Lease as last seen, and record when that was sent."""
        before, sent_at, sent_awake_at = self._lease, anyio.current_time(), self._boottime()
        with anyio.fail_after(self._options.request_s):
            written = await (self._client.create(spec) if before is None else self._client.replace(before, spec))
        if before is not None and written.version == before.version:
            raise UnavailableError("the write changed nothing, so nobody sees it: the wall clock stands still")
        self._see(written)
        self.renewed_at, self.renewed_awake_at, self.patient_until = sent_at, sent_awake_at, _NEVER

    def _see(self, lease: Lease | None) -> None:
        """Record the Lease; a version that is seen for the first time is held from now on."""
        before, self._lease = self._lease, lease
        last = lease or before  # the holder of a deleted one may have renewed it until then
        if last is None or _version(lease) == _version(before):
            return
        self.is_watched = False
        held_s = last.spec.lease_duration_seconds or self._options.lease_s
        free = last.holder in {"", self._identity}
        self.held_until = _NEVER if free else anyio.current_time() + held_s
        if self.holder != (before.holder if before is not None else ""):
            self._observer.new_leader(self.holder)

    def _next_epoch(self) -> int:
        if self._lease is None:
            return 0
        before = self._lease.spec.lease_transitions or 0
        if before < TRANSITIONS_LIMIT:
            return before + 1
        self._observer.restarted_epochs(before)
        return 0

    def _stamp(self) -> str:
        return self._now().astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _version(lease: Lease | None) -> str:
    return lease.version if lease is not None else ""
