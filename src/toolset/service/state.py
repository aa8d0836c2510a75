"""What a term of work is given to know."""

import msgspec

from toolset.core.overrides.baseline import Published
from toolset.core.overrides.overrides import Overrides
from toolset.model import ConfigMap, Namespace, Service
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
    """What a term hands to the next one under the same leadership.

    Attributes:
        overrides: Those in force.
        published: The tools that are published; ``None`` before the first write has succeeded.
    """

    overrides: Overrides | None
    published: Published | None
