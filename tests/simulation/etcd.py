"""Backups of what the API server stores."""

from typing import NamedTuple

from toolset.sim.kinds import Place
from toolset.sim.ownership import Owners
from toolset.sim.statuses import Object
from toolset.sim.store import Store
from toolset.sim.writing import Writer


class Backup(NamedTuple):
    """All objects at one version, with who owns their fields; what is stored is never changed in place."""

    version: int
    objects: dict[Place, Object]
    owners: dict[Place, Owners]


def back_up(store: Store, writer: Writer) -> Backup:
    """Return what there is now."""
    return Backup(store.version, dict(store._objects), dict(writer._owners))


def restore(backup: Backup, store: Store, writer: Writer) -> None:
    """Restore ``backup``: its objects are back, versions continue from there, and watches report nothing."""
    store.version, store._objects = backup.version, dict(backup.objects)
    writer._owners = dict(backup.owners)
    store.compact()
