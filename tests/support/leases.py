"""The API server's one Lease: versions move, stale writes conflict, and a request can go wrong in every way.

It follows what was measured on a real API server by tests/integration/test_leases.py.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Final, TypeVar

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from toolset.errors import ConflictError, InvalidError, ToolsetError
from toolset.model import Lease, LeaseMeta, LeaseSpec
from toolset.runtime.election import TRANSITIONS_LIMIT

T = TypeVar("T")


class Fault(msgspec.Struct, frozen=True):
    """What happens to one request.

    Attributes:
        before_s: How long it takes until the server acts, seconds.
        after_s: How long the answer takes then.
        acts: Whether the server does what it is asked.
        error: What the client gets instead of the answer.
        late_s: The server acts this much later, whether or not the client is still there, and never answers.
    """

    before_s: float = 0.0
    after_s: float = 0.0
    acts: bool = True
    error: Exception | None = None
    late_s: float | None = None


PROMPT: Final = Fault()
HANGS: Final = Fault(before_s=math.inf)
ANSWER_LOST: Final = Fault(after_s=math.inf)


def refused(error: Exception) -> Fault:
    """Return the fault of a server that does nothing but raise ``error``."""
    return Fault(acts=False, error=error)


class FakeLeases:
    """The server.

    Attributes:
        watchers: Called with each new state, and of ``None`` when the Lease is deleted; a watch without delay.
        writes: Every state the Lease had, with the time of the write.
    """

    def __init__(self) -> None:
        self._lease: Lease | None = None
        self._serial = 0
        self._late: list[tuple[float, int, Callable[[], object]]] = []
        self.watchers: list[Callable[[Lease | None], None]] = []
        self.writes: list[tuple[float, Lease]] = []

    @property
    def current(self) -> Lease | None:
        """The Lease as it is now."""
        while self._late and self._late[0][0] <= anyio.current_time():
            _, _, act = heappop(self._late)
            try:
                act()
            except ToolsetError:  # nobody is there to hear of it
                continue
        return self._lease

    def act_later(self, delay_s: float, act: Callable[[], object]) -> None:
        """Let a request that nobody waits for be carried out ``delay_s`` seconds from now."""
        self._serial += 1
        heappush(self._late, (anyio.current_time() + delay_s, self._serial, act))

    def create(self, spec: LeaseSpec) -> Lease:
        """Create it."""
        if self.current is not None:
            raise ConflictError("leases already exists")
        return self._store("", spec)

    def replace(self, current: Lease, spec: LeaseSpec) -> Lease:
        """Write ``spec``; one that is the same leaves the version as it is."""
        stored = self.current
        if stored is None:
            raise InvalidError("leases not found")
        if (stored.version, stored.uid) != (current.version, current.uid):
            raise ConflictError("the object has been modified")
        return stored if stored.spec == spec else self._store(stored.uid, spec)

    def put(self, **changes: str | int | None) -> Lease:
        """Change the Lease by force, as an admin; create it if need be."""
        stored = self.current
        spec = msgspec.structs.replace(stored.spec if stored else LeaseSpec(), **changes)
        return self._store(stored.uid if stored else "", spec)

    def delete(self) -> None:
        """Delete it, as an admin."""
        self._lease = None
        self._tell()

    def _store(self, uid: str, spec: LeaseSpec) -> Lease:
        if spec.lease_duration_seconds is not None and spec.lease_duration_seconds <= 0:
            raise InvalidError("spec.leaseDurationSeconds: must be greater than 0")
        if spec.lease_transitions is not None and spec.lease_transitions > TRANSITIONS_LIMIT:
            raise InvalidError("cannot unmarshal number into Go struct field LeaseSpec.spec.leaseTransitions of int32")
        self._serial += 1
        metadata = LeaseMeta("lead", "spaces", uid or f"uid-{self._serial}", str(self._serial))
        self._lease = Lease(metadata, spec)
        self.writes.append((anyio.current_time(), self._lease))
        self._tell()
        return self._lease

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher(self._lease)


class FakeLeaseClient:
    """One client of the server, with a network of its own.

    Attributes:
        faults: What happens to the next requests, one each.
        always: What happens to every request for as long as it is set; the faults wait.
        asked: Every request, with its time.
    """

    def __init__(self, server: FakeLeases, faults: Iterable[Fault] = ()) -> None:
        self._server = server
        self.faults = deque(faults)
        self.always: Fault | None = None
        self.asked: list[tuple[float, str]] = []

    async def read(self) -> Lease | None:
        """Return the Lease; see ``runtime.election.LeaseClient``."""
        return await self._request("read", lambda: self._server.current)

    async def create(self, spec: LeaseSpec) -> Lease:
        """Create the Lease; see ``runtime.election.LeaseClient``."""
        return await self._request("create", lambda: self._server.create(spec))

    async def replace(self, current: Lease, spec: LeaseSpec) -> Lease:
        """Write over the Lease; see ``runtime.election.LeaseClient``."""
        return await self._request("replace", lambda: self._server.replace(current, spec))

    async def _request(self, verb: str, act: Callable[[], T]) -> T:
        self.asked.append((anyio.current_time(), verb))
        fault = self.always or (self.faults.popleft() if self.faults else PROMPT)
        await checkpoint()
        if fault.late_s is not None:
            self._server.act_later(fault.late_s, act)
            await anyio.sleep_forever()
        if fault.before_s:
            await anyio.sleep(fault.before_s)
        if not fault.acts and fault.error is not None:
            raise fault.error
        answer = act()
        if fault.after_s:
            await anyio.sleep(fault.after_s)
        if fault.error is not None:
            raise fault.error
        return answer
