"""Name what the service may not do, in one sentence each, instead of failing at it again and again."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from toolset.adapters.kube.reviews import is_allowed
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.errors import ToolsetError
from toolset.permissions import Permission, needed
from toolset.settings import Settings

FIRST_AFTER_S: Final = 3.0
"""Asked so long after the first lists where nothing was refused: the first write does not wait for it, seconds."""
AGAIN_AFTER_S: Final = 10.0
"""At the earliest so long after the last time, seconds."""
PACE_S: Final = 1.0
"""Between two questions, seconds: who is refused may be one of many, and the API server may be in trouble."""

_log: Final = logging.getLogger("toolset")


class Preflight:
    """Asks the API server once what the service may do, and again while something is missing or was refused."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._count = metrics.permissions_missing
        self._refused = anyio.Event()
        self._missing: list[Permission] = []

    def refused(self) -> None:
        """Take note that the API server has refused a request."""
        self._refused.set()

    def adopt(self, settings: Settings) -> None:
        """Ask for what ``settings`` need from now on."""
        self._settings = settings
        self._refused.set()

    def unreadable(self) -> str:
        """Return what must be granted before the service can begin; empty when nothing must."""
        return "; ".join(f"may not {each.sentence}: {each.remedy}" for each in self._missing if each.reads)

    async def run(self, kube: KubeTransport, synced: Callable[[], Awaitable[None]]) -> None:
        """Ask whenever there is reason to, until cancelled.

        Args:
            kube: The session with the API server.
            synced: Returns once what the service reads has been listed.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._give_up_waiting, synced)
            await self._refused.wait()
            group.cancel_scope.cancel()
        while True:
            self._refused = anyio.Event()
            answered = await self._review(kube)
            await anyio.sleep(AGAIN_AFTER_S)
            if answered and not self._missing:
                await self._refused.wait()

    async def _give_up_waiting(self, synced: Callable[[], Awaitable[None]]) -> None:
        """Ask although nothing was refused: what is needed later may be missing."""
        await synced()
        await anyio.sleep(FIRST_AFTER_S)
        self._refused.set()

    async def _review(self, kube: KubeTransport) -> bool:
        """Ask for each permission; return whether all were answered."""
        wanted, before = needed(self._settings), len(self._missing)
        self._missing = [each for each in self._missing if each in wanted]
        for each in wanted:
            try:
                allowed = await is_allowed(kube, each.attributes)
            except ToolsetError as error:  # whoever needs the API server tells of it
                _log.debug("permissions cannot be reviewed", extra={"error": str(error)[:512]})
                return False
            self._note(each, allowed=allowed)
            await anyio.sleep(PACE_S)
        if before and not self._missing:
            _log.info("permissions complete")
        return True

    def _note(self, permission: Permission, *, allowed: bool) -> None:
        known = permission in self._missing
        if allowed and known:
            self._missing.remove(permission)
        elif not allowed and not known:
            self._missing.append(permission)
            about = permission.attributes
            extra = {
                "verb": about.verb,
                "resource": about.resource,
                "k8s.namespace.name": about.namespace,
                "detail": f"may not {permission.sentence}",
                "remedy": permission.remedy,
            }
            _log.error("permission missing", extra=extra)
        self._count.set(len(self._missing))
