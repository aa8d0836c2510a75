"""Refusals in the words of the real API server."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

Object: TypeAlias = dict[str, Any]
"""An API object, or a part of one, as JSON has it; what the store hands out is never changed in place."""


def is_map(value: object) -> TypeGuard[Object]:
    """Return whether JSON is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Return whether JSON is an array."""
    return isinstance(value, list)


Cause: TypeAlias = tuple[str, str, str]
"""The field, the reason and the message of what is wrong with an object."""


class Refused(Exception):  # noqa: N818 - it is an answer, not an error of this package
    """The answer is a Status that tells of a failure.

    Attributes:
        code: The HTTP status.
        body: The whole Status.
    """

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.body: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self.body |= {"message": message, **({"reason": reason} if reason else {})}
        self.body |= {**({"details": dict(details)} if details is not None else {}), "code": code}


def bad_request(message: str) -> Refused:
    """Return 400: the request makes no sense."""
    return Refused(400, "BadRequest", message)


def unknown_path() -> Refused:
    """Return 404: there is no such resource."""
    return Refused(404, "NotFound", "the server could not find the requested resource", {})


def unknown_method() -> Refused:
    """Return 405: the resource has no such verb."""
    return Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def about(code: int, reason: str, message: str, plural: str, group: str, name: str) -> Refused:
    """Return a refusal about one object; ``message`` has ``{}`` where its name stands."""
    qualified = f"{plural}.{group}" if group else plural
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    return Refused(code, reason, message.replace("{}", f'{qualified} "{name}"'), details)


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Refused:
    """Return 422: the object breaks rules."""
    told = [f"{field}: {message}" for field, _, message in causes]
    qualified = f"{kind}.{group}" if group else kind
    text = f'{qualified} "{name}" is invalid: {told[0] if len(told) == 1 else "[" + ", ".join(told) + "]"}'
    details: Object = {**({"name": name} if name else {}), **({"group": group} if group else {})}
    details |= {**({"kind": kind} if kind else {}), "causes": _causes(causes)}
    return Refused(422, "Invalid", text, details)


def not_a_number(version: str) -> str:
    """Return what is wrong with a resource version."""
    return f'Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'


def version_too_large(asked: int, current: int) -> Refused:
    """Return 504: nobody has seen this version yet."""
    message = "Too large resource version"
    causes = [{"reason": "ResourceVersionTooLarge", "message": message}]
    text = f"Timeout: {message}: {asked}, current: {current}"
    return Refused(504, "Timeout", text, {"causes": causes, "retryAfterSeconds": 1})


def expired(message: str, metadata: Object | None = None) -> Refused:
    """Return 410: what was asked for is forgotten."""
    refused = Refused(410, "Expired", message)
    refused.body["metadata"] = metadata or {}
    return refused


def conflicts(found: Mapping[str, Sequence[str]]) -> Refused:
    """Return 409: an apply names fields that others own; ``found`` has these fields by owner."""
    pairs = [(owner, field) for owner, fields in sorted(found.items()) for field in fields]
    if len(pairs) == 1:
        text = f"Apply failed with 1 conflict: conflict with {pairs[0][0]}: {pairs[0][1]}"
    else:
        blocks = [f"conflicts with {owner}:\n- " + "\n- ".join(found[owner]) for owner in sorted(found)]
        text = f"Apply failed with {len(pairs)} conflicts: " + "\n".join(blocks)
    causes = [(field, "FieldManagerConflict", f"conflict with {owner}") for owner, field in pairs]
    return Refused(409, "Conflict", text, {"causes": _causes(causes)})


def _causes(causes: Iterable[Cause]) -> list[Object]:
    return [{"reason": reason, "message": message, "field": field} for field, reason, message in causes]
