"""A command's session with the API server, which first reports the cluster and the user."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from toolset.adapters.kube.transport import KubeTransport
from toolset.commands import notes
from toolset.config.clients import transport
from toolset.config.settings import Settings


@asynccontextmanager
async def session(settings: Settings) -> AsyncGenerator[KubeTransport]:
    """Open a session; cluster, context and identity are written to standard error before any request.

    Raises:
        SettingsError: There are no credentials.
    """
    async with transport(settings, dict(os.environ)) as kube:
        await announce(kube)
        yield kube


async def announce(kube: KubeTransport) -> None:
    """Write the cluster, context and user of ``kube`` to standard error.

    Raises:
        ToolsetError: There are no credentials.
    """
    notes.write(str(await kube.check_credentials()))
