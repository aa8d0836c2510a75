"""When the first write may happen."""

from collections.abc import Callable, Iterable

import anyio

from toolset.core.overrides.baseline import NOTHING, Published
from toolset.model import Key


class StartupGate:
    """Delays the first write until every initial candidate has a verdict, or until a timeout.

    Until it opens, the results are incomplete. The timeout skips only slow backends: every initial Service has been
    processed before it opens, however many there are.
    """

    def __init__(self, on_open: Callable[[], None]) -> None:
        self._on_open = on_open
        self._pending: set[Key] | None = None
        self._opened = anyio.Event()
        self._published = NOTHING
        self._unseen: set[Key] = set()
        self._time_is_up = False

    @property
    def is_open(self) -> bool:
        """Whether targets may be written."""
        return self._opened.is_set()

    def begin(self, keys: Iterable[Key], published: Published) -> None:
        """Start to wait for a verdict on each of ``keys``.

        Args:
            keys: Every Service of the first complete list.
            published: The published tools, which start as up.
        """
        self._pending = set(keys)
        self._unseen = set(self._pending)
        self._published = published
        self._open_when_settled()

    def published(self, key: Key) -> Published:
        """Return the published tools for the first detection of ``key``; later candidates must pass a probe."""
        if key not in self._unseen:
            return NOTHING
        self._unseen.discard(key)
        self._open_when_settled()
        return self._published

    def settle(self, key: Key) -> None:
        """Record that ``key`` has its verdict."""
        if self._pending is not None:
            self._pending.discard(key)
            self._open_when_settled()

    def stop_waiting_for_probes(self) -> None:
        """Open it as soon as every initial Service has been processed: the timeout has expired."""
        self._time_is_up = True
        self._open_when_settled()

    async def wait_opened(self) -> None:
        """Return once it is open."""
        await self._opened.wait()

    def _open_when_settled(self) -> None:
        settled = not self._pending or (self._time_is_up and not self._unseen)
        if settled and not self.is_open:
            self._opened.set()
            self._pending = None
            self._on_open()
