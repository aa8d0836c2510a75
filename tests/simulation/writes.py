"""What must hold of each write: who writes, when, and what it leaves alone."""

from typing import TYPE_CHECKING, Final

from integration.demands import WRITER, urls_of
from simulation.link import Link, Served
from simulation.places import NOTES, OVERRIDES, POOL, TARGET
from toolset.sim.api import Call
from toolset.sim.kinds import LEASE

if TYPE_CHECKING:
    from simulation.world import World

Turn = tuple[int, str]
"""The epoch of a leadership, and who has it."""

NEVER: Final[Turn] = (0, "")
EPOCHS_LOST_S: Final = 120.0
"""After a restoration of etcd: who led at that moment may not know yet that its Lease is another's."""


class WriteChecks:
    """Checks I2, I3, I4 and I6 at each write.

    Attributes:
        count: How many writes of the ConfigMap were tried.
    """

    def __init__(self, world: "World") -> None:
        self.count = 0
        self._world = world
        self._turn = NEVER
        self._superseded = NEVER  # of a Lease that was deleted
        self._restored_at = -EPOCHS_LOST_S
        self._told_to_wait: dict[str, float] = {}  # by process, until when it may not write
        world.server.observers.append(self._check)
        world.server.refused = self._note_refusal

    def lease_deleted(self, epoch: int, holder: str) -> None:
        """Take note that the next Lease counts its epochs from the start."""
        self._turn, self._superseded = NEVER, (epoch, holder)

    def restored(self) -> None:
        """Take note that epochs since the backup will be given out once more."""
        self._turn, self._superseded, self._restored_at = NEVER, NEVER, self._world.scheduler.now

    def _check(self, served: Served) -> None:
        world, path = self._world, served.call.path
        if served.call.method == "GET":
            return
        if TARGET.name in path:
            self._check_patience(served.link.name)
        if served.code >= 300:
            return
        if LEASE.plural in path or TARGET.name in path:
            leading = [each.name for each in world.replicas if each.leads_for_s() > 0.0]
            world.coverage.met(f"state: {len(leading)} leaders at a write")
            if len(leading) > 1:
                world.found(f"I4 two valid leaderships: {leading}")
        if path.endswith(f"/configmaps/{TARGET.name}"):
            self._check_writer(served)
            self._check_content(served)
            world.written()

    def _check_writer(self, served: Served) -> None:
        world, match = self._world, WRITER.fullmatch(served.call.agent)
        if match is None:
            world.found(f"I4 a write without an epoch: {served.call.agent}")
            return
        turn = (int(match["epoch"]), match["identity"])
        if turn == self._superseded and self._turn == NEVER:
            return  # its leader has not noticed yet, and nobody else has written since
        is_late = turn[0] < self._turn[0] or (turn[0] == self._turn[0] != 0 and turn != self._turn)
        if is_late and world.scheduler.now - self._restored_at > EPOCHS_LOST_S:
            world.found(f"I4 {turn} wrote after {self._turn}")
        self._turn = turn

    def _check_content(self, served: Served) -> None:
        world = self._world
        before, after = dict((served.before or {}).get("data", {})), world.data()
        world.coverage.met("state: write of the ConfigMap")
        world.note("check", f"write {served.link.name} {sorted(urls_of(after)) if world.verbose else ''}")
        for key in (NOTES, OVERRIDES):
            if before.get(key) != after.get(key):
                world.found(f"I3 {served.link.name} changed {key}")
        steady = {tool.url for tool in POOL if world.is_steady(tool)}
        for url in sorted((urls_of(before) - urls_of(after)) & steady):
            world.found(f"I2 {served.link.name} dropped {url}, which was healthy all the time")

    def _note_refusal(self, link: Link, call: Call, code: int) -> None:
        """Remember until when a process has to wait with its writes, and check that it has waited before."""
        if call.method == "GET" or TARGET.name not in call.path:
            return
        self._check_patience(link.name)
        if code in {429, 503}:  # it hears of it later, and counts from then
            self._told_to_wait[link.name] = self._world.scheduler.now + link.weather.retry_after_s

    def _check_patience(self, name: str) -> None:
        self.count += 1
        if (left_s := self._told_to_wait.pop(name, 0.0) - self._world.scheduler.now) > 0.0:
            self._world.found(f"I6 {name} wrote {left_s:.1f} s before it may, by Retry-After")
