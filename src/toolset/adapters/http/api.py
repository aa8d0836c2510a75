"""The JSON API: the status, read-only, in versioned paths."""

import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec
from aiohttp import web

from toolset.core.status.agent_types import Known
from toolset.core.status.snapshot import Change, ServiceStatus, StatusSnapshot
from toolset.model import Key

BASE: Final = "/api/v1"
PAGE_DEFAULT: Final = 100
PAGE_LIMIT: Final = 500
DISCOVER_GONE: Final = (
    "there is nothing to trigger: the service watches the cluster, and a change is published within a second; "
    f"GET {BASE}/services says what is known of each Service"
)
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_WORD: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_KEY: Final = re.compile(rf"({_NAMESPACE.pattern}/)?{_NAME.pattern}")
"""A Service, or a static backend, which has no namespace."""


class StatusSource(Protocol):
    """Port: the status of the running service."""

    @property
    def settle_s(self) -> float:
        """How old a snapshot may be, seconds."""
        ...

    @property
    def revision(self) -> int:
        """Counts what has changed in the snapshot."""
        ...

    @property
    def number(self) -> int:
        """The number of the latest change; 0 before the first."""
        ...

    @property
    def known(self) -> Known:
        """The words that an agent may read."""
        ...

    def snapshot(self) -> StatusSnapshot:
        """Return the whole status."""
        ...

    def service(self, key: Key) -> ServiceStatus | None:
        """Return the status of any one Service; ``None`` if it is unknown."""
        ...

    def changes_after(self, number: int) -> tuple[Change, ...]:
        """Return the changes after ``number`` that are remembered, the oldest first."""
        ...

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change; return a function that unsubscribes it."""
        ...


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not answered.

    Attributes:
        error: One sentence.
    """

    error: str


class ToolList(msgspec.Struct, frozen=True, kw_only=True):
    """The published tools.

    Attributes:
        tools: Ordered by type, then by name.
    """

    tools: tuple[ServiceStatus, ...]


class ServicePage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of Services.

    Attributes:
        services: Ordered by name.
        total: How many Services match on all pages.
        omitted: Services that the snapshot leaves out because there are too many; they are not in ``total``.
        next: The value of ``continue`` for the next page; ``None`` on the last one.
    """

    services: tuple[ServiceStatus, ...]
    total: int
    omitted: int = 0
    next: str | None = None


class Toolsets(msgspec.Struct, frozen=True, kw_only=True):
    """The published documents.

    Attributes:
        target: The ConfigMap, ``namespace/name``.
        documents: The documents by key of the ConfigMap.
    """

    target: str
    documents: Mapping[str, str]


class RefusedError(Exception):
    """A request is answered with an error: its status code, one sentence, and further headers."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers or {}

    def answer(self) -> web.Response:
        """Return what to answer."""
        return answer(Failed(error=str(self)), self.status, self.headers)


class StatusApi:
    """Answers ``/api/v1`` except for the events and the OpenAPI document."""

    def __init__(self, source: StatusSource) -> None:
        """Create it; ``source`` is asked at each request."""
        self._source = source

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get(f"{BASE}/status", self._status),
            web.get(f"{BASE}/tools", self._tools),
            web.get(f"{BASE}/services", self._services),
            web.get(f"{BASE}/services/{{namespace}}/{{name}}", self._service),
            web.get(f"{BASE}/toolsets", self._toolsets),
        ]

    async def _status(self, request: web.Request) -> web.Response:
        known_parameters(request)
        summary = self._source.snapshot().summary
        return answer(summary)

    async def _tools(self, request: web.Request) -> web.Response:
        known_parameters(request)
        tools = [each for each in self._source.snapshot().services if each.published]
        return answer(ToolList(tools=tuple(sorted(tools, key=lambda each: (each.type, each.key)))))

    async def _services(self, request: web.Request) -> web.Response:
        asked = known_parameters(request, "namespace", "type", "reason", "limit", "continue")
        snapshot = self._source.snapshot()
        found = [each for each in snapshot.services if _matches(each, asked)]
        limit, after = _limit(asked.get("limit", str(PAGE_DEFAULT))), asked.get("continue")
        if after is not None and not _KEY.fullmatch(after):
            raise RefusedError(400, "`continue` is the value of `next` in the page before: namespace/name")
        namespace, _, name = (after or "").rpartition("/")
        rest = [each for each in found if each.key > Key(namespace, name)] if after else found
        page = tuple(rest[:limit])
        more = str(page[-1].key) if len(rest) > limit else None
        return answer(ServicePage(services=page, total=len(found), omitted=snapshot.services_omitted, next=more))

    async def _service(self, request: web.Request) -> web.Response:
        known_parameters(request)
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        if not (_NAMESPACE.fullmatch(namespace) and _NAME.fullmatch(name)):
            raise RefusedError(404, "there is no such Service: that is no name of one")
        found = self._source.service(Key(namespace, name))
        if found is None:
            raise RefusedError(
                404, f"nothing is known of Service {namespace}/{name}: there is none, or this replica stands by"
            )
        return answer(found)

    async def _toolsets(self, request: web.Request) -> web.Response:
        known_parameters(request)
        snapshot = self._source.snapshot()
        return answer(Toolsets(target=snapshot.summary.installation.target, documents=snapshot.documents))


def answer(content: msgspec.Struct, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return ``content`` as JSON."""
    body = msgspec.json.encode(content)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def known_parameters(request: web.Request, *names: str) -> Mapping[str, str]:
    """Return the parameters of a request.

    Raises:
        RefusedError: A parameter is unknown, given twice, or implausible.
    """
    query = request.query
    for name in query:
        if name not in names:
            known = f"known are {', '.join(names)}" if names else "there are none"
            raise RefusedError(400, f"an unknown parameter; {known}")
    if len(query) != len(set(query)):
        raise RefusedError(400, "a parameter is given twice")
    for name in ("namespace", "type", "reason"):
        if name in query and not _WORD.fullmatch(query[name]):
            raise RefusedError(400, f"`{name}` takes letters, digits and `-`")
    return query


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= PAGE_LIMIT):
        raise RefusedError(400, f"`limit` takes a number from 1 to {PAGE_LIMIT}")
    return int(text)


def _matches(service: ServiceStatus, asked: Mapping[str, str]) -> bool:
    wanted = ((service.namespace, "namespace"), (service.type, "type"), (service.verdict, "reason"))
    return all(asked.get(name, value) == value for value, name in wanted)
