"""The input of a pipeline: the stores, and the end state of the previous pipeline."""

from collections.abc import Callable

import msgspec

from toolset.config.options import target_key, target_options
from toolset.config.settings import Settings
from toolset.core.overrides.baseline import Published, read_back
from toolset.core.publishing.overrides_source import InForce, OverridesSource
from toolset.core.publishing.plan import owned_keys
from toolset.model import ConfigMap, Key, Namespace, Service
from toolset.runtime.multi_namespace_store import MultiNamespaceStore
from toolset.runtime.store import Store


class Stores(msgspec.Struct, frozen=True):
    """The stored cluster state.

    Attributes:
        services: The Services.
        config_maps: The ConfigMap.
        namespaces: The Namespaces; empty if they are not followed.
        overrides: The ConfigMap that ``output.overrides_from`` names; ``None`` if it is empty.
        relist: Lists the ConfigMap again, without waiting for it.
    """

    services: MultiNamespaceStore[Service]
    config_maps: Store[ConfigMap]
    namespaces: Store[Namespace]
    overrides: Store[ConfigMap] | None = None
    relist: Callable[[], object] = lambda: None

    def source(self, settings: Settings) -> OverridesSource:
        """Return the source of the overrides."""
        options = target_options(settings)
        separate = self.overrides.get(options.separate) if self.overrides and options.separate else None
        return options.source(self.config_maps.get(options.target), separate)


class TargetStores:
    """The target ConfigMap and the separate one for overrides, for reconcilers."""

    def __init__(self, stores: Stores) -> None:
        """Create it from the stores; only that of the target ConfigMap is ever changed."""
        self._stores = stores

    def get(self, key: Key) -> ConfigMap | None:
        """Return one of the two ConfigMaps, or ``None``."""
        overrides = self._stores.overrides
        return self._stores.config_maps.get(key) or (overrides.get(key) if overrides else None)

    def overlay(self, stored: ConfigMap) -> None:
        """Overlay the response to a write of this process on the store."""
        self._stores.config_maps.overlay(stored)

    def relist(self) -> None:
        """Request a list of the target ConfigMap: the stored one may be out of date."""
        self._stores.relist()


class Handover(msgspec.Struct, frozen=True):
    """The start state of a pipeline.

    Attributes:
        in_force: The overrides in force.
        published: The tools that are published.
    """

    in_force: InForce
    published: Published


def read_handover(settings: Settings, stores: Stores) -> Handover:
    """Return the start state of the first pipeline of a leadership, from the stored ConfigMap."""
    options = target_options(settings)
    current = stores.config_maps.get(target_key(settings))
    in_force = options.resumed(current)
    overrides = in_force.follow(stores.source(settings), options.output.policy)
    return Handover(in_force, read_back(current, owned_keys(current, options.prefix), overrides))


def approved_at(start: Handover, settings: Settings, stores: Stores) -> frozenset[Key]:
    """Return the Services that the admin has approved when a pipeline starts, so that none becomes pending."""
    return start.in_force.follow(stores.source(settings), target_options(settings).output.policy).approved
