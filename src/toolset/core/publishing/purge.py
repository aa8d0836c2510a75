"""Remove everything this service owns from the ConfigMap, and nothing else."""

from collections.abc import Collection

import msgspec
from typing_extensions import override

from toolset.core.publishing.plan import ANNOTATIONS, FIELD_MANAGER, LABELS, owned_keys, owners
from toolset.model import ConfigMap


class Purge(msgspec.Struct, frozen=True):
    """The request that removes it.

    Attributes:
        body: A JSON merge patch, fenced by version and uid.
        keys: The data keys to remove, sorted.
        annotations: The annotations to remove, sorted.
        labels: The labels to remove, sorted.
    """

    body: bytes
    keys: tuple[str, ...]
    annotations: tuple[str, ...]
    labels: tuple[str, ...]

    @override
    def __str__(self) -> str:
        return ", ".join((*self.keys, *self.annotations, *self.labels))


def purge(cached: ConfigMap | None, prefix: str, legacy: Collection[str] = frozenset[str]()) -> Purge | None:
    """Return the request that removes everything owned from ``cached``; ``None`` if there is nothing.

    The ConfigMap itself stays, because people may keep their own keys in it. A label with further owners stays.

    Args:
        cached: The current ConfigMap.
        prefix: The annotation prefix.
        legacy: Keys of a predecessor to remove too.
    """
    if cached is None:
        return None
    keys = tuple(sorted((owned_keys(cached, prefix) | set(legacy)) & cached.entries.keys()))
    annotations = tuple(sorted({f"{prefix}/{name}" for name in ANNOTATIONS} & cached.annotations.keys()))
    who = owners(cached, "labels")
    labels = tuple(sorted(name for name in LABELS if who.get(name) == {FIELD_MANAGER}))
    if not (keys or annotations or labels):
        return None
    metadata = {
        "resourceVersion": cached.version,
        "uid": cached.uid,
        "annotations": dict.fromkeys(annotations),
        "labels": dict.fromkeys(labels),
    }
    body = {"metadata": metadata, "data": dict.fromkeys(keys)}
    return Purge(msgspec.json.encode(body), keys, annotations, labels)
