"""Compare what is with what should be, and say what to change; change nothing.

Ours is what our field manager owns, or what our own list on the ConfigMap names. Everything else belongs to people and
is never written: other keys, labels, annotations, and ``overrides.yaml``.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final, cast

import msgspec

from toolset.model import ConfigMap, Key

FIELD_MANAGER: Final = "kubernaut-dynamic-toolset"
LABELS: Final = {
    "app.kubernetes.io/managed-by": FIELD_MANAGER,
    "app.kubernetes.io/name": "kubernaut-toolset-config",
}
OVERRIDES_KEY: Final = "overrides.yaml"
OLDEST_VERSION: Final = "1"
OWNED_LIST_LIMIT_BYTES: Final = 128 * 1024
"""Half of what the API server allows for all annotations; a longer list is left out and the field managers decide."""

_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class Desired(msgspec.Struct, frozen=True):
    """What we want on the ConfigMap; nothing in it depends on time."""

    data: Mapping[str, str]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Apply(msgspec.Struct, frozen=True):
    """The ConfigMap has to change.

    Attributes:
        manifest: All that is ours, as JSON, for a forced server-side apply; fenced by version and uid.
        written: Keys whose content changes.
        removed: Keys of ours that are no longer wanted.
        by_patch: Those of ``removed`` that others own as well, which an apply cannot remove.
        drifted: Whether somebody else changed or removed what we had written.
    """

    manifest: bytes
    written: tuple[str, ...]
    removed: tuple[str, ...]
    by_patch: tuple[str, ...] = ()
    drifted: bool = False


class Unchanged(msgspec.Struct, frozen=True):
    """Nothing to write."""


Plan = Apply | Unchanged


def desired(data: Mapping[str, str], tools: int, prefix: str) -> Desired:
    """Return what the ConfigMap should hold of ours.

    Args:
        data: The documents by key.
        tools: How many tools stand in them.
        prefix: The prefix of our annotations.
    """
    annotations = {f"{prefix}/content-hash": content_hash(data), f"{prefix}/tools": str(tools)}
    owned = ",".join(sorted(data))
    if len(owned) <= OWNED_LIST_LIMIT_BYTES:
        annotations[_owned_list(prefix)] = owned
    return Desired(data, LABELS, annotations)


def content_hash(data: Mapping[str, str]) -> str:
    """Return a digest of the documents."""
    return sha256(_ENCODER.encode(dict(data))).hexdigest()[:16]


def plan(target: Key, wanted: Desired, cached: ConfigMap | None, prefix: str) -> Plan:
    """Decide how to make the ConfigMap ``target`` hold ``wanted``.

    Args:
        target: The ConfigMap.
        wanted: All that is ours.
        cached: The ConfigMap as last seen, or ``None`` when there is none.
        prefix: The prefix of our annotations.
    """
    entries = cached.entries if cached else {}
    written = tuple(sorted(key for key, text in wanted.data.items() if entries.get(key) != text))
    ours = owned_keys(cached, prefix)
    removed = tuple(sorted(key for key in ours - wanted.data.keys() if key in entries))
    if cached and not written and not removed and _holds(cached, wanted):
        return Unchanged()
    return Apply(
        manifest=manifest(target, wanted, cached),
        written=written,
        removed=removed,
        by_patch=tuple(key for key in removed if _shared(cached, key)),
        drifted=_drifted(cached, entries, ours, prefix),
    )


def manifest(target: Key, wanted: Desired, cached: ConfigMap | None, *, fenced: bool = True) -> bytes:
    """Return the ConfigMap to apply, as JSON.

    A cached object fences it: with a stale version the server refuses, and with the uid it does not make anew what
    somebody deleted meanwhile. Where there is none, the first version that a server ever gave out fences it: the
    ConfigMap is made if it is still absent, and refused if somebody else has made it.

    Args:
        target: The ConfigMap.
        wanted: All that is ours.
        cached: The ConfigMap as last seen.
        fenced: Whether it is for writing; without the fence it is for people.
    """
    metadata: dict[str, object] = {
        "name": target.name,
        "namespace": target.namespace,
        "labels": dict(wanted.labels),
        "annotations": dict(wanted.annotations),
    }
    if fenced:
        metadata |= (
            {"resourceVersion": cached.version, "uid": cached.uid} if cached else {"resourceVersion": OLDEST_VERSION}
        )
    return _ENCODER.encode({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(wanted.data)})


def owned_keys(cached: ConfigMap | None, prefix: str) -> frozenset[str]:
    """Return the data keys that are ours: by field manager or by our list."""
    if cached is None:
        return frozenset()
    managed = {key for key, managers in _managers(cached).items() if FIELD_MANAGER in managers}
    listed = cached.annotations.get(_owned_list(prefix), "").split(",")
    return frozenset((managed | set(listed)) - {"", OVERRIDES_KEY})


def _owned_list(prefix: str) -> str:
    return f"{prefix}/owned-keys"


def _holds(cached: ConfigMap, wanted: Desired) -> bool:
    return wanted.labels.items() <= cached.labels.items() and wanted.annotations.items() <= cached.annotations.items()


def _managers(cached: ConfigMap) -> dict[str, set[str]]:
    """Return who owns each data key; ours counts only where it was applied, not written as a whole."""
    owners: dict[str, set[str]] = {}
    for entry in cached.metadata.managed_fields or ():
        applied = entry.manager == FIELD_MANAGER and entry.operation == "Apply"
        name = FIELD_MANAGER if applied else f"{entry.manager}/{entry.operation}"
        fields = entry.fields.get("f:data")
        for field in cast("dict[str, object]", fields) if isinstance(fields, dict) else ():
            owners.setdefault(field.removeprefix("f:"), set()).add(name)
    return owners


def _shared(cached: ConfigMap | None, key: str) -> bool:
    return cached is not None and _managers(cached).get(key) != {FIELD_MANAGER}


def _drifted(cached: ConfigMap | None, entries: Mapping[str, str], ours: frozenset[str], prefix: str) -> bool:
    """Tell whether what we wrote last is no longer what stands there."""
    if cached is None:
        return False
    written = cached.annotations.get(f"{prefix}/content-hash")
    standing = {key: entries[key] for key in ours if key in entries}
    return written is not None and content_hash(standing) != written
