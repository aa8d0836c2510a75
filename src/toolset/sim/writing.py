"""Create, replace, patch, apply and delete: the result, the owners, and refusals."""

import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Final

import msgspec

from toolset.sim.kinds import KINDS, NAMESPACE, REVIEW, Place
from toolset.sim.ownership import Owners, applied, entries, updated
from toolset.sim.patches import merged
from toolset.sim.shapes import read, with_defaults, with_given
from toolset.sim.statuses import Object, Refused
from toolset.sim.store import Store

_CONFLICT: Final = "Operation cannot be fulfilled on {}: "
_MODIFIED: Final = "the object has been modified; please apply your changes to the latest version and try again"


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


def _uid() -> str:
    return str(uuid.uuid4())


class Writer:
    """Writes to a store; raises :class:`Refused` where the API server would refuse."""

    def __init__(self, store: Store, *, now: Callable[[], datetime] = _utc_now, uid: Callable[[], str] = _uid) -> None:
        self._store = store
        self.now = now
        self._uid = uid
        self._owners: dict[Place, Owners] = {}

    def existing(self, place: Place) -> Object:
        """Return an object."""
        if (found := self._store.get(place)) is None:
            raise place.refused(404, "NotFound", "{} not found")
        return found

    def create(self, place: Place, body: Object, manager: str) -> Object:
        """Return the new object."""
        if place.kind is REVIEW:  # it is answered, not stored, and there is no RBAC
            fields = entries(updated({}, {}, body, manager), REVIEW.version)
            return {**body, "metadata": {"managedFields": fields}, "status": {"allowed": True}}
        new = with_defaults(place.kind, read(place.kind, body))
        place = msgspec.structs.replace(place, name=new["metadata"]["name"])
        if self._store.get(place) is not None:
            raise place.refused(409, "AlreadyExists", "{} already exists")
        return self._save(place, None, new, updated({}, {}, new, manager))

    def replace(self, place: Place, body: Object, manager: str) -> Object:
        """Return the object after ``body`` has replaced it."""
        live, new = self.existing(place), with_defaults(place.kind, read(place.kind, body))
        return self._save(place, live, new, updated(self._owners[place], live, new, manager))

    def patch(self, place: Place, change: Object, manager: str, *, strategic: bool = False) -> Object:
        """Return the object after a merge patch; refuses like :meth:`replace`."""
        return self.replace(place, merged(self.existing(place), change, strategic=strategic), manager)

    def apply(self, place: Place, body: Object, manager: str, *, force: bool) -> tuple[Object, bool]:
        """Return the object after a server-side apply, and whether it is new."""
        live, config = self._store.get(place), read(place.kind, body)
        if live is None and (uid := config["metadata"].get("uid")):
            reason = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise place.refused(409, "Conflict", _CONFLICT + reason)
        new, owners = applied(self._owners.get(place, {}), place.kind, live or {}, config, manager, force=force)
        return self._save(place, live, new, owners), live is None

    def delete(self, place: Place) -> Object:
        """Return the answer to a deletion; a Namespace is deleted with all its content."""
        uid = self.existing(place)["metadata"]["uid"]
        for kind in KINDS if place.kind is NAMESPACE else ():
            for each in self._store.all_in(Place(kind, place.name)):
                self.delete(Place(kind, place.name, each["metadata"]["name"]))
        gone, _ = self._store.drop(place), self._owners.pop(place)
        if "status" in gone:
            return gone
        details = {"name": place.name, "kind": place.kind.plural, "uid": uid}
        details |= {"group": place.kind.group} if place.kind.group else {}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _save(self, place: Place, live: Object | None, new: Object, owners: Owners) -> Object:
        before: Object = live["metadata"] if live else {}
        home = Place(NAMESPACE, "", place.namespace)
        if live:
            _check_fence(place, new["metadata"], before)
        elif place.namespace and self._store.get(home) is None:
            raise home.refused(404, "NotFound", "{} not found")
        metadata = {
            **new["metadata"],
            "namespace": place.namespace,
            "name": place.name,
            "uid": before.get("uid") or self._uid(),
            "creationTimestamp": before.get("creationTimestamp") or f"{self.now():%Y-%m-%dT%H:%M:%SZ}",
            "resourceVersion": before.get("resourceVersion"),
            "managedFields": before.get("managedFields")
            if owners == self._owners.get(place)
            else entries(owners, place.kind.version),
        }
        self._owners[place] = owners
        new = {**with_given(place.kind, new, live), "metadata": {n: each for n, each in metadata.items() if each}}
        return live if live and live == new else self._store.put(place, new)


def _check_fence(place: Place, wanted: Object, live: Object) -> None:
    if wanted.get("resourceVersion", live["resourceVersion"]) != live["resourceVersion"]:
        raise place.refused(409, "Conflict", _CONFLICT + _MODIFIED)
    if (uid := wanted.get("uid", live["uid"])) != live["uid"]:
        kind, reason = place.kind.name, f'Invalid value: "{uid}": field is immutable'
        cause = {"reason": "FieldValueInvalid", "message": reason, "field": "metadata.uid"}
        details = {"name": place.name, "kind": kind, "causes": [cause]}
        raise Refused(422, "Invalid", f'{kind} "{place.name}" is invalid: metadata.uid: {reason}', details)
