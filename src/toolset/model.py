"""Immutable values that all layers share, most of them in the shape of the Kubernetes API.

Services and ConfigMaps are decoded directly into these structs, which declare only the fields that are read: about
2 kB for each Service, 14 kB as a generated client model.
"""

from typing import Final

import msgspec
from typing_extensions import override

PROTOCOL_TCP: Final = "TCP"


class Key(msgspec.Struct, frozen=True, order=True, gc=False, cache_hash=True):
    """The name of one object, as in a work queue. The namespace of cluster-scoped objects is empty.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        part: Distinguishes further tools of one Service, by type; empty for the Service and its first tool.
    """

    namespace: str
    name: str
    part: str = ""

    @property
    def service(self) -> "Key":
        """The key of the Service."""
        return Key(self.namespace, self.name) if self.part else self

    @override
    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{name}:{self.part}" if self.part else name


class FieldsEntry(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One entry of ``metadata.managedFields``.

    Attributes:
        manager: The field manager.
        operation: ``Apply`` or ``Update``.
        fields: ``fieldsV1``, keys prefixed with ``f:``.
    """

    manager: str = ""
    operation: str = ""
    fields: dict[str, object] = msgspec.field(default_factory=dict[str, object], name="fieldsV1")


class _Meta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The fields that are read of every object's ``metadata``."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _LabelledMeta(_Meta, frozen=True, rename="camel", gc=False):
    """The same, with labels and annotations."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class ServiceMeta(_LabelledMeta, frozen=True, rename="camel", gc=False):
    """The fields that are read of a Service's ``metadata``; timestamps are RFC 3339 in UTC, so they sort as text."""

    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class ConfigMapMeta(_LabelledMeta, frozen=True, rename="camel", gc=False):
    """The fields that are read of the ConfigMap's ``metadata``; the only object whose field managers matter."""

    managed_fields: tuple[FieldsEntry, ...] | None = None


class ServicePort(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One port of a Service.

    Attributes:
        port: The Service's own port, 1 to 65535; never the pods'.
        name: Empty when the Service has a single unnamed port.
        target_port: Number or name on the pods; only compared, never dialled.
    """

    port: int = 0
    name: str | None = None
    protocol: str | None = None
    app_protocol: str | None = None
    target_port: int | str | None = None


class ServiceSpec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The fields that are read of a Service's ``spec``."""

    type: str | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    selector: dict[str, str] | None = None
    ports: tuple[ServicePort, ...] | None = None


class _Object(msgspec.Struct, frozen=True, gc=False):
    """What ``runtime`` requires of any object: see ``runtime.store.Stored``."""

    metadata: _Meta

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return Key(self.metadata.namespace, self.metadata.name)

    @property
    def uid(self) -> str:
        """Distinguishes successive objects with the same name."""
        return self.metadata.uid

    @property
    def version(self) -> str:
        """``metadata.resourceVersion``."""
        return self.metadata.resource_version


class _Labelled(_Object, frozen=True, gc=False):
    """An object whose labels and annotations are read."""

    metadata: _LabelledMeta

    @property
    def labels(self) -> dict[str, str]:
        """The labels; empty when there are none."""
        return self.metadata.labels or {}

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations; empty when there are none."""
        return self.metadata.annotations or {}


class Service(_Labelled, frozen=True, gc=False):
    """The part of a v1 Service that detection reads."""

    metadata: ServiceMeta = msgspec.field(default_factory=ServiceMeta)
    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)

    @property
    def ports(self) -> tuple[ServicePort, ...]:
        """The ports as declared; empty when there are none."""
        return self.spec.ports or ()

    @property
    def is_headless(self) -> bool:
        """Whether DNS answers with the pods' addresses."""
        return self.spec.cluster_ip == "None"


class ConfigMap(_Labelled, frozen=True, gc=False):
    """The part of a v1 ConfigMap that publishing reads.

    Attributes:
        metadata: Name, version, owners of fields.
        data: Keys with text.
        binary_data: Keys with bytes, of which only the size is kept.
    """

    metadata: ConfigMapMeta = msgspec.field(default_factory=ConfigMapMeta)
    data: dict[str, str] | None = None
    binary_data: dict[str, str | int | None] | None = msgspec.field(default=None, name="binaryData")

    def __post_init__(self) -> None:
        """Drop the content of ``binaryData``: it may be a megabyte."""
        for key, content in (self.binary_data or {}).items():
            if self.binary_data is not None and not isinstance(content, int):
                self.binary_data[key] = _decoded_bytes(content or "")

    @property
    def entries(self) -> dict[str, str]:
        """The data; empty when there is none."""
        return self.data or {}

    @property
    def binary_sizes(self) -> dict[str, int]:
        """How many bytes each key of ``binaryData`` holds."""
        return {key: size for key, size in (self.binary_data or {}).items() if isinstance(size, int)}


def _decoded_bytes(base64: str) -> int:
    """Return the decoded size of ``base64``, bytes."""
    return len(base64) * 3 // 4 - (len(base64) - len(base64.rstrip("=")))


class NamespaceMeta(_Meta, frozen=True, rename="camel", gc=False):
    """The fields that are read of a Namespace's ``metadata``; only this service's label is kept."""

    labels: dict[str, str] | None = None

    deletion_timestamp: str | None = None


class Namespace(_Object, frozen=True, gc=False):
    """The part of a v1 Namespace that detection reads; its key is that of :func:`namespace_key`."""

    metadata: NamespaceMeta = msgspec.field(default_factory=NamespaceMeta)

    @property
    def labels(self) -> dict[str, str]:
        """The labels; empty when there are none."""
        return self.metadata.labels or {}

    @property
    def is_ending(self) -> bool:
        """Whether it is being deleted, with all its content."""
        return bool(self.metadata.deletion_timestamp)


def namespace_key(name: str) -> Key:
    """Return the key of the Namespace ``name``, which is cluster-scoped."""
    return Key("", name)


class LeaseMeta(_Meta, frozen=True, rename="camel", gc=False):
    """The fields that are read of a Lease's ``metadata``."""


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The holder of a Lease; times are RFC 3339 in UTC with microseconds, for people.

    Attributes:
        holder_identity: Empty or absent if there is no holder.
        lease_duration_seconds: How long others must see the Lease unchanged before they may take it.
        acquire_time: When the holder took it.
        renew_time: When the holder last wrote it.
        lease_transitions: How often it was taken.
    """

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(_Object, frozen=True, gc=False):
    """The part of a coordination.k8s.io/v1 Lease that election reads."""

    metadata: LeaseMeta = msgspec.field(default_factory=LeaseMeta)
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)

    @property
    def holder(self) -> str:
        """The holder; empty if there is none."""
        return self.spec.holder_identity or ""
