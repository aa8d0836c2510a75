"""The kinds that the cluster has: where they are, their shapes, their defaults."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from toolset.sim import rules
from toolset.sim.shapes import Items, Leaf, Record, Shape, Table
from toolset.sim.statuses import Cause, Object

VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
TEXT: Final = Leaf()
WHOLE: Final = Leaf((int,))
FLAG: Final = Leaf((bool,))
PORT: Final = Leaf((int, str))
MOMENT: Final = Leaf(pattern=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")
MICROS: Final = Leaf(pattern=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
MAYBE_TEXT: Final = Leaf(keep=True)
MAYBE_WHOLE: Final = Leaf((int,), keep=True)


def _texts(*names: str) -> Mapping[str, Shape]:
    return dict.fromkeys(names, TEXT)


_REFERENCE: Final = Record(
    _texts("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"), atomic=True, keep=True
)
_OWNER: Final = Record(
    {**_texts("apiVersion", "kind", "name", "uid"), "controller": FLAG, "blockOwnerDeletion": FLAG}, atomic=True
)
_ENTRY: Final = Record(
    {**_texts("manager", "operation", "apiVersion", "time", "fieldsType", "subresource"), "fieldsV1": Leaf((dict,))}
)
_META: Final = Record(
    {
        **_texts("name", "generateName", "namespace", "uid", "resourceVersion"),
        "creationTimestamp": MOMENT,
        "deletionTimestamp": MOMENT,
        "labels": Table(),
        "annotations": Table(),
        "finalizers": Items(TEXT, unique=True),
        "ownerReferences": Items(_OWNER, {"uid": ""}, "uid"),
        "managedFields": Items(_ENTRY),
    },
    keep=True,
)
_PORT: Final = Record(
    {**_texts("name", "protocol", "appProtocol"), "port": WHOLE, "targetPort": PORT, "nodePort": WHOLE}
)
_SERVICE: Final = Record(
    {
        **_texts("clusterIP", "type", "sessionAffinity", "externalName", "externalTrafficPolicy"),
        **_texts("ipFamilyPolicy", "internalTrafficPolicy", "loadBalancerIP", "loadBalancerClass"),
        "ports": Items(_PORT, {"port": 0, "protocol": "TCP"}, "port"),
        "selector": Table(atomic=True),
        "clusterIPs": Items(TEXT),
        "ipFamilies": Items(TEXT),
        "externalIPs": Items(TEXT),
        "publishNotReadyAddresses": FLAG,
    },
    keep=True,
)
_LEASE: Final = Record(
    {
        "holderIdentity": MAYBE_TEXT,
        "leaseDurationSeconds": MAYBE_WHOLE,
        "acquireTime": MICROS,
        "renewTime": MICROS,
        "leaseTransitions": MAYBE_WHOLE,
    },
    keep=True,
)


def _shape(**fields: Shape) -> Record:
    return Record({**_texts("apiVersion", "kind"), "metadata": _META, **fields})


def _service_defaults(content: Object) -> None:
    spec = content.setdefault("spec", {})
    for name, value in (("sessionAffinity", "None"), ("type", "ClusterIP")):
        spec.setdefault(name, value)
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    for port in spec.get("ports", []):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port", 0))


def _namespace_defaults(content: Object) -> None:
    metadata = content["metadata"]
    if "name" in metadata:
        metadata.setdefault("labels", {}).setdefault("kubernetes.io/metadata.name", metadata["name"])


def _lease_defaults(content: Object) -> None:
    content.setdefault("spec", {})


def _none(_: Object) -> None: ...


class Kind(msgspec.Struct, frozen=True):
    """One kind.

    Attributes:
        name: As ``kind`` says it.
        plural: Its resource.
        shape: What its objects look like.
        short: The short name that kubectl takes.
        group: Empty for the core group; every version is v1.
        namespaced: Whether its objects are in namespaces.
        defaults: Fills in what is not given, in place.
        problems: Returns what is wrong with an object, given what it is to replace.
        invalid_group: The group that refusals of invalid objects name.
        system: What a request cannot change, with its first value.
        answers_with_object: Whether a deletion is answered with the object.
        selectable: How the server refuses selectors of other fields than name and namespace.
    """

    name: str
    plural: str
    shape: Record
    problems: Callable[[Object, Object | None], Iterable[Cause]]
    short: str
    group: str = ""
    namespaced: bool = True
    defaults: Callable[[Object], None] = _none
    invalid_group: str = ""
    system: Mapping[str, Object] = {}
    answers_with_object: bool = False
    selectable: str = "field label not supported: {}"

    @property
    def version(self) -> str:
        """``apiVersion``."""
        return f"{self.group}/v1" if self.group else "v1"


_ONLY: Final = '"{}" is not a known field selector: only "metadata.name", "metadata.namespace"'
NAMESPACE: Final = Kind(
    "Namespace",
    "namespaces",
    _shape(spec=Record({"finalizers": Items(TEXT)}, keep=True), status=Record(_texts("phase"), keep=True)),
    rules.namespace,
    "ns",
    namespaced=False,
    defaults=_namespace_defaults,
    system={"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}},
    answers_with_object=True,
)
SERVICE: Final = Kind(
    "Service",
    "services",
    _shape(spec=_SERVICE, status=Record({"loadBalancer": Record({}, keep=True)}, keep=True)),
    rules.service,
    "svc",
    defaults=_service_defaults,
    system={"status": {"loadBalancer": {}}},
    answers_with_object=True,
)
CONFIG_MAP: Final = Kind(
    "ConfigMap",
    "configmaps",
    _shape(data=Table(), binaryData=Table(), immutable=FLAG),
    rules.config_map,
    "cm",
    selectable=_ONLY,
)
LEASE: Final = Kind(
    "Lease",
    "leases",
    _shape(spec=_LEASE),
    rules.lease,
    "",
    "coordination.k8s.io",
    defaults=_lease_defaults,
    invalid_group="coordination.k8s.io",
    selectable=_ONLY,
)
EVENT: Final = Kind(
    "Event",
    "events",
    _shape(
        **_texts("reportingController", "reportingInstance", "action", "reason", "note", "type"),
        eventTime=MICROS,
        series=Record({"count": WHOLE, "lastObservedTime": MICROS}),
        regarding=_REFERENCE,
        related=_REFERENCE,
    ),
    rules.event,
    "ev",
    "events.k8s.io",
)
REVIEW: Final = Kind(
    "SelfSubjectAccessReview",
    "selfsubjectaccessreviews",
    _shape(
        spec=Record(
            {
                "resourceAttributes": Record(
                    _texts("verb", "group", "version", "resource", "subresource", "namespace", "name")
                )
            },
            keep=True,
        )
    ),
    rules.nothing,
    "",
    "authorization.k8s.io",
    namespaced=False,
)
"""It is answered, not stored."""
KINDS: Final = (NAMESPACE, SERVICE, CONFIG_MAP, LEASE, EVENT)
