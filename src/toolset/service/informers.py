"""The reflectors and their stores: this replica's view of the cluster, leader or not."""

import random
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import anyio
import msgspec

from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import IDLE_S, KubeSource, Resource, config_map, namespaces, services
from toolset.adapters.metrics import Metrics
from toolset.config.options import reduction, target_key
from toolset.config.settings import Settings
from toolset.model import ConfigMap, Key, Lease, Namespace, Service
from toolset.runtime.backoff import RETRY_AFTER_CAP_S, Backoff
from toolset.runtime.multi_namespace_store import MultiNamespaceStore
from toolset.runtime.reflector import Reflector, ReflectorOptions, watch_starts
from toolset.runtime.store import Delta, Store, Stored
from toolset.telemetry.observers import ReflectorLog, handler_failed, handler_slow

V = TypeVar("V", bound=Stored)

CONTACT_LOST_S: Final = 180.0
"""Longer than the silence after which a watch is reopened (75 s) and the usual maximum retry delay (60 s)."""
STUCK_SPARE_S: Final = 30.0
"""A reflector that neither received nor sent anything for this much longer than the maximum silence of a watch plus the
maximum delay is stuck, however unhealthy the server."""
NAMESPACES_WITHIN_S: Final = 2.0
"""Maximum wait for the Namespaces, which are optional, seconds; no wait once they are forbidden."""
NAMESPACES_PATIENCE: Final = 4.0
"""The factor on the retry delays of their reflector: required resources come first."""
LAG_EVERY_S: Final = 5.0


class _Synced(Protocol):
    @property
    def is_synced(self) -> bool: ...


class _Follower(Protocol):
    """The interface of a reflector, whatever it follows."""

    @property
    def heard_at(self) -> float: ...
    @property
    def attempted_at(self) -> float: ...
    async def run(self) -> None: ...
    async def refresh(self) -> None: ...
    def relist(self) -> int: ...


class _Followed(msgspec.Struct, frozen=True):
    """One resource in one place, and its reflector."""

    store: _Synced
    log: ReflectorLog
    reflector: _Follower


class Informers:
    """One reflector and one store for each watched namespace, one for the ConfigMap, and added ones.

    The ConfigMap that ``output.overrides_from`` names has one too, and no work starts before it is listed.

    If all namespaces are watched, the Namespaces themselves are followed too. They are optional: without them the
    settings alone decide which of them are trusted, and the Services of a terminating namespace are kept until they
    are deleted themselves. A leader that starts before they are listed works that way until they are.
    """

    def __init__(
        self, settings: Settings, kube: KubeTransport, metrics: Metrics, *, chance: Callable[[], float] = random.random
    ) -> None:
        """Create the reflectors and their stores; ``chance`` returns a random number in [0, 1)."""
        self._kube = kube
        self._chance = chance
        self._metrics = metrics
        self._starts = watch_starts()
        self._retries = Backoff(settings.controller.retry_base, settings.controller.retry_cap)
        longest_delay_s = max(RETRY_AFTER_CAP_S, self._retries.cap_s * (1.0 + self._retries.spread))
        self._stuck_after_s = IDLE_S + longest_delay_s + STUCK_SPARE_S
        self._reflectors: list[_Follower] = []
        self._needed: list[_Followed] = []
        prefix, reduced = settings.discovery.annotation_prefix, reduction(settings)
        stores: dict[str, Store[Service]] = {}
        for namespace in settings.discovery.watch_namespaces or ("",):
            stores[namespace], followed = self._follow(services(namespace, reduced), "services")
            self._needed.append(followed)
        self.services: MultiNamespaceStore[Service] = MultiNamespaceStore(stores)
        target = target_key(settings)
        self.config_maps, self._target = self._follow(config_map(target), "configmaps")
        self._needed.append(self._target)
        self.overrides: Store[ConfigMap] | None = None
        if name := settings.output.overrides_from:
            self.overrides, followed = self._follow(config_map(Key(target.namespace, name)), "overrides")
            self._needed.append(followed)
        self.namespaces: Store[Namespace] = Store(handler_failed)
        self._namespaces: _Followed | None = None
        if not settings.discovery.watch_namespaces:
            self.namespaces, self._namespaces = self._follow(namespaces(prefix), "namespaces", NAMESPACES_PATIENCE)

    def add(self, resource: Resource[Lease], name: str, handler: Callable[[Delta[Lease]], None]) -> None:
        """Follow ``resource`` too; readiness does not wait for it."""
        store, _ = self._follow(resource, name)
        store.subscribe(handler)

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._measure_lag)
            for reflector in self._reflectors:
                group.start_soon(reflector.run)

    async def wait_synced(self) -> None:
        """Return once the Services and the ConfigMap have been listed; the Namespaces too, if that is fast."""
        await self.services.wait_synced()
        await self.config_maps.wait_synced()
        if self.overrides is not None:
            await self.overrides.wait_synced()
        if self._namespaces is not None:
            with anyio.move_on_after(NAMESPACES_WITHIN_S):
                await self._namespaces.log.wait_attempted()

    async def refresh(self) -> None:
        """List the Services and the ConfigMap again; return once that is done, however long the API server takes.

        The Namespaces are listed again too, if that is fast and has ever succeeded.
        """
        async with anyio.create_task_group() as group:
            for needed in self._needed:
                group.start_soon(needed.reflector.refresh)
            if self._namespaces is not None and self._namespaces.store.is_synced:
                with anyio.move_on_after(NAMESPACES_WITHIN_S):
                    await self._namespaces.reflector.refresh()

    def relist_config_map(self) -> None:
        """List the ConfigMap again as soon as possible, without waiting for it."""
        self._target.reflector.relist()

    def unsynced(self) -> str:
        """Return what has not been listed yet and why; empty if nothing is missing."""
        waiting = (needed.log for needed in self._needed if not needed.store.is_synced)
        return "; ".join(f"{log.resource}: {log.problem or 'not listed yet'}" for log in waiting)

    def out_of_contact(self) -> str:
        """Return a message if the API server has been silent for too long; else empty."""
        silent_s = anyio.current_time() - min(needed.reflector.heard_at for needed in self._needed)
        if self.unsynced() or silent_s < CONTACT_LOST_S:
            return ""
        return f"no answer from the API server for {silent_s:.0f} s"

    def stuck(self) -> str:
        """Return a message if a reflector is stuck; empty if none is, however unhealthy the API server is."""
        now = anyio.current_time()
        for reflector in self._reflectors:
            seen_at = max(reflector.heard_at, reflector.attempted_at)
            if seen_at and now - seen_at > self._stuck_after_s:
                return f"a reflector has made no attempt for {now - seen_at:.0f} s"
        return ""

    async def _measure_lag(self) -> None:
        while True:
            due = anyio.current_time() + LAG_EVERY_S
            await anyio.sleep_until(due)
            self._metrics.loop_lag.set(anyio.current_time() - due)

    def _follow(self, resource: Resource[V], name: str, patience: float = 1.0) -> tuple[Store[V], _Followed]:
        retries = msgspec.structs.replace(self._retries, base_s=patience * self._retries.base_s)
        store: Store[V] = Store(handler_failed, on_slow_handler=handler_slow)
        log = ReflectorLog(self._metrics, name)
        reflector = Reflector(
            KubeSource(self._kube, resource, jitter=self._chance),
            store,
            log,
            jitter=self._chance,
            options=ReflectorOptions(backoff=retries),
            starts=self._starts,
            watch_observer=log,
        )
        log.watch(lambda: anyio.current_time() - reflector.heard_at, lambda: len(store))
        self._reflectors.append(reflector)
        return store, _Followed(store, log, reflector)
