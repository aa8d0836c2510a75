"""When the ConfigMap may be written again: a Service that keeps changing delays only its own changes."""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from toolset.core.candidate import Candidate
from toolset.core.shares import Shares
from toolset.model import Key
from toolset.runtime.pacing import Pace, Paces, Pacing

OF_A_SERVICE: Final = Pacing()
"""A flapping Service is written 9 times in 40 s, and then twice a minute."""
OF_A_NAMESPACE: Final = Pacing(free=200, calm_s=5.0)
"""Services of a namespace that flap in turn: as many changes as in a large rollout, and then one per 5 s. All
untrusted namespaces together count as one."""
OF_THE_REST: Final = Pacing(free=20, calm_s=120.0)
"""Writes that change no tool, such as those for overrides: twenty at once, then with growing pauses, up to four times
as long as those of a Service. That is at most 60 in the first hour, and 30 in each later one."""


class WritePace:
    """Attributes each write to the Services whose tools it changes.

    A write waits only for the calmest of them, so that a change of any other Service includes pending changes. Writes
    that change no tool, such as those for overrides, are paced separately.
    """

    def __init__(self, longest_s: float, shares: Shares = Shares()) -> None:
        """Start without recorded writes.

        Args:
            longest_s: The longest pause of a Service, seconds.
            shares: The shares of namespaces.
        """
        self._shares = shares
        self._written: Mapping[Key, Candidate] = {}
        self._services: Paces[Key] = Paces(replace(OF_A_SERVICE, longest_s=longest_s))
        self._namespaces: Paces[str] = Paces(replace(OF_A_NAMESPACE, longest_s=longest_s))
        self._rest = Pace(replace(OF_THE_REST, longest_s=4 * longest_s))

    def wait_s(self, tools: Iterable[Candidate], now_s: float) -> float:
        """Return how long the write of ``tools`` must wait, seconds; 0 if it may happen now."""
        waits_s = (
            max(self._services.wait_s(key, now_s), *(self._namespaces.wait_s(name, now_s) for name in self._names(key)))
            for key in self.changed(tools)
        )
        return min(waits_s, default=self._rest.wait_s(now_s))

    def wrote(self, tools: Iterable[Candidate], now_s: float) -> None:
        """Count a write of ``tools``."""
        changed = self.changed(tools)
        if not changed:
            self._rest = self._rest.acted(now_s)
        self._services.acted(changed, now_s)
        self._namespaces.acted({name for key in changed for name in self._names(key)}, now_s)
        self._written = {tool.key: tool for tool in tools}

    def changed(self, tools: Iterable[Candidate]) -> set[Key]:
        """Return the Services whose tools a write of ``tools`` would change."""
        now = {tool.key: tool for tool in tools}
        return {key for key in now.keys() | self._written.keys() if now.get(key) != self._written.get(key)}

    def _names(self, key: Key) -> set[str]:
        return {key.namespace, self._shares.account(key.namespace)}
