"""Every exception that this package raises on purpose.

The hierarchy; a caller catches as specifically as it needs::

    ToolsetError
    ├── SettingsError           a setting, flag or input file is wrong; the user must act
    ├── TerminalError           retrying cannot help until an input changes
    │   └── InvalidError        400, 405, 422: the API server refuses the request as it is
    │       └── NotFoundError   404: it does not have what the request is about
    └── TransientError          retrying may help
        ├── ForbiddenError      401 or 403: credentials or RBAC
        ├── ConflictError       409: the object changed since it was read
        ├── UnavailableError    refused, cut, timed out, 429, 502, 503, 504
        ├── OutOfSyncError      410, 500, an undecodable stream: list again
        └── LeadershipLostError this replica no longer leads

Adapters raise these ``from`` the vendor's exception; no vendor exception crosses a port.
"""


class ToolsetError(Exception):
    """Base of every error below."""


class SettingsError(ToolsetError):
    """A setting, a flag or an input file is not valid.

    Attributes:
        problems: A sentence for each thing that is wrong; it names the place and the remedy.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class TerminalError(ToolsetError):
    """The work cannot succeed until an input changes; it is not retried."""


class InvalidError(TerminalError):
    """The API server refuses the request as it is (400, 405, 422)."""


class NotFoundError(InvalidError):
    """The API server does not have what the request is about (404)."""


class TransientError(ToolsetError):
    """The work may succeed if it is retried.

    Attributes:
        retry_after_s: ``Retry-After``, seconds; 0 if there is none.
    """

    def __init__(self, message: str = "", *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ForbiddenError(TransientError):
    """The API server answered 401 or 403.

    A retry may help: permissions may be granted without a change on this side, and an API server that has just
    started refuses all requests until it has read its roles.
    """


class ConflictError(TransientError):
    """The API server answered 409: the object changed since it was read."""


class UnavailableError(TransientError):
    """The API server did not answer, or throttled the request.

    Attributes:
        throttled: Whether the answer was 429, which does not mean that the request itself is wrong.
        incomplete: Whether the answer was too slow or too large, or broke off, so that a smaller one may succeed.
        silent: Whether it began, and then nothing came for as long as a watch may be silent.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float = 0.0,
        throttled: bool = False,
        incomplete: bool = False,
        silent: bool = False,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.throttled = throttled
        self.incomplete = incomplete
        self.silent = silent


class OutOfSyncError(TransientError):
    """The watch cannot be resumed; a new list is required.

    Attributes:
        version_unusable: Whether the resource version itself was rejected (410, or a version the
            server has not reached), so that the next list must not name it.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0, version_unusable: bool = False) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.version_unusable = version_unusable


class LeadershipLostError(TransientError):
    """This replica no longer leads, so it must not write."""
