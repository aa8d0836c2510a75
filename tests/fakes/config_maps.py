"""ConfigMaps as the API server keeps them: versions move, stale fences conflict, every field has its managers.

Server-side apply follows https://kubernetes.io/docs/reference/using-api/server-side-apply/ and what was measured on a
real API server (design/informers.md, verified facts): a forced apply takes what differs, shares what is equal, and
removes what it owned alone and no longer names; a stale version on an absent object creates it, its old uid is refused;
a null in an apply writes an empty string; a write that changes nothing keeps the version.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec
from anyio.lowlevel import checkpoint

from toolset.core.plan import FIELD_MANAGER
from toolset.errors import ConflictError, ToolsetError
from toolset.model import ConfigMap, ConfigMapMeta, FieldsEntry, Key

Manager: TypeAlias = tuple[str, Literal["Apply", "Update"]]
Field: TypeAlias = tuple[str, str]
"""The section (``data``, ``labels`` or ``annotations``) and the key in it."""


class _Metadata(msgspec.Struct):
    name: str
    namespace: str
    uid: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Manifest(msgspec.Struct):
    metadata: _Metadata
    data: dict[str, str | None] = {}

    def fields(self) -> dict[Field, str | None]:
        sections: tuple[tuple[str, Mapping[str, str | None]], ...] = (
            ("data", self.data),
            ("labels", dict(self.metadata.labels)),
            ("annotations", dict(self.metadata.annotations)),
        )
        return {(section, key): value for section, values in sections for key, value in values.items()}


class _Stored:
    """One ConfigMap, field by field."""

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.version = 0
        self.values: dict[Field, str] = {}
        self.owners: dict[Field, set[Manager]] = {}

    def state(self) -> object:
        return dict(self.values), {field: frozenset(owners) for field, owners in self.owners.items()}

    def section(self, name: str) -> dict[str, str]:
        return {key: value for (section, key), value in self.values.items() if section == name}

    def write(self, manager: Manager, field: Field, value: str) -> None:
        if self.values.get(field) != value:
            self.owners[field] = set()
        self.owners[field].add(manager)
        self.values[field] = value

    def drop(self, field: Field) -> None:
        self.values.pop(field, None)
        self.owners.pop(field, None)

    def disown(self, manager: Manager, field: Field) -> None:
        self.owners[field].discard(manager)
        if not self.owners[field]:
            self.drop(field)


class FakeConfigMaps:
    """The API server's ConfigMaps.

    Attributes:
        on_change: Told of each new state, and of ``None`` for one deleted; a watch without delay.
    """

    def __init__(self) -> None:
        self._stored: dict[Key, _Stored] = {}
        self._serial = 0
        self.on_change: Callable[[Key, ConfigMap | None], None] = lambda _key, _now: None

    def get(self, key: Key) -> ConfigMap | None:
        """Return the ConfigMap as it is now."""
        stored = self._stored.get(key)
        return _as_seen(key, stored) if stored else None

    def apply(self, target: Key, body: bytes, manager: str = FIELD_MANAGER) -> ConfigMap:
        """Do a forced server-side apply.

        Raises:
            ConflictError: The fence in ``body`` does not fit.
        """
        manifest = msgspec.json.decode(body, type=_Manifest)
        assert (manifest.metadata.namespace, manifest.metadata.name) == (target.namespace, target.name)
        stored = self._stored.get(target)
        if stored is None:
            if manifest.metadata.uid:
                raise ConflictError("Precondition failed: UID in precondition names no object")
            stored = self._stored[target] = _Stored(f"uid-{self._next()}")
        else:
            _check_fence(stored, manifest.metadata.resource_version, manifest.metadata.uid)
        mine: Manager = (manager, "Apply")
        before, fields = stored.state(), manifest.fields()
        for field in [field for field, owners in stored.owners.items() if mine in owners and field not in fields]:
            stored.disown(mine, field)
        for field, value in fields.items():
            stored.write(mine, field, value or "")
        return self._written(target, stored, before)

    def patch(
        self,
        target: Key,
        data: Mapping[str, str | None] | None = None,
        *,
        annotations: Mapping[str, str | None] | None = None,
        labels: Mapping[str, str | None] | None = None,
        fence: ConfigMap | None = None,
        manager: str = "kubectl-edit",
    ) -> ConfigMap:
        """Do a JSON merge patch: a null removes. A ConfigMap that is not there is made first.

        Raises:
            ConflictError: The ConfigMap is no longer what ``fence`` says.
        """
        stored = self._stored.get(target)
        if fence is not None:
            if stored is None:
                raise ConflictError("the object is gone")
            _check_fence(stored, fence.version, fence.uid)
        if stored is None:
            stored = self._stored[target] = _Stored(f"uid-{self._next()}")
        before = stored.state()
        for section, values in (("data", data), ("annotations", annotations), ("labels", labels)):
            for key, value in (values or {}).items():
                field = (section, key)
                if value is None:
                    stored.drop(field)
                elif stored.values.get(field) != value:
                    stored.write((manager, "Update"), field, value)
        return self._written(target, stored, before)

    def delete(self, target: Key) -> None:
        """Delete it."""
        if self._stored.pop(target, None):
            self._next()
            self.on_change(target, None)

    def _written(self, target: Key, stored: _Stored, before: object) -> ConfigMap:
        changed = stored.version == 0 or stored.state() != before
        if changed:
            stored.version = self._next()
        seen = _as_seen(target, stored)
        if changed:
            self.on_change(target, seen)
        return seen

    def _next(self) -> int:
        self._serial += 1
        return self._serial


class FakeApplier:
    """Keeps the promises of ``reconciler.Applier`` over ``FakeConfigMaps``.

    Attributes:
        requests: What was asked, in order: ``apply`` or ``remove KEY,KEY``.
        errors: Raised in place of an answer, first one first; ``None`` lets the request through.
        before: Runs when a request is on its way, so that somebody else can be faster.
    """

    def __init__(self, config_maps: FakeConfigMaps) -> None:
        self._config_maps = config_maps
        self.requests: list[str] = []
        self.errors: list[ToolsetError | None] = []
        self.before: Callable[[], object] = lambda: None

    async def apply(self, target: Key, manifest: bytes) -> ConfigMap:
        """Apply under our field manager."""
        await self._arrive("apply")
        return self._config_maps.apply(target, manifest)

    async def patch(self, current: ConfigMap, data: Mapping[str, str | None]) -> ConfigMap:
        """Write and remove keys."""
        await self._arrive(f"patch {','.join(sorted(data))}")
        return self._config_maps.patch(current.key, data, fence=current, manager=FIELD_MANAGER)

    async def _arrive(self, request: str) -> None:
        self.requests.append(request)
        await checkpoint()
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.before()


def _check_fence(stored: _Stored, version: str, uid: str) -> None:
    if uid and uid != stored.uid:
        raise ConflictError("Precondition failed: UID in precondition differs")
    if version and version != str(stored.version):
        raise ConflictError("the object has been modified; please apply your changes to the latest version")


def _as_seen(key: Key, stored: _Stored) -> ConfigMap:
    return ConfigMap(
        metadata=ConfigMapMeta(
            name=key.name,
            namespace=key.namespace,
            uid=stored.uid,
            resource_version=str(stored.version),
            labels=stored.section("labels"),
            annotations=stored.section("annotations"),
            managed_fields=tuple(_entries(stored)),
        ),
        data=stored.section("data"),
    )


def _entries(stored: _Stored) -> Iterable[FieldsEntry]:
    for manager, operation in sorted({owner for owners in stored.owners.values() for owner in owners}):
        owned = [field for field, owners in stored.owners.items() if (manager, operation) in owners]
        fields: dict[str, object] = {f"f:{section}": _tree(section, owned) for section in ("data",)}
        metadata: dict[str, object] = {f"f:{section}": _tree(section, owned) for section in ("annotations", "labels")}
        yield FieldsEntry(manager, operation, fields | {"f:metadata": metadata})


def _tree(section: str, owned: Iterable[Field]) -> dict[str, object]:
    return {f"f:{key}": {} for of, key in owned if of == section}
