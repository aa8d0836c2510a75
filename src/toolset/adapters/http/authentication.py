"""Authentication of the status: a bearer token that the API server accepts, of a user who may get the path."""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import anyio
from aiohttp import web

from toolset.adapters.http.api import RefusedError
from toolset.adapters.http.rate_limit import RateLimit
from toolset.errors import ToolsetError

ALLOWED_S: Final = 30.0
"""How long an approval is cached, seconds; together with the age of a stream less than a minute."""
REFUSED_S: Final = 10.0
DECISIONS_LIMIT: Final = 1024
TOKEN_LIMIT: Final = 16 * 1024
REVIEWS_PER_S: Final = 10.0
REVIEWS_BURST: Final = 50.0
"""Limits requests to the API server, however many tokens are tried."""

Decision = Literal["allowed", "unknown", "forbidden"]
Review = Callable[[str, str], Awaitable[Decision]]
"""Asks the API server about a token and a path; raises ToolsetError when it cannot be asked."""


class Authenticator:
    """Accepts requests whose token may get the path, according to the API server; caches decisions for a short time."""

    def __init__(self, review: Review) -> None:
        """Create it; ``review`` asks the API server."""
        self._review = review
        self._decisions: OrderedDict[tuple[bytes, str], tuple[float, Decision]] = OrderedDict()
        self._limit = RateLimit(REVIEWS_PER_S, REVIEWS_BURST)

    async def check(self, request: web.Request) -> None:
        """Return only if the request may be answered.

        Raises:
            RefusedError: 401 without a token that is known, 403 without the right, 503 when the API server cannot be
                asked, 429 when too many tokens are tried.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > TOKEN_LIMIT:
            raise _unauthorized("a bearer token is needed, for example of `kubectl create token`")
        decision = await self._decide(token, request.path)
        if decision == "unknown":
            raise _unauthorized("the API server does not know this token")
        if decision == "forbidden":
            raise RefusedError(
                403,
                "the user of this token may not get this path: grant a ClusterRole with the nonResourceURLs "
                "/toolset-status/* and the verb get",
            )

    async def _decide(self, token: str, path: str) -> Decision:
        key = hashlib.sha256(token.encode()).digest(), path
        now_s = anyio.current_time()
        until_s, decision = self._decisions.get(key, (0.0, "unknown"))
        if now_s < until_s:
            return decision
        if not self._limit.take(now_s):
            raise RefusedError(429, "too many tokens and paths; try again in a second", {"Retry-After": "1"})
        try:
            decision = await self._review(token, path)
        except ToolsetError as error:
            raise RefusedError(503, "the API server cannot be asked about this token", {"Retry-After": "5"}) from error
        self._decisions[key] = now_s + (ALLOWED_S if decision == "allowed" else REFUSED_S), decision
        self._decisions.move_to_end(key)
        while len(self._decisions) > DECISIONS_LIMIT:
            self._decisions.popitem(last=False)
        return decision


def _unauthorized(sentence: str) -> RefusedError:
    return RefusedError(401, sentence, {"WWW-Authenticate": "Bearer"})
