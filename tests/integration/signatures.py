"""What kinds of requests were made: read off an audit log, or noted by the embedded API server as it answers."""

import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx
import msgspec
import pytest
from aiohttp import web

from integration.exchanges import TYPES
from toolset.sim.server import ApiServer

_RESOURCE: Final = re.compile(r"/(?:api|apis/([^/]+))/v1(?:/namespaces/[^/]+)?/([^/]+)(?:/([^/]+))?")
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_FREE: Final = frozenset({"timeout", "timeoutSeconds"})
"""Parameters that change no answer: how patient kubectl is, and when a watch ends."""


class Signature(msgspec.Struct, frozen=True, order=True):
    """What kind of request something was, and how it ended; equal ones are answered by the same rules.

    Attributes:
        verb: As the audit log names it.
        resource: With its group; a whole path where it is none.
        content_type: Of the body of a patch, a name in TYPES.
        params: The names of the query parameters.
        code: The HTTP status of the answer.
    """

    verb: str
    resource: str
    content_type: str
    params: tuple[str, ...]
    code: int


def of_audit(event: Mapping[str, Any]) -> Signature:
    """Return the signature of a request in an audit log.

    The log does not show content types. Of the patches only an apply may say ``force``, and everybody here says it;
    strategic ones are kubectl's of built-in kinds, which ask for ``fieldValidation``.
    """
    url = httpx.URL(event["requestURI"])
    content_type = ""
    if event["verb"] == "patch":
        content_type = next(
            (c for p, c in (("force", "apply"), ("fieldValidation", "strategic")) if p in url.params), "merge"
        )
    resource = _RESOURCE.fullmatch(url.path)
    return Signature(
        event["verb"],
        _named(resource) if resource else url.path,
        content_type,
        _names(url.params),
        event["responseStatus"]["code"],
    )


def of_request(request: web.Request, code: int) -> Signature:
    """Return the signature of a request that was answered with ``code``."""
    found = _RESOURCE.fullmatch(request.path)
    verb = _VERBS.get(request.method, "get" if found is None or found[3] else "list")
    verb = "watch" if "watch" in request.query else verb
    content_type = next((name for name, each in TYPES.items() if each == request.content_type), request.content_type)
    return Signature(
        verb,
        _named(found) if found else request.path,
        content_type if verb == "patch" else "",
        _names(request.query),
        code,
    )


@contextmanager
def noted() -> Generator[set[Signature]]:
    """Give the signatures of all that embedded API servers are asked inside the block."""
    found: set[Signature] = set()
    answer = ApiServer._handle

    async def noting(server: ApiServer, request: web.Request) -> web.StreamResponse:
        code = 200  # of a watch that its client ends
        try:
            response = await answer(server, request)
            code = response.status
        finally:
            found.add(of_request(request, code))
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ApiServer, "_handle", noting)
        yield found


def _named(found: re.Match[str]) -> str:
    return f"{found[2]}.{found[1]}" if found[1] else found[2]


def _names(params: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(params) - _FREE))
