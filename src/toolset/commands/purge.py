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
from toolset.core.publishing.writer_conflict import installed_by
from toolset.errors import SettingsError
from toolset.model import ConfigMap


async def purge_cluster(settings: Settings, *, dry_run: bool) -> Purge | None:
    """Remove everything this service owns from the ConfigMap; return it, or ``None`` if there was nothing.

    Args:
        settings: The ConfigMap, and whether keys of a predecessor are removed too.
        dry_run: Return what would be removed, and write nothing.

    Raises:
        ToolsetError: The API server cannot be reached or refuses, or the ConfigMap changed in the meantime, or names
            another installation than the settings.
    """
    target = target_key(settings)
    async with session(settings) as kube:
        found = await read_all(KubeSource(kube, config_map(target), jitter=random.random))
        current = found[0] if found else None
        managers = settings.output.legacy_managers
        legacy = legacy_keys(current, managers) if settings.output.legacy_keys == "remove" else frozenset[str]()
        going = purge(current, settings.discovery.annotation_prefix, legacy)
        if going is not None and not dry_run:
            _check_instance(settings, current)
            await KubeApplier(kube, FIELD_MANAGER).merge(target, going.body)
    return going


def _check_instance(settings: Settings, current: ConfigMap | None) -> None:
    """Make sure that the settings are those of the installation that owns ``current``.

    Raises:
        SettingsError: They are not; another installation would restore everything, or lose its keys.
    """
    own, prefix = settings.output.instance, settings.discovery.annotation_prefix
    if other := installed_by(current, prefix, own):
        this = f"`output.instance` is {own!r}" if own else "the settings have no `output.instance`"
        raise SettingsError(
            f"ConfigMap {target_key(settings)} is kept by the installation {other[:128]!r}, and {this}: nothing is "
            f"removed. To purge that installation, set TOOLSET_OUTPUT__INSTANCE={other[:128]}"
        )
