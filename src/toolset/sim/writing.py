"""Create, update, patch, apply and delete: what is written, who owns it, and when it is refused."""

import ipaddress
import secrets
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Final

from toolset.sim.kinds import LEASE, NAMESPACE, SERVICE, Kind
from toolset.sim.ownership import Owners, applied, entries, updated
from toolset.sim.patches import patched
from toolset.sim.shapes import MisfitError, fitted
from toolset.sim.statuses import Object, Refused, about, bad_request, invalid, is_map
from toolset.sim.store import Store, place

ADDRESSES: Final = ipaddress.ip_network("10.96.0.0/12")
_MODIFIED: Final = (
    "Operation cannot be fulfilled on {}: the object has been modified; "
    "please apply your changes to the latest version and try again"
)
_KEPT: Final = ("uid", "creationTimestamp", "deletionTimestamp", "namespace", "name")


class Writer:
    """Writes to a store.

    Args:
        store: Where to.
        now: The wall clock.
    """

    def __init__(self, store: Store, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)) -> None:
        self._store = store
        self._now = now
        self._next_address = 1

    def create(self, kind: Kind, namespace: str, body: Any, manager: str) -> Object:
        """Return the new object.

        Raises:
            Refused: It is there already, or the body or its version is not acceptable.
        """
        new = self.read(kind, namespace, body)
        metadata: Object = new["metadata"]
        if "resourceVersion" in metadata:
            raise Refused(500, "", "resourceVersion should not be set on objects to be created")
        metadata.pop("uid", None)
        if "generateName" in metadata and "name" not in metadata:
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        owners = updated(kind.shape, _empty(kind, namespace), new, manager)
        return self._create(kind, namespace, new, owners)

    def update(self, kind: Kind, namespace: str, name: str, body: Any, manager: str) -> Object:
        """Return the object as it is after ``body`` has taken its place.

        Raises:
            Refused: It is not there, its version or uid is another, or the body is not acceptable.
        """
        new = self.read(kind, namespace, body)
        _check_name(new, name)
        live = self.existing(kind, namespace, name)
        if kind is LEASE and "resourceVersion" not in new["metadata"]:
            told = "Invalid value: 0: must be specified for an update"
            raise invalid(kind.plural, kind.group, name, [("metadata.resourceVersion", "FieldValueInvalid", told)])
        uid = new["metadata"].get("uid", live["metadata"]["uid"])
        if uid != live["metadata"]["uid"]:
            key = f"/registry/{kind.plural}/{'specs/' if kind is SERVICE else ''}{namespace}/{name}"
            raise _conflict(
                kind,
                name,
                f"Operation cannot be fulfilled on {{}}: StorageError: invalid object, Code: 4, Key: {key}, "
                f"ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
                f"UID in object meta: {live['metadata']['uid']}",
            )
        return self._replace(kind, live, new, updated(kind.shape, live, new, manager))

    def patch(self, kind: Kind, namespace: str, name: str, patch: Any, content_type: str, manager: str) -> Object:
        """Return the object as it is after a JSON merge patch, a strategic merge patch or a JSON patch.

        Raises:
            Refused: It is not there, its version or uid is another, or the result is not acceptable.
        """
        live = self.existing(kind, namespace, name)
        changed = patched(kind.shape, live, patch, content_type)
        try:
            new: Object = fitted(kind.shape, changed, kind.name)
        except MisfitError as error:
            raise invalid("", "", "", [("patch", "FieldValueInvalid", f"Invalid value: {error}")]) from error
        kind.defaults(new)
        _check_name(new, name)
        return self._replace(kind, live, new, updated(kind.shape, live, new, manager))

    def apply(
        self, kind: Kind, namespace: str, name: str, config: Any, manager: str, *, force: bool
    ) -> tuple[Object, bool]:
        """Return the object after a server-side apply, and whether it is new.

        Raises:
            Refused: Others own what is named, its version or uid is another, or the config is not acceptable.
        """
        given = config if is_map(config) else {}
        if (given.get("apiVersion"), given.get("kind")) != (kind.version, kind.name):
            told = given.get("apiVersion", "/") or "/"
            raise bad_request(f"invalid object type: {'' if '/' in told else '/'}{told}, Kind={given.get('kind', '')}")
        if "managedFields" in (given.get("metadata") or {}):
            raise bad_request("metadata.managedFields must be nil")
        try:
            wanted: Object = fitted(kind.shape, given, kind.name, empty=True)
        except MisfitError as error:
            text = (
                f"failed to create typed patch object ({namespace}/{name}; {kind.version}, Kind={kind.name}): {error}"
            )
            raise Refused(500, "", text) from error
        live = self._store.get(kind, namespace, name)
        wanted["metadata"] = {**({} if live is None else {"name": name}), **wanted.get("metadata", {})}
        _check_name(wanted, name)
        if live is None:
            return self._applied_first(kind, namespace, wanted, manager), True
        new, owners = applied(kind.shape, live, wanted, manager, force=force)
        new = fitted(kind.shape, new, kind.name)
        kind.defaults(new)
        return self._replace(kind, live, new, owners), False

    def _applied_first(self, kind: Kind, namespace: str, wanted: Object, manager: str) -> Object:
        metadata = wanted["metadata"]
        if uid := metadata.get("uid"):
            text = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise _conflict(kind, metadata["name"], f"Operation cannot be fulfilled on {{}}: {text}")
        metadata.pop("resourceVersion", None)
        new, owners = applied(kind.shape, _empty(kind, namespace), wanted, manager, force=True)
        new = fitted(kind.shape, new, kind.name)
        kind.defaults(new)
        return self._create(kind, namespace, new, owners)

    def delete(self, kind: Kind, namespace: str, name: str, options: Any) -> Object:
        """Return the answer to a deletion; a Namespace goes with all that is in it.

        Raises:
            Refused: It is not there, or is not what the preconditions say.
        """
        live = self.existing(kind, namespace, name)
        wanted: Object = (options.get("preconditions") or {}) if is_map(options) else {}
        for field, told, hint in (
            ("uid", "UID", "deleted and then recreated"),
            ("resourceVersion", "ResourceVersion", "modified"),
        ):
            if field in wanted and wanted[field] != live["metadata"][field]:
                text = f"the {told} in the precondition ({wanted[field]}) does not match the {told} in record "
                text += f"({live['metadata'][field]}). The object might have been {hint}"
                raise about(
                    409, "Conflict", f"Operation cannot be fulfilled on {{}}: {text}", kind.name, kind.group, name
                )
        if kind is NAMESPACE:
            return self._delete_namespace(live)
        gone = self._store.drop(place(kind, namespace, name))
        if kind.answers_with_object:
            return gone
        details = {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.plural}
        details["uid"] = live["metadata"]["uid"]
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _delete_namespace(self, live: Object) -> Object:
        name = live["metadata"]["name"]
        if name in {"default", "kube-system", "kube-public"}:
            raise about(403, "Forbidden", "{} is forbidden: this namespace may not be deleted", "namespaces", "", name)
        ending = {**live, "metadata": {**live["metadata"], "deletionTimestamp": self._time()}}
        ending = self._store.put(NAMESPACE, {**ending, "status": {"phase": "Terminating"}})
        for each in (*self._store.all_in(name), place(NAMESPACE, "", name)):
            self._store.drop(each)
        return ending

    def existing(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return an object.

        Raises:
            Refused: It is not there.
        """
        if (found := self._store.get(kind, namespace, name)) is None:
            raise about(404, "NotFound", "{} not found", kind.plural, kind.group, name)
        return found

    def read(self, kind: Kind, namespace: str, body: Any) -> Object:
        """Return what a body says, checked and with defaults.

        Raises:
            Refused: It is of another kind or namespace, or a value is of a wrong type.
        """
        told = (body.get("kind", kind.name), body.get("apiVersion", kind.version)) if is_map(body) else ()
        if told != (kind.name, kind.version):
            got = (*told, "", "")
            raise bad_request(f'{got[0]} in version "{got[1]}" cannot be handled as a {kind.name}: no such kind here')
        try:
            new: Object = fitted(kind.shape, body, kind.name)
        except MisfitError as error:
            raise bad_request(f'{kind.name} in version "v1" cannot be handled as a {kind.name}: {error}') from error
        new |= {"kind": kind.name, "apiVersion": kind.version}
        metadata = new.setdefault("metadata", {})
        if kind.namespaced and metadata.setdefault("namespace", namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        kind.defaults(new)
        return new

    def _create(self, kind: Kind, namespace: str, new: Object, owners: Owners) -> Object:
        metadata: Object = new["metadata"]
        if kind.namespaced:
            metadata["namespace"] = namespace
            if self._store.get(NAMESPACE, "", namespace) is None:
                raise about(404, "NotFound", "{} not found", "namespaces", "", namespace)
        if not (name := metadata.get("name", "")):
            told = "Required value: name or generateName is required"
            raise invalid(kind.name, kind.invalid_group, "", [("metadata.name", "FieldValueRequired", told)])
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self._time()}
        new |= kind.system
        self._set_address(kind, new)
        self._check(kind, new, None)
        if self._store.get(kind, namespace, name) is not None:
            raise about(409, "AlreadyExists", "{} already exists", kind.plural, kind.group, name)
        return self._store.put(kind, self.owned(kind, new, owners, []))

    def _replace(self, kind: Kind, live: Object, new: Object, owners: Owners) -> Object:
        name, before = live["metadata"]["name"], live["metadata"]
        version = new["metadata"].get("resourceVersion", before["resourceVersion"])
        if not version.isdecimal():
            raise Refused(500, "", f'strconv.ParseUint: parsing "{version}": invalid syntax')
        if version != before["resourceVersion"]:
            raise _conflict(kind, name, _MODIFIED)
        if (uid := new["metadata"].get("uid", before["uid"])) != before["uid"]:
            cause = ("metadata.uid", "FieldValueInvalid", f'Invalid value: "{uid}": field is immutable')
            raise invalid(kind.name, kind.invalid_group, name, [cause])
        new = {**new, **{part: live[part] for part in kind.system}}
        new["metadata"] = {**new["metadata"], **{each: before[each] for each in _KEPT if each in before}}
        new["metadata"]["resourceVersion"] = before["resourceVersion"]
        if kind is SERVICE:
            _keep_addresses(live["spec"], new["spec"])
        self._set_address(kind, new)
        self._check(kind, new, live)
        new = self.owned(kind, new, owners, before.get("managedFields", []))
        return live if new == live else self._store.put(kind, new)

    def _check(self, kind: Kind, new: Object, old: Object | None) -> None:
        if causes := list(kind.problems(new, old)):
            raise invalid(kind.name, kind.invalid_group, new["metadata"]["name"], causes)

    def owned(self, kind: Kind, new: Object, owners: Owners, before: list[Object]) -> Object:
        """Return an object with the books on who owns what, given those before."""
        fields = entries(owners, before, kind.version, self._time())
        metadata = {name: each for name, each in new["metadata"].items() if name != "managedFields"}
        return {**new, "metadata": {**metadata, **({"managedFields": fields} if fields else {})}}

    def _set_address(self, kind: Kind, new: Object) -> None:
        if kind is not SERVICE or new["spec"]["type"] == "ExternalName":
            return
        spec = new["spec"]
        if "clusterIP" not in spec:
            spec["clusterIP"] = str(ADDRESSES[self._next_address])
            self._next_address += 1
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    def _time(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _empty(kind: Kind, namespace: str) -> Object:
    metadata = {"namespace": namespace} if kind.namespaced else {}
    return {"apiVersion": kind.version, "kind": kind.name, "metadata": metadata}


def _keep_addresses(old: Object, new: Object) -> None:
    if new["type"] != "ExternalName":
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if field in old:
                new.setdefault(field, old[field])


def _check_name(new: Object, name: str) -> None:
    told = new.get("metadata", {}).get("name", "")
    if not told:
        raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if told != name:
        raise bad_request(f"the name of the object ({told}) does not match the name on the URL ({name})")


def _conflict(kind: Kind, name: str, message: str) -> Refused:
    return about(409, "Conflict", message, kind.plural, kind.group, name)
