"""Compare actual and desired state, and compute the change; write nothing.

This service owns what its field manager owns, or what its list on the ConfigMap names. Everything else belongs to
people and is never written: other keys, labels, annotations, and ``overrides.yaml``.
"""

from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Final, cast

import msgspec

from toolset.model import ConfigMap, Key

FIELD_MANAGER: Final = "kubernaut-dynamic-toolset"
PATCHER: Final = f"{FIELD_MANAGER}/Update"
"""The owner of what merge patches of this service write, as in :func:`owners`; an apply alone does not remove it."""
LABELS: Final = {
    "app.kubernetes.io/managed-by": FIELD_MANAGER,
    "app.kubernetes.io/name": "kubernaut-toolset-config",
}
OVERRIDES_KEY: Final = "overrides.yaml"
ORIGINAL_KEY: Final = "toolset.json"
"""The only key of the predecessor of this service, which wrote the whole ConfigMap by PUT."""
HASH: Final = "content-hash"
OWNED_LIST: Final = "owned-keys"
TOOLS: Final = "tools"
INSTANCE: Final = "instance"
OVERRIDES_ERROR: Final = "overrides-error"
OVERRIDES_IN_FORCE: Final = "overrides-in-force"
OVERRIDES_KEPT: Final = "overrides-kept"
ANNOTATIONS: Final = (HASH, OWNED_LIST, TOOLS, INSTANCE, OVERRIDES_ERROR, OVERRIDES_IN_FORCE, OVERRIDES_KEPT)
"""The annotations on the ConfigMap, below the prefix."""
OLDEST_VERSION: Final = "1"
OWNED_LIST_LIMIT_BYTES: Final = 128 * 1024
"""Half of what the API server allows for all annotations. A longer list contains a digest of each key, which suffices
for more documents than fit a ConfigMap."""
_DIGEST: Final = "#"
"""Prefix of a digest; no key of a ConfigMap contains it."""
_DIGEST_LENGTH: Final = 12
"""72 bits, enough to prevent deliberate collisions with other keys."""

_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class Desired(msgspec.Struct, frozen=True):
    """The desired content of the ConfigMap; nothing in it depends on time."""

    data: Mapping[str, str]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Apply(msgspec.Struct, frozen=True):
    """A change of the ConfigMap.

    Attributes:
        manifest: All owned content, as JSON, for a forced server-side apply; fenced by version and uid.
        written: Keys whose content changes.
        removed: Owned keys that are no longer wanted.
        by_patch: Those of ``removed`` that have further owners, which an apply cannot remove.
        drifted: Whether somebody else changed or removed what this service had written.
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
    """Return the desired content of the ConfigMap.

    Args:
        data: The documents by key.
        tools: How many tools they contain.
        prefix: The annotation prefix.
        annotations: Further annotations, without the prefix; empty ones are omitted.
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
    """Compute the change that makes the ConfigMap ``target`` contain ``wanted``.

    Args:
        target: The ConfigMap.
        wanted: The desired content.
        cached: The ConfigMap as last seen, or ``None`` if there is none.
        prefix: The annotation prefix.
        legacy: Keys of a predecessor to remove; see :func:`legacy_keys`.
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

    A cached object fences it: the server rejects a stale version, and because of the uid it does not recreate a
    ConfigMap that was deleted meanwhile. Without one, the first version that a server ever assigned fences it: the
    ConfigMap is created if it is still absent, and rejected if somebody else has created it.

    Args:
        target: The ConfigMap.
        wanted: The desired content.
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
    """Return the owned data keys: by field manager or by the list on the ConfigMap.

    What this service's merge patches wrote is owned too: a process that ends between the patch and the following
    apply leaves keys behind that no list names yet.
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
    """Return the data keys of a predecessor: its only key, and all keys that one of ``managers`` wrote.

    A key that anybody owns by server-side apply is not left over: it is still in use.

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
    """Return the owners of each field: the field manager of this service for its applies, else ``manager/operation``.

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
            if field != ".":  # the map itself
                found.setdefault(field.removeprefix("f:"), set()).add(name)
    return found


def is_whole(cached: ConfigMap, prefix: str) -> bool:
    """Return whether ``cached`` contains, byte for byte, what an instance of this service wrote last."""
    return f"{prefix}/{HASH}" in cached.annotations and not _drifted(
        cached, cached.entries, owned_keys(cached, prefix), prefix
    )


def _digest(key: str) -> str:
    return _DIGEST + urlsafe_b64encode(sha256(key.encode()).digest()).decode()[:_DIGEST_LENGTH]


def _owned_list(prefix: str) -> str:
    return f"{prefix}/{OWNED_LIST}"


def _holds(cached: ConfigMap, wanted: Desired, prefix: str) -> bool:
    """Return whether labels and annotations are as desired, without obsolete owned ones."""
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
    """Return whether the content is no longer what this service wrote last."""
    if cached is None:
        return False
    written = cached.annotations.get(f"{prefix}/{HASH}")
    standing = {key: entries[key] for key in ours if key in entries}
    return written is not None and content_hash(standing) != written
