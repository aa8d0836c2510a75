"""When the first write may happen."""

from collections.abc import Callable, Iterable

import anyio

from toolset.core.overrides.baseline import NOTHING, Published
from toolset.model import Key


class StartupGate:
    """Holds the first write back until every initial candidate has a verdict, or time is up.

    Until it opens, whoever reads the findings would publish half the truth. Time being up excuses slow backends only:
    every initial Service has been looked at before it opens, however many there are.
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
            published: What is published; it starts as up.
        """
        self._pending = set(keys)
        self._unseen = set(self._pending)
        self._published = published
        self._open_when_settled()

    def published(self, key: Key) -> Published:
        """Return what is published, for the first look at ``key``; what comes later has to prove itself."""
        if key not in self._unseen:
            return NOTHING
        self._unseen.discard(key)
        self._open_when_settled()
        return self._published

    def settle(self, key: Key) -> None:
        """Note that ``key`` has its verdict."""
        if self._pending is not None:
            self._pending.discard(key)
            self._open_when_settled()

    def stop_waiting_for_probes(self) -> None:
        """Open it as soon as every initial Service has been looked at: time is up."""
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
