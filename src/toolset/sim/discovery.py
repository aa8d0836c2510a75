"""What a client asks before it asks for objects: groups, resources, the version, and what kubectl needs of OpenAPI.

kubectl looks in OpenAPI whether a kind's patch knows ``fieldValidation``, and then leaves checking to the server; merge
keys it takes from its own types where OpenAPI tells none.
"""

from collections.abc import Iterable
from typing import Final

from toolset.sim.kinds import KINDS, REVIEW, VERBS, Kind
from toolset.sim.statuses import Object

_VERSION: Final[Object] = {"major": "1", "minor": "37", "gitVersion": "v1.37.0+embedded", "platform": "python"}
GROUPS: Final = ("", "coordination.k8s.io", "events.k8s.io", "authorization.k8s.io")


def documents(address: str) -> dict[str, Object]:
    """Return what there is by path; ``address`` is where the server listens."""
    reach = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    groups = [_group(each) for each in GROUPS if each]
    paths = {_prefix(each)[1:]: {"serverRelativeURL": f"/openapi/v3{_prefix(each)}"} for each in GROUPS}
    found: dict[str, Object] = {
        "/version": _VERSION,
        "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": reach},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
        "/openapi/v3": {"paths": paths},
    }
    found |= {f"/apis/{each['name']}": {"kind": "APIGroup", "apiVersion": "v1", **each} for each in groups}
    for group in GROUPS:
        kinds = [kind for kind in (*KINDS, REVIEW) if kind.group == group]
        version = {"apiVersion": "v1", "groupVersion": f"{group}/v1"} if group else {"groupVersion": "v1"}
        resources = [_resource(kind) for kind in kinds]
        found[_prefix(group)] = {"kind": "APIResourceList", **version, "resources": resources}
        found[f"/openapi/v3{_prefix(group)}"] = _openapi(kinds)
    return found


def _prefix(group: str) -> str:
    return f"/apis/{group}/v1" if group else "/api/v1"


def _group(group: str) -> Object:
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    return {"name": group, "versions": [version], "preferredVersion": version}


def _resource(kind: Kind) -> Object:
    names = {"name": kind.plural, "singularName": kind.name.lower(), "namespaced": kind.namespaced, "kind": kind.name}
    verbs = [each for each in VERBS if each != "deletecollection" or kind.namespaced]
    return {
        **names,
        "verbs": ["create"] if kind is REVIEW else verbs,
        **({"shortNames": [kind.short]} if kind.short else {}),
    }


def _openapi(kinds: Iterable[Kind]) -> Object:
    checked: Object = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths: Object = {}
    for kind in kinds:
        inside = "/namespaces/{namespace}" if kind.namespaced else ""
        of = {"group": kind.group, "version": "v1", "kind": kind.name}
        patch = {"parameters": [checked], "x-kubernetes-group-version-kind": of, "responses": {}}
        paths[f"{_prefix(kind.group)}{inside}/{kind.plural}/{{name}}"] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.37"}, "paths": paths}
