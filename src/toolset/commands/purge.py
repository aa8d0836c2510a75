"""`toolset purge`: remove from the ConfigMap what the service wrote, and nothing else."""

import os
import random

import anyio

from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import KubeSource, config_map
from toolset.adapters.kube.write.applier import KubeApplier
from toolset.adapters.kube.write.leases import KubeLeases
from toolset.commands.plan import read_all
from toolset.commands.session import session
from toolset.config.clients import transport
from toolset.config.options import lease_key, target_key
from toolset.config.settings import Settings
from toolset.core.publishing.plan import FIELD_MANAGER, legacy_keys
from toolset.core.publishing.purge import Purge, purge
from toolset.core.publishing.writer_conflict import installed_by
from toolset.errors import ForbiddenError, SettingsError
from toolset.model import ConfigMap


async def preview(settings: Settings) -> Purge | None:
    """Return everything this service owns in the ConfigMap; ``None`` if there is nothing.

    Args:
        settings: The ConfigMap, and whether keys of a predecessor are removed too.

    Raises:
        ToolsetError: The API server cannot be reached or refuses.
    """
    async with session(settings) as kube:
        _, going = await _owned(kube, settings)
    return going


async def check_unused(settings: Settings, *, force: bool) -> None:
    """Make sure that a purge lasts, and that the settings are those of the installation that owns the ConfigMap.

    Args:
        settings: The installation.
        force: Whether a service may be running.

    Raises:
        SettingsError: They are not, or a running service would write everything again.
        ToolsetError: The API server cannot be reached or refuses.
    """
    async with transport(settings, dict(os.environ)) as kube:
        current, _ = await _owned(kube, settings)
        _check_instance(settings, current)
        holder = "" if force else await _leader(kube, settings)
    if holder:
        raise SettingsError(
            f"nothing is removed: the service is running, and would write it again ({holder} renews Lease "
            f"{lease_key(settings)}); stop it first, or add --force"
        )


async def purge_cluster(settings: Settings) -> Purge | None:
    """Remove everything this service owns from the ConfigMap; return it, or ``None`` if there was nothing.

    Raises:
        ToolsetError: The API server cannot be reached or refuses, or the ConfigMap changed in the meantime.
    """
    async with transport(settings, dict(os.environ)) as kube:
        _, going = await _owned(kube, settings)
        if going is not None:
            await KubeApplier(kube, FIELD_MANAGER).merge(target_key(settings), going.body)
    return going


async def _owned(kube: KubeTransport, settings: Settings) -> tuple[ConfigMap | None, Purge | None]:
    found = await read_all(KubeSource(kube, config_map(target_key(settings)), jitter=random.random))
    current = found[0] if found else None
    managers = settings.output.legacy_managers
    legacy = legacy_keys(current, managers) if settings.output.legacy_keys == "remove" else frozenset[str]()
    return current, purge(current, settings.discovery.annotation_prefix, legacy)


async def _leader(kube: KubeTransport, settings: Settings) -> str:
    """Return who renews the Lease; empty if nobody does, or the Lease cannot be seen. No clock is trusted."""
    leases = KubeLeases(kube, lease_key(settings))
    try:
        before = await leases.read()
        if before is None or not before.holder:
            return ""
        await anyio.sleep(2 * settings.election.retry_period)
        after = await leases.read()
    except ForbiddenError:
        return ""
    return before.holder if after is not None and after.version != before.version else ""


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
