"""A command's session with the API server, which says first where it leads, and as whom."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from toolset.adapters.kube.transport import KubeTransport
from toolset.commands import notes
from toolset.config.clients import transport
from toolset.config.settings import Settings


@asynccontextmanager
async def session(settings: Settings) -> AsyncGenerator[KubeTransport]:
    """Open a session; cluster, context and identity go to standard error before anything is asked.

    Raises:
        SettingsError: There are no credentials.
    """
    async with transport(settings, dict(os.environ)) as kube:
        await announce(kube)
        yield kube


async def announce(kube: KubeTransport) -> None:
    """Write to standard error which cluster ``kube`` leads to, by which context, and as whom.

    Raises:
        ToolsetError: There are no credentials.
    """
    notes.write(str(await kube.check_credentials()))
