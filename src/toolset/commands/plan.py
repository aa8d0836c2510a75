"""`toolset plan`: what would be published, and why, for a cluster or manifests; writes nothing."""

import difflib
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

import anyio
import msgspec

from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import KubeSource, config_map, namespaces, services
from toolset.commands.manifests import Manifests
from toolset.commands.session import session
from toolset.config.clients import is_in_cluster, prober
from toolset.config.options import detection_options, reduction, static_tools, target_key, target_options
from toolset.config.settings import Settings
from toolset.core.candidate import Candidate, Verdict
from toolset.core.detection.detect import detect, detect_further
from toolset.core.health.options import HealthOptions
from toolset.core.health.search import to_request
from toolset.core.health.thresholds import Health, Outcome
from toolset.core.inventory import ALIVE, Inventory
from toolset.core.overrides.baseline import read_back
from toolset.core.overrides.unmatched import unmatched
from toolset.core.publishing.plan import INSTANCE, Apply, Desired, manifest, owned_keys
from toolset.core.status.texts import counted
from toolset.errors import ForbiddenError
from toolset.model import ConfigMap, Key, Namespace, Service, namespace_key
from toolset.reconciler.publishing import Publisher, TargetOptions
from toolset.runtime.listwatch import PAGE_SIZE, ListerWatcher
from toolset.runtime.store import Stored

_ONE_PROBE: Final = HealthOptions(rise=1, fall=1)
V = TypeVar("V", bound=Stored)


class Report(msgspec.Struct, frozen=True):
    """The plan.

    Attributes:
        target: The ConfigMap.
        candidates: Every candidate at the variant that answered, ordered by key.
        verdicts: The verdict on every Service.
        change: The change to write; ``None`` if there is none.
        manifest: The ConfigMap to apply, as JSON, without ``resourceVersion`` and ``uid``.
        diff: The unified diff of the current data and the planned data.
        overridden: For each tool, the fields that ``overrides.yaml`` sets.
        overrides_error: The error in ``overrides.yaml``; empty if it is valid.
        blocked: Keys of documents that are not written, because ``binaryData`` holds them.
        overrides_dropped: Why patches in it are not applied, one each.
        overrides_moved: Where it is missing or in the wrong place, one sentence each.
        overrides_unmatched: Which Services it names that do not exist, one sentence each.
        withheld: Why the service writes nothing, because it has never been there; empty if it writes.
        unreachable: What to do because no backend is healthy as seen from here, so that nothing is planned; else empty.
        notes: For a published tool, what else to know about it.
        health_enabled: Whether the settings enable probes; otherwise each candidate counts as healthy.
        healths: What the probe found, by candidate.
    """

    target: Key
    candidates: tuple[Candidate, ...]
    verdicts: dict[Key, Verdict]
    change: Apply | None
    manifest: bytes
    diff: tuple[str, ...]
    overridden: Mapping[Key, tuple[str, ...]] = {}
    overrides_error: str = ""
    blocked: tuple[str, ...] = ()
    overrides_dropped: tuple[str, ...] = ()
    overrides_moved: tuple[str, ...] = ()
    overrides_unmatched: tuple[str, ...] = ()
    withheld: str = ""
    unreachable: str = ""
    notes: Mapping[Key, str] = {}
    health_enabled: bool = True
    healths: Mapping[Key, Health] = {}


async def plan_cluster(settings: Settings, *, assume_healthy: bool) -> Report:
    """Return the plan for the cluster.

    Raises:
        ToolsetError: The API server cannot be reached or refuses.
    """
    async with session(settings) as kube:
        reduced = reduction(settings)
        found: list[Service] = []
        for namespace in settings.discovery.watch_namespaces or ("",):
            found += await read_all(KubeSource(kube, services(namespace, reduced), jitter=random.random))
        spaces = await read_namespaces(kube, settings)
        current: list[ConfigMap] = []
        for key in config_maps(settings):
            current += await read_all(KubeSource(kube, config_map(key), jitter=random.random))
    cluster = Manifests(tuple(found), {each.key: each for each in current}, spaces)
    return await plan_manifests(settings, cluster, assume_healthy=assume_healthy)


async def plan_manifests(settings: Settings, manifests: Manifests, *, assume_healthy: bool) -> Report:
    """Return the plan for a cluster with the objects in ``manifests``."""
    current = manifests.config_maps.get(target_key(settings))
    inventory, candidates = detect_all(settings, manifests)
    unreachable = ""
    if assume_healthy or not settings.health.enabled:
        for candidate in candidates:
            inventory.probed(candidate, ALIVE)
    else:
        outcomes = await probe_all(settings, inventory, candidates)
        unreachable = "" if is_in_cluster(settings, dict(os.environ)) else _unreachable(outcomes)
    target = target_key(settings)
    options = _as_kept(target_options(settings), current)
    publisher = Publisher.resume(options, current)
    publication = publisher.compose(inventory.tools(), current, separate_overrides(options, manifests))
    wanted = publisher.wanted(publication)
    decision = publisher.plan(target, wanted, current)
    change = decision if isinstance(decision, Apply) and not publication.withheld and not unreachable else None
    return Report(
        target=target,
        candidates=tuple(filter(None, (inventory.tool(key) for key in sorted(each.key for each in candidates)))),
        healths={candidate.key: inventory.health(candidate.key) for candidate in candidates},
        verdicts={**inventory.verdicts(), **publication.rejected},
        change=change,
        manifest=manifest(target, wanted, None, fenced=False),
        diff=_diff(current, wanted, change),
        overridden=publication.overridden,
        overrides_error=str(publication.error or ""),
        blocked=publication.blocked,
        overrides_dropped=tuple(map(str, publication.dropped)),
        overrides_moved=tuple(filter(None, (publication.lost, publication.ignored))),
        overrides_unmatched=unmatched(publication.overrides, inventory.verdicts().keys()),
        withheld=publication.withheld,
        unreachable=unreachable,
        notes=publication.notes,
        health_enabled=settings.health.enabled,
    )


def detect_all(settings: Settings, manifests: Manifests) -> tuple[Inventory, list[Candidate]]:
    """Return the inventory after detection of every Service in ``manifests``, and the candidates, static ones too.

    One probe decides the health of a candidate. As after a restart, what is published is requested first.
    """
    publishing, current = target_options(settings), manifests.config_maps.get(target_key(settings))
    source = publishing.source(current, separate_overrides(publishing, manifests))
    overrides = publishing.resumed(current).follow(source, publishing.output.policy)
    published = read_back(current, owned_keys(current, publishing.prefix), overrides)
    inventory = Inventory(_ONE_PROBE, overrides.approved)
    options, reduced = detection_options(settings), reduction(settings)
    candidates: list[Candidate] = []
    for service in manifests.services:
        namespace = manifests.namespaces.get(namespace_key(service.key.namespace))
        approved_here = inventory.is_approved(service.key)
        verdict = detect(reduced.reduce(service), options, namespace, approved=approved_here)
        inventory.detected(service.key, verdict, published)
        if isinstance(verdict, Candidate):
            further = detect_further(reduced.reduce(service), verdict, options)
            for each in further:
                inventory.detected(each.key, each)
            candidates += [verdict, *further]
    for key, candidate in static_tools(settings).items():
        inventory.detected(key, candidate)
        candidates.append(candidate)
    return inventory, candidates


def config_maps(settings: Settings) -> tuple[Key, ...]:
    """Return the ConfigMap to write, and the one that ``output.overrides_from`` names."""
    separate = target_options(settings).separate
    return (target_key(settings), *([separate] if separate else []))


def separate_overrides(options: TargetOptions, manifests: Manifests) -> ConfigMap | None:
    """Return the ConfigMap that ``output.overrides_from`` names, if it exists."""
    return manifests.config_maps.get(options.separate) if options.separate else None


def _as_kept(options: TargetOptions, current: ConfigMap | None) -> TargetOptions:
    """Return ``options`` with the instance name that ``current`` records: only pods know their default name."""
    if options.output.instance or current is None:
        return options
    keeper = current.annotations.get(f"{options.prefix}/{INSTANCE}", "")
    return msgspec.structs.replace(options, output=msgspec.structs.replace(options.output, instance=keeper))


async def probe_all(settings: Settings, inventory: Inventory, candidates: Iterable[Candidate]) -> list[Outcome]:
    """Probe ``candidates`` once, concurrently; return the outcomes as they arrived."""
    outcomes: list[Outcome] = []
    async with prober(settings) as health_prober, anyio.create_task_group() as group:

        async def probe(candidate: Candidate) -> None:
            asked = to_request(candidate, inventory.health(candidate.key), _ONE_PROBE)
            outcomes.append(await health_prober.probe(asked))
            inventory.probed(candidate, outcomes[-1])

        for candidate in candidates:
            group.start_soon(probe, candidate)
    return outcomes


def _unreachable(outcomes: Sequence[Outcome]) -> str:
    """Return what to do if not one backend is healthy, which says more about this machine than about them.

    It may reach none, or a proxy that answers for any host.
    """
    if not outcomes or any(outcome.alive for outcome in outcomes):
        return ""
    return (
        f"0 of {counted(len(outcomes), 'backend')} healthy as seen from this machine, so there is no plan: run "
        "`toolset plan` in the cluster (`kubectl exec` in a pod of the service), or plan without probes, with "
        "--assume-healthy"
    )


async def read_namespaces(kube: KubeTransport, settings: Settings, name: str = "") -> Mapping[Key, Namespace]:
    """Return all Namespaces, or the one called ``name``, as the service would see them.

    Empty if the settings restrict the watched namespaces, or if these credentials may not list Namespaces.

    Raises:
        ToolsetError: The API server cannot be reached.
    """
    if settings.discovery.watch_namespaces:
        return {}
    try:
        found = await read_all(
            KubeSource(kube, namespaces(settings.discovery.annotation_prefix, name), jitter=random.random)
        )
    except ForbiddenError:
        return {}
    return {each.key: each for each in found}


async def read_all(source: ListerWatcher[V]) -> list[V]:
    """Return all objects of ``source``, with a consistent read.

    Raises:
        ToolsetError: The API server cannot be reached or refuses.
    """
    items: list[V] = []
    token = ""
    while True:
        page = await source.list(version="", token=token, limit=PAGE_SIZE, heard=lambda: None)
        items.extend(page.items)
        token = page.next_token
        if not token:
            return items


def _diff(current: ConfigMap | None, wanted: Desired, change: Apply | None) -> tuple[str, ...]:
    if change is None:
        return ()
    before = current.entries if current else {}
    lines: list[str] = []
    for key in sorted({*change.written, *change.removed}):
        lines += difflib.unified_diff(
            before.get(key, "").splitlines(),
            wanted.data.get(key, "").splitlines(),
            f"live/{key}" if key in before else "/dev/null",
            f"planned/{key}" if key in wanted.data else "/dev/null",
            lineterm="",
        )
    return tuple(lines)
