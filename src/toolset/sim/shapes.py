"""Validation and defaulting of objects."""

import ipaddress
from itertools import count
from typing import Final

import msgspec

from toolset import model
from toolset.sim.kinds import LEASE, NAMESPACE, SERVICE, Kind
from toolset.sim.patches import merged
from toolset.sim.statuses import Object

_ADDRESSES: Final = ipaddress.ip_network("10.96.0.0/12")
_next: Final = count(1)
_MODELS: Final[dict[Kind, type]] = {SERVICE: model.Service, LEASE: model.Lease}
_GIVEN: Final[dict[Kind, Object]] = {
    NAMESPACE: {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}},
    SERVICE: {"status": {"loadBalancer": {}}},
    LEASE: {"spec": {}},
}


def read(kind: Kind, body: Object) -> Object:
    """Return the decoded body, without nulls.

    Raises:
        msgspec.ValidationError: The service could not read such an object.
    """
    identity = {"kind": kind.name, "apiVersion": kind.version}
    content: Object = {**identity, **merged({}, body), **identity}
    msgspec.convert(content, _MODELS.get(kind, model.ConfigMap))
    return content


def with_defaults(kind: Kind, content: Object) -> Object:
    """Return ``content`` without empty fields, and with defaults that its author then owns."""
    content = _slim({**content, "metadata": _slim(content["metadata"])})
    spec: Object = content.get("spec", {})
    if kind is NAMESPACE:
        labels = {"kubernetes.io/metadata.name": content["metadata"]["name"]}
        content = merged({"metadata": {"labels": labels}}, content)
    if kind is not SERVICE:
        return content
    ports = [{"protocol": "TCP", "targetPort": each["port"], **each} for each in spec.get("ports", ())]
    usual = {"sessionAffinity": "None", "type": "ClusterIP"}
    usual |= {} if spec.get("type") == "ExternalName" else {"internalTrafficPolicy": "Cluster"}
    return {**content, "spec": {**usual, **spec, **({"ports": ports} if ports else {})}}


def with_given(kind: Kind, content: Object, live: Object | None) -> Object:
    """Return ``content`` with system fields, which have no owner."""
    given: Object = merged(_GIVEN.get(kind, {}), {name: each for name, each in content.items() if name != "status"})
    spec: Object = given.get("spec", {})
    if kind is SERVICE and spec["type"] != "ExternalName":
        address = (live or given)["spec"].get("clusterIP") or str(_ADDRESSES[next(_next)])
        families = {"clusterIPs": [address], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
        given["spec"] = {"clusterIP": address, **families, **spec}
    return given


def _slim(content: Object) -> Object:
    return {name: each for name, each in content.items() if each not in ({}, [], "")}
