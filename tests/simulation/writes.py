"""What must hold of each write: who writes, when, and what it leaves alone."""

import math
from typing import TYPE_CHECKING, Any, Final

from integration.cluster import KUBERNETES_KEY, Tool
from integration.demands import WRITER, urls_of
from simulation.link import Link, Served
from simulation.places import LEASE_PLACE, NOTES, OVERRIDES, POOL, TARGET
from toolset.sim.api import Call
from toolset.sim.kinds import LEASE

if TYPE_CHECKING:
    from simulation.world import World

Turn = tuple[int, str]
"""The epoch of a leadership, and who has it."""

NEVER: Final[Turn] = (0, "")
LEASE_S: Final = 15.0
"""How long a leadership is valid after its last renewal."""
START_S: Final = 60.0
"""Within so long a process has read the Lease, however slow its requests are."""
LEASE_TRIES: Final = 5
"""Writes of the Lease within one ``Retry-After``: a last renewal, the release, and those of a process that started."""
FRESH_S: Final = 60.0
"""Who publishes a tool knows it as it is, if it changed no more than once within so long."""
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
        self._restored_at = self._lease_deleted_at = -EPOCHS_LOST_S
        self._told_to_wait: dict[str, float] = {}  # by process, until when it may not write
        self._lease_waits: dict[str, tuple[float, int]] = {}  # the same for the Lease, and its writes meanwhile
        self._published: dict[str, float] = {}  # by URL, when it was added
        world.server.observers.append(self._check)
        world.server.sent = self._check_sender
        world.server.refused = self._note_refusal

    def lease_deleted(self, epoch: int, holder: str) -> None:
        """Take note that the next Lease counts its epochs from the start."""
        self._turn, self._superseded = NEVER, (epoch, holder)
        self._lease_deleted_at = self._world.scheduler.now

    def restored(self) -> None:
        """Take note that epochs since the backup will be given out once more."""
        self._turn, self._superseded, self._restored_at = NEVER, NEVER, self._world.scheduler.now

    def _check(self, served: Served) -> None:
        world, path = self._world, served.call.path
        if served.call.method == "GET":
            return
        if is_of_target(served.call):
            self._check_patience(served.link.name)
        if served.code >= 300:
            return
        if LEASE.plural in path or is_of_target(served.call):
            leading = [each.name for each in world.replicas if each.leads_for_s() > 0.0]
            world.coverage.met(f"state: {len(leading)} leaders at a write")
            if len(leading) > 1 and not self._may_overlap():
                world.found(f"I4 two valid leaderships: {leading}")
        if is_of_target(served.call):
            self._check_writer(served)
            self._check_content(served)
            world.written()

    def _may_overlap(self) -> bool:
        """Return whether two processes may both consider themselves the leader; the fence of each write still holds.

        A process that has not read the Lease before it was deleted cannot know that there was one. Restored etcd may
        name a former holder.
        """
        now, deleted_at = self._world.scheduler.now, self._lease_deleted_at
        has_started = any(each.started_at > deleted_at - START_S for each in self._world.replicas)
        is_deleted = has_started and now - deleted_at < LEASE_S
        return is_deleted or now - self._restored_at < EPOCHS_LOST_S

    def _check_sender(self, link: Link, call: Call) -> None:
        """Check that no process sends a write while another one holds the Lease."""
        match = WRITER.fullmatch(call.agent)
        lease = self._world.store.get(LEASE_PLACE)
        if call.method == "GET" or match is None or lease is None or not is_of_target(call):
            return
        holder, epoch = lease["spec"].get("holderIdentity", ""), lease["spec"].get("leaseTransitions", 0)
        was_restored = self._world.scheduler.now - self._restored_at <= EPOCHS_LOST_S
        if holder and holder != match["identity"] and epoch > int(match["epoch"]) and not was_restored:
            self._world.found(f"I4 {link.name} sent a write while {holder} held the Lease")

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
        old, new = urls_of(before), urls_of(after)
        kept = {tool.url for tool in POOL if world.is_steady(tool) or self._is_published(tool)}
        for url in sorted((old - new) & kept):
            world.found(f"I2 {served.link.name} dropped {url}, which was healthy all the time")
        is_right = new == urls_of_documents(world.demanded())
        self._published = {url: at for url, at in self._published.items() if url in new}
        self._published |= dict.fromkeys(new - old if is_right else (), world.scheduler.now)

    def _is_published(self, tool: Tool) -> bool:
        """Return whether a tool was published since it last changed, by a process that knew all of it."""
        world, at = self._world, self._published.get(tool.url, -math.inf)
        former, last = world.disturbed.get(tool.path, (-math.inf, -math.inf))
        up_at = world.backends.up_since(tool.authority)
        is_fresh = last < at and last - former > FRESH_S and (up_at == 0.0 or at - up_at > FRESH_S)
        return is_fresh and world.backends.is_up(tool.authority) and world.eligible(tool) is not None

    def _note_refusal(self, link: Link, call: Call, code: int) -> None:
        """Remember until when a process has to wait with its writes, and check that it has waited before."""
        if call.method == "GET":
            return
        if LEASE.plural in call.path and code in {429, 503} and link.weather.retry_after_s > LEASE_TRIES:
            self._check_lease_patience(link)
        if not is_of_target(call):
            return
        self._check_patience(link.name)
        if code in {429, 503}:  # it hears of it later, and counts from then
            self._told_to_wait[link.name] = self._world.scheduler.now + link.weather.retry_after_s

    def _check_lease_patience(self, link: Link) -> None:
        now = self._world.scheduler.now
        until, tries = self._lease_waits.get(link.name, (0.0, 0))
        if now >= until:
            until, tries = now + link.weather.retry_after_s, 0
        self._lease_waits[link.name] = until, tries + 1
        if tries + 1 > LEASE_TRIES:
            self._world.found(f"I6 {link.name} wrote the Lease {tries + 1} times although it was asked to wait")

    def _check_patience(self, name: str) -> None:
        self.count += 1
        if (left_s := self._told_to_wait.pop(name, 0.0) - self._world.scheduler.now) > 0.0:
            self._world.found(f"I6 {name} wrote {left_s:.1f} s before it may, by Retry-After")


def is_of_target(call: Call) -> bool:
    """Return whether a request is about the ConfigMap, and not about one of its Events, whose names start the same."""
    return call.path.endswith(f"/configmaps/{TARGET.name}")


def urls_of_documents(documents: dict[str, Any]) -> set[str]:
    """Return the URLs in the documents that the reference model demands."""
    return {str(each["config"]["url"]) for key, each in documents.items() if key != KUBERNETES_KEY}
