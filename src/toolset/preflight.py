"""Name what the service may not do, in one sentence each, instead of failing at it again and again."""

import logging
from typing import Final

import anyio

from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.errors import ToolsetError
from toolset.permissions import Permission, missing, needed
from toolset.settings import Settings

FIRST_AFTER_S: Final = 3.0
"""Asked so long after the start where nothing was refused before, so that the first lists and the first write do not
wait for it, seconds."""
AGAIN_AFTER_S: Final = 10.0
"""At the earliest so long after the last time, seconds."""

_log: Final = logging.getLogger("toolset")


class Preflight:
    """Asks the API server once what the service may do, and again while something is missing or was refused."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._count = metrics.permissions_missing
        self._refused = anyio.Event()
        self._missing: tuple[Permission, ...] = ()

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

    async def run(self, kube: KubeTransport) -> None:
        """Ask whenever there is reason to, until cancelled."""
        with anyio.move_on_after(FIRST_AFTER_S):
            await self._refused.wait()
        while True:
            self._refused = anyio.Event()
            answered = await self._ask(kube)
            await anyio.sleep(AGAIN_AFTER_S)
            if answered and not self._missing:
                await self._refused.wait()

    async def _ask(self, kube: KubeTransport) -> bool:
        try:
            found = await missing(kube, needed(self._settings))
        except ToolsetError as error:  # whoever needs the API server tells of it
            _log.debug("permissions cannot be reviewed", extra={"error": str(error)[:512]})
            return False
        before, self._missing = self._missing, found
        self._count.set(len(found))
        for each in found:
            if each not in before:
                about = each.attributes
                extra = {"verb": about.verb, "resource": about.resource, "k8s.namespace.name": about.namespace}
                _log.error(
                    "permission missing", extra={**extra, "detail": f"may not {each.sentence}", "remedy": each.remedy}
                )
        if before and not found:
            _log.info("permissions complete")
        return True
