"""The types of an election: its times, the port to its Lease, the resulting leadership."""

import math
from collections.abc import Callable
from typing import Final, Protocol

import anyio
import msgspec

from toolset.errors import LeadershipLostError
from toolset.model import Lease, LeaseSpec


class ElectorOptions(msgspec.Struct, frozen=True):
    """The times of an election, seconds; the defaults are client-go's (``tools/leaderelection``).

    Attributes:
        lease_s: How long a leadership is valid after its last renewal, and how long standbys wait for one.
        renew_s: How long a leader tries to renew before it gives up.
        retry_s: Time between two renewals, and between two reads of a standby without a watch.
        jitter: Those reads wait up to this many times ``retry_s``, so that standbys do not read in step.
        release_s: Time limit for releasing the Lease.

    Raises:
        ValueError: The times are inconsistent; the message says which.
    """

    lease_s: float = 15.0
    renew_s: float = 10.0
    retry_s: float = 2.0
    jitter: float = 1.2
    release_s: float = 2.0

    def __post_init__(self) -> None:
        """Check that the times are consistent."""
        longest_s = self.retry_s * self.jitter
        if self.retry_s <= 0.0 or self.release_s <= 0.0 or self.jitter < 1.0:
            raise ValueError("retry and release must be longer than nothing, and the jitter at least 1")
        if self.renew_s <= longest_s:
            raise ValueError(
                f"a leader must be able to try more than once: renew ({self.renew_s:g} s) must be longer than "
                f"retry with jitter ({longest_s:g} s)"
            )
        if self.lease_s <= self.renew_s + longest_s:
            raise ValueError(
                f"a leader that gives up must have ended before another may begin: lease ({self.lease_s:g} s) must be "
                f"longer than renew and retry with jitter together ({self.renew_s + longest_s:g} s)"
            )

    @property
    def request_s(self) -> float:
        """Time limit of one request; while leading, the remaining time to renew limits it too."""
        return max(1.0, self.renew_s / 2.0)


DEFAULT_OPTIONS: Final = ElectorOptions()
TRANSITIONS_LIMIT: Final = 2**31 - 1
"""The largest ``leaseTransitions`` that the API server accepts."""


class LeaseClient(Protocol):
    """Port: the Lease. Cancelled requests may nevertheless have been executed."""

    async def read(self) -> Lease | None:
        """Return the current Lease, never from a cache; ``None`` if there is none.

        Raises:
            ToolsetError: The API server refused or failed.
        """
        ...

    async def create(self, spec: LeaseSpec) -> Lease:
        """Create the Lease; return it.

        Raises:
            ConflictError: It already exists.
            ToolsetError: The API server refused or failed.
        """
        ...

    async def replace(self, current: Lease, spec: LeaseSpec) -> Lease:
        """Write ``spec`` over ``current``; return the result, with the same version if nothing changed.

        Raises:
            ConflictError: The Lease changed since ``current``.
            InvalidError: There is no Lease.
            ToolsetError: The API server refused or failed.
        """
        ...


class ElectionObserver(Protocol):
    """What an elector reports."""

    def started_leading(self, epoch: int) -> None:
        """This replica leads."""

    def stopped_leading(self, epoch: int, *, lost: bool) -> None:
        """Its work has ended; ``lost`` unless it returned, failed or was cancelled."""

    def new_leader(self, identity: str) -> None:
        """Another holder was seen; empty for none."""

    def took_slow_path(self) -> None:
        """A renewal had to read the Lease first."""

    def restarted_epochs(self, transitions: int) -> None:
        """The Lease was taken although its ``transitions`` have reached the maximum: they restart at 0."""

    def failed(self, error: Exception) -> None:
        """A request failed; it is retried."""


class NoElectionObserver:
    """Ignores everything."""

    def started_leading(self, epoch: int) -> None:
        """Ignore it."""

    def stopped_leading(self, epoch: int, *, lost: bool) -> None:
        """Ignore it."""

    def new_leader(self, identity: str) -> None:
        """Ignore it."""

    def took_slow_path(self) -> None:
        """Ignore it."""

    def restarted_epochs(self, transitions: int) -> None:
        """Ignore it."""

    def failed(self, error: Exception) -> None:
        """Ignore it."""


class Leadership:
    """The right to write, while it is valid.

    Attributes:
        identity: The identity of the leader.
        epoch: ``leaseTransitions``: one more than that of the previous leadership.
        valid_until: When it expires unless it is renewed, on the clock of ``anyio``.
        awake_until: The same on a clock that continues while the machine is suspended.
        stood_by: Whether the replica was a standby before: its view of the cluster may be stale.
        lost: Set when it has ended, for any reason.
    """

    def __init__(
        self,
        identity: str,
        epoch: int,
        valid_until: float,
        *,
        stood_by: bool = False,
        awake_until: float = math.inf,
        boottime: Callable[[], float] = anyio.current_time,
    ) -> None:
        self.identity = identity
        self.epoch = epoch
        self.valid_until = valid_until
        self.awake_until = awake_until
        self.stood_by = stood_by
        self.lost = anyio.Event()
        self._boottime = boottime

    def remaining_s(self) -> float:
        """Return how long it is still valid without a renewal, seconds; no write may take longer."""
        if self.lost.is_set():
            return 0.0
        return max(0.0, min(self.valid_until - anyio.current_time(), self.awake_until - self._boottime()))

    def check(self) -> None:
        """Make sure that it is valid now; call it immediately before each write is sent, without an await in between.

        It checks the clock and not the elector, which may be late after a stall of the event loop.

        Raises:
            LeadershipLostError: It has ended.
        """
        if not self.remaining_s():
            raise LeadershipLostError(f"{self.identity} no longer leads (epoch {self.epoch})")
