"""Compare what is with what should be, and say what to change; change nothing.

Ours is what our field manager owns, or what our own list on the ConfigMap names. Everything else belongs to people and
is never written: other keys, labels, annotations, and ``overrides.yaml``.
"""

from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Final, cast

import msgspec

from toolset.model import ConfigMap, Key

FIELD_MANAGER: Final = "kubernaut-dynamic-toolset"
PATCHER: Final = f"{FIELD_MANAGER}/Update"
"""Who owns what our merge patches write, as :func:`owners` names it; an apply alone does not remove it."""
LABELS: Final = {
    "app.kubernetes.io/managed-by": FIELD_MANAGER,
    "app.kubernetes.io/name": "kubernaut-toolset-config",
}
OVERRIDES_KEY: Final = "overrides.yaml"
ORIGINAL_KEY: Final = "toolset.json"
"""The one key of the service that this one replaces; it wrote the whole ConfigMap by PUT."""
HASH: Final = "content-hash"
OWNED_LIST: Final = "owned-keys"
TOOLS: Final = "tools"
INSTANCE: Final = "instance"
OVERRIDES_ERROR: Final = "overrides-error"
OVERRIDES_IN_FORCE: Final = "overrides-in-force"
OVERRIDES_KEPT: Final = "overrides-kept"
ANNOTATIONS: Final = (HASH, OWNED_LIST, TOOLS, INSTANCE, OVERRIDES_ERROR, OVERRIDES_IN_FORCE, OVERRIDES_KEPT)
"""Our annotations on the ConfigMap, below the prefix."""
OLDEST_VERSION: Final = "1"
OWNED_LIST_LIMIT_BYTES: Final = 128 * 1024
"""Half of what the API server allows for all annotations. A longer list holds a digest of each key, which is enough for
more documents than fit a ConfigMap."""
_DIGEST: Final = "#"
"""What a digest begins with; no key of a ConfigMap holds it."""
_DIGEST_LENGTH: Final = 12
"""72 bits: nobody finds a name that passes for a key of somebody else's."""

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


def desired(data: Mapping[str, str], tools: int, prefix: str, annotations: Mapping[str, str] | None = None) -> Desired:
    """Return what the ConfigMap should hold of ours.

    Args:
        data: The documents by key.
        tools: How many tools stand in them.
        prefix: The prefix of our annotations.
        annotations: Further ones of our annotations, without the prefix; one that is empty is left out.
    """
    annotations = {f"{prefix}/{name}": text for name, text in (annotations or {}).items() if text}
    annotations |= {f"{prefix}/{HASH}": content_hash(data), f"{prefix}/{TOOLS}": str(tools)}
    owned = ",".join(sorted(data))
    if len(owned) > OWNED_LIST_LIMIT_BYTES:
        owned = ",".join(sorted(map(_digest, data)))
    annotations[_owned_list(prefix)] = owned
    return Desired(data, LABELS, annotations)


def content_hash(data: Mapping[str, str]) -> str:
    """Return a digest of the documents."""
    return sha256(_ENCODER.encode(dict(data))).hexdigest()[:16]


def plan(
    target: Key, wanted: Desired, cached: ConfigMap | None, prefix: str, legacy: Collection[str] = frozenset[str]()
) -> Plan:
    """Decide how to make the ConfigMap ``target`` hold ``wanted``.

    Args:
        target: The ConfigMap.
        wanted: All that is ours.
        cached: The ConfigMap as last seen, or ``None`` when there is none.
        prefix: The prefix of our annotations.
        legacy: Keys that an earlier system left and that go; see :func:`legacy_keys`.
    """
    entries = cached.entries if cached else {}
    written = tuple(sorted(key for key, text in wanted.data.items() if entries.get(key) != text))
    ours = owned_keys(cached, prefix)
    removed = tuple(sorted(key for key in (ours | set(legacy)) - wanted.data.keys() if key in entries))
    if cached and not written and not removed and _holds(cached, wanted, prefix):
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
    """Return the data keys that are ours: by field manager or by our list.

    What our name patched is ours as well: a process that ends between the patch and the apply which follows it leaves
    keys behind that no list names yet.
    """
    if cached is None:
        return frozenset()
    ours = {FIELD_MANAGER, PATCHER}
    managed = {key for key, managers in owners(cached, "data").items() if ours & managers}
    listed = set(cached.annotations.get(_owned_list(prefix), "").split(","))
    if any(name.startswith(_DIGEST) for name in listed):
        listed = {key for key in cached.entries if _digest(key) in listed}
    return frozenset((managed | listed) - {"", OVERRIDES_KEY})


def legacy_keys(cached: ConfigMap | None, managers: Collection[str]) -> frozenset[str]:
    """Return the data keys that an earlier system left: its one key, and all that one of ``managers`` wrote.

    A key that anybody owns by server-side apply is not left over: somebody keeps it.

    Args:
        cached: The ConfigMap.
        managers: Field managers, as ``managedFields`` names them.
    """
    found: set[str] = set()
    for key, names in owners(cached, "data").items() if cached else ():
        wrote = {name.removesuffix("/Update") for name in names if name.endswith("/Update")}
        if len(wrote) == len(names) and (key == ORIGINAL_KEY or wrote <= set(managers)):
            found.add(key)
    return frozenset(found - {OVERRIDES_KEY})


def owners(cached: ConfigMap, section: str) -> dict[str, set[str]]:
    """Return who owns each field: our own name where we applied it, else ``manager/operation``.

    Args:
        cached: The ConfigMap.
        section: ``data``, ``annotations`` or ``labels``.
    """
    found: dict[str, set[str]] = {}
    for entry in cached.metadata.managed_fields or ():
        applied = entry.manager == FIELD_MANAGER and entry.operation == "Apply"
        name = FIELD_MANAGER if applied else f"{entry.manager}/{entry.operation}"
        parent = entry.fields if section == "data" else entry.fields.get("f:metadata")
        fields = cast("dict[str, object]", parent).get(f"f:{section}") if isinstance(parent, dict) else None
        for field in cast("dict[str, object]", fields) if isinstance(fields, dict) else ():
            if field != ".":  # stands for the map itself
                found.setdefault(field.removeprefix("f:"), set()).add(name)
    return found


def is_whole(cached: ConfigMap, prefix: str) -> bool:
    """Tell whether what stands in ``cached`` is, byte for byte, what an instance of this service wrote last."""
    return f"{prefix}/{HASH}" in cached.annotations and not _drifted(
        cached, cached.entries, owned_keys(cached, prefix), prefix
    )


def _digest(key: str) -> str:
    return _DIGEST + urlsafe_b64encode(sha256(key.encode()).digest()).decode()[:_DIGEST_LENGTH]


def _owned_list(prefix: str) -> str:
    return f"{prefix}/{OWNED_LIST}"


def _holds(cached: ConfigMap, wanted: Desired, prefix: str) -> bool:
    """Tell whether labels and annotations are as they should be, none of ours left over."""
    present = (
        wanted.labels.items() <= cached.labels.items() and wanted.annotations.items() <= cached.annotations.items()
    )
    left_over = {f"{prefix}/{name}" for name in ANNOTATIONS} & cached.annotations.keys() - wanted.annotations.keys()
    if not present or not left_over:
        return present
    who = owners(cached, "annotations")
    return not any(FIELD_MANAGER in who.get(name, ()) for name in left_over)


def _shared(cached: ConfigMap | None, key: str) -> bool:
    return cached is not None and owners(cached, "data").get(key) != {FIELD_MANAGER}


def _drifted(cached: ConfigMap | None, entries: Mapping[str, str], ours: frozenset[str], prefix: str) -> bool:
    """Tell whether what we wrote last is no longer what stands there."""
    if cached is None:
        return False
    written = cached.annotations.get(f"{prefix}/{HASH}")
    standing = {key: entries[key] for key in ours if key in entries}
    return written is not None and content_hash(standing) != written
