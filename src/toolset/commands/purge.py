"""`toolset purge`: remove from the ConfigMap what the service wrote, and nothing else."""

import random

from toolset.adapters.kube.watch.source import KubeSource, config_map
from toolset.adapters.kube.write.applier import KubeApplier
from toolset.commands.plan import read_all
from toolset.commands.session import session
from toolset.config.options import target_key
from toolset.config.settings import Settings
from toolset.core.publishing.plan import FIELD_MANAGER, legacy_keys
from toolset.core.publishing.purge import Purge, purge


async def purge_cluster(settings: Settings, *, dry_run: bool) -> Purge | None:
    """Remove everything this service owns from the ConfigMap; return it, or ``None`` if there was nothing.

    Args:
        settings: Name the ConfigMap, and whether keys of a predecessor are removed too.
        dry_run: Return what would be removed, and write nothing.

    Raises:
        ToolsetError: The API server cannot be reached or refuses, or the ConfigMap was changed in the meantime.
    """
    target = target_key(settings)
    async with session(settings) as kube:
        found = await read_all(KubeSource(kube, config_map(target), jitter=random.random))
        current = found[0] if found else None
        managers = settings.output.legacy_managers
        legacy = legacy_keys(current, managers) if settings.output.legacy_keys == "remove" else frozenset[str]()
        going = purge(current, settings.discovery.annotation_prefix, legacy)
        if going is not None and not dry_run:
            await KubeApplier(kube, FIELD_MANAGER).merge(target, going.body)
    return going
