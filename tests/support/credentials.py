"""Credentials whose files a test changes."""

import anyio

from support.background import Clock
from toolset.adapters.kube.credentials.providers import REREAD_S, RestConfig
from toolset.adapters.kube.credentials.renewal import Renewal

LOOKS = 2000
LOOK_S = 0.001


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Return the headers of a request with ``token``."""
    return (("Authorization", f"Bearer {token}"),)


async def reread(credentials: Renewal[RestConfig], clock: Clock, after_s: float = REREAD_S) -> RestConfig:
    """Let time pass on ``clock``; return the access once it was renewed, or the old one if it is not."""
    clock.now += after_s
    before = await credentials.current()  # what is renewed meanwhile
    for _ in range(LOOKS):
        await anyio.sleep(LOOK_S)
        if (access := await credentials.current()) is not before:
            return access
    return before
