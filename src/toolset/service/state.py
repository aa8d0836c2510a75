"""What a pipeline is given to know: the stores, and where the one before it ended."""

import msgspec

from toolset.config.options import target_key, target_options
from toolset.config.settings import Settings
from toolset.core.overrides.baseline import Published, read_back
from toolset.core.overrides.overrides import Overrides, follow
from toolset.core.publishing.plan import OVERRIDES_KEY, owned_keys
from toolset.core.publishing.publication import in_force, resume
from toolset.model import ConfigMap, Key, Namespace, Service
from toolset.runtime.multi_namespace_store import MultiNamespaceStore
from toolset.runtime.store import Store


class Stores(msgspec.Struct, frozen=True):
    """What is known of the cluster.

    Attributes:
        services: The Services.
        config_maps: The ConfigMap.
        namespaces: The Namespaces; empty where they are not followed.
    """

    services: MultiNamespaceStore[Service]
    config_maps: Store[ConfigMap]
    namespaces: Store[Namespace]


class Handover(msgspec.Struct, frozen=True):
    """Where a pipeline starts.

    Attributes:
        overrides: The overrides in force.
        published: The tools that are published.
    """

    overrides: Overrides
    published: Published


def read_handover(settings: Settings, stores: Stores) -> Handover:
    """Return where the first pipeline of a leadership starts: with what the stored ConfigMap holds."""
    options = target_options(settings)
    current = stores.config_maps.get(target_key(settings))
    return Handover(
        resume(current.annotations if current else {}, options.prefix, options.output),
        read_back(current, owned_keys(current, options.prefix), in_force(current, options.prefix, options.output)),
    )


def approved_at(start: Handover, settings: Settings, stores: Stores) -> frozenset[Key]:
    """Return the Services that the admin has approved when a pipeline begins: none of them becomes pending by that."""
    current = stores.config_maps.get(target_key(settings))
    text = current.entries.get(OVERRIDES_KEY) if current else None
    return follow(start.overrides, text, settings.output.policy)[0].approved
