"""The kinds of the cluster, and the paths of their objects."""

from typing import Final

import msgspec

from toolset.sim.statuses import Refused


class Kind(msgspec.Struct, frozen=True, eq=False):
    """One kind; the core group is empty, every version is v1, and ``short`` is kubectl's short name."""

    name: str
    plural: str
    short: str = ""
    group: str = ""
    namespaced: bool = True

    @property
    def version(self) -> str:
        """``apiVersion``."""
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def prefix(self) -> str:
        """The path of its group."""
        return f"/apis/{self.version}" if self.group else "/api/v1"


class Place(msgspec.Struct, frozen=True):
    """The place of an object; an empty name means all of a namespace, an empty namespace all of a kind."""

    kind: Kind
    namespace: str = ""
    name: str = ""

    def has(self, other: "Place") -> bool:
        """Return whether another place is the same, or below."""
        return self.kind is other.kind and self.namespace in {"", other.namespace} and self.name in {"", other.name}

    def refused(self, code: int, reason: str, message: str) -> Refused:
        """Return a refusal; ``{}`` in ``message`` is replaced by the object."""
        kind, group = self.kind.plural, self.kind.group
        named = f'{kind}.{group} "{self.name}"' if group else f'{kind} "{self.name}"'
        details = {"name": self.name, "kind": kind, **({"group": group} if group else {})}
        return Refused(code, reason, message.replace("{}", named), details)


NAMESPACE: Final = Kind("Namespace", "namespaces", "ns", namespaced=False)
SERVICE: Final = Kind("Service", "services", "svc")
CONFIG_MAP: Final = Kind("ConfigMap", "configmaps", "cm")
LEASE: Final = Kind("Lease", "leases", group="coordination.k8s.io")
EVENT: Final = Kind("Event", "events", "ev", "events.k8s.io")
REVIEW: Final = Kind(  # it is answered, not stored
    "SelfSubjectAccessReview", "selfsubjectaccessreviews", group="authorization.k8s.io", namespaced=False
)
KINDS: Final = (NAMESPACE, SERVICE, CONFIG_MAP, LEASE, EVENT, REVIEW)
