"""Report missing permissions, one sentence each, instead of failing repeatedly."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import anyio

from toolset.adapters.kube.reviews import is_allowed
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.config.settings import Settings
from toolset.errors import ToolsetError
from toolset.runtime.current import Current
from toolset.service.permissions import Permission, needed

FIRST_AFTER_S: Final = 3.0
"""Delay of the first review after the first lists if nothing was refused, seconds: the first write does not wait."""
AGAIN_AFTER_S: Final = (10.0, 60.0)
"""Delay until missing permissions are reviewed again: initial and maximum, seconds."""
CALM_S: Final = 60.0
"""Minimum delay after a review without findings, seconds: an admission webhook may be what refuses requests."""
PACE_S: Final = 1.0
"""Time between two reviews, seconds: many clients may be refused, and the API server may be overloaded."""

_log: Final = logging.getLogger("toolset")


class PermissionMonitor:
    """Reviews the permissions of the service: once, then the missing ones, and when a request was refused."""

    def __init__(self, settings: Current[Settings], metrics: Metrics) -> None:
        self._settings = settings
        self._count = metrics.permissions_missing
        self._news = anyio.Event()
        self._is_asking = False
        self._missing: list[Permission] = []

    @property
    def missing(self) -> tuple[Permission, ...]:
        """The required permissions that the API server does not grant, as far as reviewed."""
        return tuple(self._missing)

    def refused(self) -> None:
        """Record a refused request, unless a permission that is already missing, or under review, may be the cause."""
        if not (self._missing or self._is_asking):
            self._news.set()

    def unreadable(self) -> str:
        """Return what must be granted before the service can start; empty if nothing must."""
        return "; ".join(f"may not {each.sentence}: {each.remedy}" for each in self._missing if each.reads)

    async def run(self, kube: KubeTransport, synced: Callable[[], Awaitable[None]]) -> None:
        """Review whenever there is a reason, until cancelled.

        Args:
            kube: The session with the API server.
            synced: Returns once what the service reads has been listed.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow_settings)
            async with anyio.create_task_group() as first:
                first.start_soon(self._give_up_waiting, synced)
                await self._news.wait()
                first.cancel_scope.cancel()
            await self._monitor(kube)

    async def _follow_settings(self) -> None:
        """Review what new settings require as soon as they are in force."""
        while True:
            await self._settings.changed()
            self._news.set()

    async def _monitor(self, kube: KubeTransport) -> None:
        while True:
            self._news = anyio.Event()
            wanted = needed(self._settings.value)
            self._missing = [each for each in self._missing if each in wanted]
            answered = await self._review(kube, wanted)
            delay_s, longest_s = AGAIN_AFTER_S
            while (self._missing or not answered) and not await self._hears_within(delay_s):
                answered = await self._review(kube, self._missing or wanted)
                delay_s = min(2 * delay_s, longest_s)
            if answered and not self._missing:
                await anyio.sleep(CALM_S)
                await self._news.wait()

    async def _hears_within(self, delay_s: float) -> bool:
        """Wait for an event; return whether there was one in time."""
        with anyio.move_on_after(delay_s):
            await self._news.wait()
        return self._news.is_set()

    async def _give_up_waiting(self, synced: Callable[[], Awaitable[None]]) -> None:
        """Review although nothing was refused: a permission that is needed later may be missing."""
        await synced()
        await anyio.sleep(FIRST_AFTER_S)
        self._news.set()

    async def _review(self, kube: KubeTransport, wanted: Iterable[Permission]) -> bool:
        """Review each permission; return whether all were answered. A forbidden review is not reported."""
        self._is_asking = True
        try:
            return await self._ask(kube, tuple(wanted))
        except ToolsetError as error:  # clients of the API server report it
            _log.debug("permissions cannot be reviewed", extra={"error": str(error)[:512]})
            await anyio.sleep(PACE_S)
            return False
        finally:
            self._is_asking = False

    async def _ask(self, kube: KubeTransport, wanted: Iterable[Permission]) -> bool:
        before = len(self._missing)
        for each in wanted:
            self._note(each, allowed=await self._is_allowed(kube, each))
            await anyio.sleep(PACE_S)
        if before and not self._missing:
            _log.info("permissions complete")
        return True

    @staticmethod
    async def _is_allowed(kube: KubeTransport, permission: Permission) -> bool:
        """Review, and confirm a denial by a second review: an API server that has just started has no roles yet."""
        if await is_allowed(kube, permission.attributes):
            return True
        await anyio.sleep(PACE_S)
        return await is_allowed(kube, permission.attributes)

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
                "detail": f"may not {permission.sentence}",
                "remedy": permission.remedy,
            }
            if about.namespace:
                extra["k8s.namespace.name"] = about.namespace
            _log.error("permission missing", extra=extra)
        self._count.set(len(self._missing))
