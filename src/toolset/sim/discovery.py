"""What kubectl requests before objects: groups with their resources, and the parts of OpenAPI that it needs.

If OpenAPI declares that the patch of a kind supports ``fieldValidation``, kubectl leaves validation to the server.
"""

from typing import Final

from toolset.sim.kinds import KINDS, REVIEW, Kind
from toolset.sim.statuses import Object

DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_VERBS: Final = ("create", "delete", "get", "list", "patch", "update", "watch")


def _resource(kind: Kind) -> Object:
    return {
        "resource": kind.plural,
        "responseKind": {"group": "", "version": "", "kind": kind.name},  # those of the list
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.name.lower(),
        "verbs": ["create"] if kind is REVIEW else _VERBS,
        **({"shortNames": [kind.short]} if kind.short else {}),
    }


def _groups(*names: str) -> Object:
    items: list[Object] = []
    for group in names:
        resources = [_resource(kind) for kind in KINDS if kind.group == group]
        items.append({"metadata": {"name": group}, "versions": [{"version": "v1", "resources": resources}]})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _patch(kind: Kind) -> Object:
    checked: Object = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    of = {"group": kind.group, "version": "v1", "kind": kind.name}
    return {"patch": {"parameters": [checked], "x-kubernetes-group-version-kind": of}}


DOCUMENTS: Final[dict[str, Object]] = {
    "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0+embedded"},
    "/api": _groups(""),
    "/apis": _groups(*{kind.group: None for kind in KINDS if kind.group}),
    "/openapi/v3": {"paths": {kind.prefix[1:]: {"serverRelativeURL": "/openapi/v3/all"} for kind in KINDS}},
    "/openapi/v3/all": {"openapi": "3.0.0", "paths": {f"{kind.prefix}/{kind.plural}": _patch(kind) for kind in KINDS}},
}
"""The documents by path."""
