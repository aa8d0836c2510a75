"""Port of the MCP server for agents, so that its package is loaded only if the settings enable it."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from aiohttp import web

from toolset.adapters.http.api import RefusedError

PATH: Final = "/mcp"
MISSING: Final = (
    "the Python package `mcp` is not installed: install kubernaut-dynamic-toolset[mcp], or build the image with "
    "`make image MCP=1`"
)


class AgentEndpoint(Protocol):
    """Port: answers requests for ``/mcp``."""

    def run(self) -> AbstractAsyncContextManager[None]:
        """Return a context inside which requests are answered."""
        ...

    async def handle(self, request: web.Request, /) -> web.StreamResponse:
        """Answer one request.

        Raises:
            RefusedError: The request is not for this server.
        """
        ...


class MissingEndpoint:
    """Answers that the package is missing."""

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Do nothing."""
        yield

    async def handle(self, _: web.Request, /) -> web.StreamResponse:
        """Refuse every request."""
        raise RefusedError(501, MISSING)
