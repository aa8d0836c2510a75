"""What a pipeline is given to know: the stores, and where the one before it ended."""

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
    """What is known of the cluster.

    Attributes:
        services: The Services.
        config_maps: The ConfigMap.
        namespaces: The Namespaces; empty where they are not followed.
        overrides: The ConfigMap that ``output.overrides_from`` names; ``None`` when it names none.
        relist: Lists the ConfigMap again, without waiting for it.
    """

    services: MultiNamespaceStore[Service]
    config_maps: Store[ConfigMap]
    namespaces: Store[Namespace]
    overrides: Store[ConfigMap] | None = None
    relist: Callable[[], object] = lambda: None

    def source(self, settings: Settings) -> OverridesSource:
        """Return where the admin keeps the overrides."""
        options = target_options(settings)
        separate = self.overrides.get(options.separate) if self.overrides and options.separate else None
        return options.source(self.config_maps.get(options.target), separate)


class TargetStores:
    """The ConfigMap to write, and the one of the admin's own, as a reconciler reads them."""

    def __init__(self, stores: Stores) -> None:
        """Make it of the stores; only that of the ConfigMap to write is ever changed."""
        self._stores = stores

    def get(self, key: Key) -> ConfigMap | None:
        """Return one of the two ConfigMaps, or ``None``."""
        overrides = self._stores.overrides
        return self._stores.config_maps.get(key) or (overrides.get(key) if overrides else None)

    def overlay(self, stored: ConfigMap) -> None:
        """Lay the answer to an own write over the store."""
        self._stores.config_maps.overlay(stored)

    def relist(self) -> None:
        """Have the ConfigMap to write listed again: what is stored may be out of date."""
        self._stores.relist()


class Handover(msgspec.Struct, frozen=True):
    """Where a pipeline starts.

    Attributes:
        in_force: The overrides in force.
        published: The tools that are published.
    """

    in_force: InForce
    published: Published


def read_handover(settings: Settings, stores: Stores) -> Handover:
    """Return where the first pipeline of a leadership starts: with what the stored ConfigMap holds."""
    options = target_options(settings)
    current = stores.config_maps.get(target_key(settings))
    in_force = options.resumed(current)
    overrides = in_force.follow(stores.source(settings), options.output.policy)
    return Handover(in_force, read_back(current, owned_keys(current, options.prefix), overrides))


def approved_at(start: Handover, settings: Settings, stores: Stores) -> frozenset[Key]:
    """Return the Services that the admin has approved when a pipeline begins: none of them becomes pending by that."""
    return start.in_force.follow(stores.source(settings), target_options(settings).output.policy).approved
