"""Detect another instance of this service on the same ConfigMap, without mistaking this one for it.

There are two signs. An installation writes its name on the ConfigMap: the name is the same in all replicas and after
every restart, so a rolling restart or a new leader finds its own. And two instances with the same name but different
settings overwrite each other: each sees complete documents that it never wrote. After a person's edit the hash next to
the documents no longer matches, and a predecessor's last write is seen once.
"""

from typing import Final

import msgspec

from toolset.core.publishing.plan import HASH, INSTANCE, Desired, is_whole
from toolset.model import ConfigMap, Key

REMEMBERED: Final = 64
TOLERATED: Final = 2
"""A predecessor that is stopping may still write once or twice; a second writer never ends."""


def installed_by(cached: ConfigMap | None, prefix: str, instance: str) -> str:
    """Return the name of the other installation that owns ``cached``; empty if there is none, or it is this one.

    No name is a name too: a process without one is not the installation that the ConfigMap names. It may have other
    settings or another network, and would remove what it cannot reach. A ConfigMap without a name may be claimed by any
    installation: those that run without a name get one at an upgrade, and must find their own ConfigMap. From its first
    write on, only the installation with the name writes.

    Args:
        cached: The current ConfigMap.
        prefix: The annotation prefix.
        instance: The name of this installation; empty if it has none.
    """
    found = cached.annotations.get(f"{prefix}/{INSTANCE}", "") if cached else ""
    return "" if found == instance else found


def refusal(target: Key, prefix: str, instance: str, other: str) -> str:
    """Return a message why ``instance`` does not write and what to do."""
    this = f"{instance!r}" if instance else "without a name (`output.instance`)"
    return (
        f"ConfigMap {target} is kept by another installation of this service, {other[:128]!r}, and this one is "
        f"{this}: it writes nothing. Stop one of them, or give them different settings `target.name`; if the "
        f"other is gone for good, or was this one before `output.instance` changed, remove the annotation "
        f"{prefix}/{INSTANCE} from the ConfigMap"
    )


class WriterConflict(msgspec.Struct, frozen=True):
    """The writes of others that one process has seen since it began to write; a new one for each leadership.

    Attributes:
        wrote: Hashes of what it wrote, the latest last.
        version: The version of the ConfigMap that was checked last.
        foreign_writes: How many times it saw complete documents of another writer.
    """

    wrote: tuple[str, ...] = ()
    version: str = ""
    foreign_writes: int = 0

    @property
    def is_persistent(self) -> bool:
        """Whether another writer keeps overwriting what this process writes."""
        return self.foreign_writes > TOLERATED

    def after_write(self, wanted: Desired, prefix: str) -> "WriterConflict":
        """Return the state after ``wanted`` was written."""
        written = (*self.wrote, wanted.annotations[f"{prefix}/{HASH}"])
        return WriterConflict(written[-REMEMBERED:], self.version, self.foreign_writes)

    def observe(self, cached: ConfigMap | None, wanted: Desired, prefix: str) -> "WriterConflict":
        """Return the state after the reconcile for ``wanted`` has seen ``cached``.

        Until the first own write no content is foreign: it is a predecessor's.
        """
        if cached is None or not self.wrote or cached.version == self.version:
            return self
        mine = cached.annotations.get(f"{prefix}/{HASH}") in (*self.wrote, wanted.annotations[f"{prefix}/{HASH}"])
        is_foreign = not mine and is_whole(cached, prefix)
        return WriterConflict(self.wrote, cached.version, self.foreign_writes + int(is_foreign))


def conflict_message(target: Key) -> str:
    """Return a message that two instances overwrite each other and what to do."""
    return (
        f"another instance of this service keeps overwriting ConfigMap {target}: two replicas without "
        "`election.enabled`, or two installations with different settings; run one, or turn the election on"
    )
