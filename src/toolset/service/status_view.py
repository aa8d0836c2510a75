"""The status of this process: collects the state of its parts on request, and builds the snapshot."""

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Final

import anyio
import msgspec

from toolset import __version__
from toolset.adapters.metrics import ToolSeries
from toolset.config.options import detection_options, required_keys, target_key
from toolset.config.settings import Settings
from toolset.core.publishing.plan import owned_keys
from toolset.core.status.agent_types import Known
from toolset.core.status.build import Facts, service, snapshot
from toolset.core.status.problems import Condition
from toolset.core.status.snapshot import Change, Installation, ServiceStatus, StatusSnapshot
from toolset.model import Key
from toolset.runtime.current import Current
from toolset.service.state import Stores
from toolset.service.supervisor import Supervisor
from toolset.telemetry.required_tools import RequiredToolsMonitor

FRESH_S: Final = 0.25
"""How long a snapshot is reused for all requests, seconds."""
SHARE: Final = 0.1
"""Maximum share of the time spent on building snapshots, however many clients there are."""
UNCHANGED_S: Final = 1.0
"""The same if only probes have happened since, seconds."""


class Identity(msgspec.Struct, frozen=True):
    """Constants of the process: its name, the API server, and the settings file."""

    identity: str
    cluster: str = ""
    settings_file: str = ""


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class StatusView:
    """The :class:`~toolset.adapters.http.api.StatusSource` of the running service."""

    def __init__(
        self,
        identity: Identity,
        settings: Current[Settings],
        stores: Stores,
        supervisor: Supervisor,
        condition: Callable[[], Condition],
        required: RequiredToolsMonitor,
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Create it.

        Args:
            identity: Which process answers.
            settings: Those in force.
            stores: The stored cluster state.
            supervisor: Has the running pipeline, and the history.
            condition: Returns the state of the parts of the process.
            required: Has the required tools that are missing.
            now: The wall clock.
        """
        self._identity = identity
        self._settings = settings
        self._stores = stores
        self._supervisor = supervisor
        self._history = supervisor.history
        self._condition = condition
        self._required = required
        self._now = now
        self._cached: StatusSnapshot | None = None
        self._built_at = 0.0
        self._took_s = 0.0

    @property
    def settle_s(self) -> float:
        """How old a snapshot may be, seconds, plus a margin of 0.1 s."""
        return self._fresh_s + 0.1

    @property
    def _fresh_s(self) -> float:
        return max(FRESH_S, self._took_s / SHARE)

    @property
    def revision(self) -> int:
        """Counts what has changed in the snapshot."""
        return self._history.revision

    @property
    def number(self) -> int:
        """The number of the latest change; 0 before the first."""
        return self._history.number

    @property
    def known(self) -> Known:
        """The words that an agent may read."""
        settings = self._settings.value
        static = (backend.type for backend in settings.static)
        return Known(detection_options(settings).types_for_untrusted.union(static), settings.discovery.cluster_domain)

    def changes_after(self, number: int) -> tuple[Change, ...]:
        """Return the changes after ``number`` that are remembered, the oldest first."""
        return self._history.changes_after(number)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change; return a function that unsubscribes it."""
        return self._history.subscribe(listener)

    async def run(self) -> None:
        """Record changes of the condition while clients follow, until cancelled; without clients it is idle."""
        known = self._condition()
        while True:
            await anyio.sleep(UNCHANGED_S)
            if self._history.has_listeners and (now := self._condition()) != known:
                known = now
                self._history.touch()

    def snapshot(self) -> StatusSnapshot:
        """Return the whole status, at most ``settle_s`` seconds old."""
        now_s = anyio.current_time()
        cached, age_s = self._cached, now_s - self._built_at
        if cached is not None:
            unchanged = cached.summary.revision == self.revision
            if age_s < self._fresh_s or (unchanged and age_s < max(UNCHANGED_S, self._fresh_s)):
                return cached
        built = snapshot(self._facts())
        self._cached, self._built_at = built, anyio.current_time()
        self._took_s = self._built_at - now_s
        return built

    def service(self, key: Key) -> ServiceStatus | None:
        """Return the status of any one Service; ``None`` if there is none, or this replica does not lead."""
        return service(self._facts(), key)

    def tool_series(self) -> Iterator[ToolSeries]:
        """Yield the series of each published tool, for a scrape."""
        inventory = self._supervisor.inventory
        for key, tool in self._history.tools.items():
            if inventory is not None:
                health = inventory.health(key)
                yield ToolSeries(
                    key.namespace, key.name, tool.type, tool.product, bool(health.up) and not health.failures
                )

    def _facts(self) -> Facts:
        settings, condition = self._settings.value, self._condition()
        prefix, current = settings.discovery.annotation_prefix, self._stores.config_maps.get(target_key(settings))
        owned = owned_keys(current, prefix)
        entries = current.entries if current is not None else {}
        return Facts(
            now=self._now(),
            installation=self._installation(settings, condition),
            condition=condition,
            history=self._history,
            inventory=self._supervisor.inventory,
            services=len(self._stores.services.snapshot()),
            documents={key: text for key, text in sorted(entries.items()) if key in owned},
            limit_bytes=settings.output.limit_bytes,
            required=frozenset(required_keys(settings)),
            missing=self._required.missing,
            health=settings.health,
            prefix=prefix,
        )

    def _installation(self, settings: Settings, condition: Condition) -> Installation:
        return Installation(
            version=__version__,
            instance=settings.output.instance,
            identity=self._identity.identity,
            cluster=self._identity.cluster,
            target=str(condition.target),
            role=condition.role,
            since=self._supervisor.led_since,
            leader=condition.leader,
            election=settings.election.enabled,
            settings_file=self._identity.settings_file,
            probing=settings.health.enabled,
        )
