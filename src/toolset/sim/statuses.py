"""Refusals as in the real API server."""

from typing import Any, TypeAlias, TypeGuard

Object: TypeAlias = dict[str, Any]
"""An API object, or a part of one, as JSON; objects from the store are never modified in place."""


def is_map(value: object) -> TypeGuard[Object]:
    """Return whether JSON is an object."""
    return isinstance(value, dict)


class Refused(Exception):  # noqa: N818 - it is an answer, not an error of this package
    """The answer is a Status of a failure.

    Attributes:
        code: The HTTP status.
        status: The whole Status.
    """

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self.status |= {"message": message, "reason": reason, "code": code}
        self.status |= {} if details is None else {"details": details}
