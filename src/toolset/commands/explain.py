"""`toolset explain`: whether one Service, or every Service in a file, is published, where, and why."""

import random
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Final

import msgspec

from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import KubeSource, config_map, services
from toolset.commands.manifests import Manifests
from toolset.commands.plan import config_maps, detect_all, probe_all, read_all, read_namespaces, separate_overrides
from toolset.commands.session import session
from toolset.commands.status import service_now
from toolset.config.options import detection_options, reduction, target_key, target_options
from toolset.config.settings import Settings
from toolset.core.candidate import Candidate, Rejected, Variant, Verdict
from toolset.core.detection.quote import quote
from toolset.core.health.thresholds import Health
from toolset.core.inventory import ALIVE, Inventory
from toolset.core.publishing.publication import Publication
from toolset.core.status.texts import now
from toolset.errors import ForbiddenError, SettingsError
from toolset.model import ConfigMap, Key, Namespace, Service
from toolset.reconciler.publishing import Publisher

IGNORED: Final = "what overrides.yaml says is ignored"
REACH_S: Final = 3.0
"""Time limit for the running service to answer, seconds; without it the explanation is the result of detection."""
DROPPED: Final = "a patch in overrides.yaml is ignored"


class Explanation(msgspec.Struct, frozen=True):
    """The explanation of one Service, flat for JSON; ``None`` where it does not apply.

    Attributes:
        namespace: The namespace of the Service; empty for a static backend.
        name: The name of the Service or the static backend.
        type: The tool type; ``None`` if it is not a candidate.
        product: The product of its detector.
        reason: Why it is not a candidate, as a :class:`Reason` word.
        detail: The same as a sentence; empty for a candidate.
        near: The type that it nearly matched.
        evidence: The strongest evidence.
        matched: The part of the Service that is the evidence, such as ``label app=loki``; ``None`` if not a single one.
        scheme: Of the URL.
        port: Of the URL.
        path: Of the URL.
        url: The published URL.
        probed_url: The probed URL: as discovered, regardless of overrides.
        health_path: The probed path, below ``probed_url``.
        to_prove: Whether the probe also verifies the identity of the backend.
        variants: The likely ways to reach it, in the order in which the probe requests them.
        fallbacks: Further ones, which the probe requests only when an answer leads to them.
        chosen: The variant that answered this probe, or that is published; ``None`` if there is none.
        requests: How many variants the probe requested; ``None`` if nothing was probed.
        how: Which variant answered after what the others did; empty if the first one did.
        overridden: The fields that ``overrides.yaml`` sets.
        overridden_at: Where it sets them.
        note: An additional note.
        now: Its status in the running service; ``None`` if that was not reached.
    """

    namespace: str
    name: str
    type: str | None = None
    product: str | None = None
    reason: str | None = None
    detail: str = ""
    near: str | None = None
    evidence: str | None = None
    matched: str | None = None
    scheme: str | None = None
    port: int | None = None
    path: str | None = None
    url: str | None = None
    probed_url: str | None = None
    health_path: str | None = None
    to_prove: bool = False
    variants: tuple[Variant, ...] = ()
    fallbacks: tuple[Variant, ...] = ()
    chosen: Variant | None = None
    requests: int | None = None
    how: str = ""
    overridden: tuple[str, ...] = ()
    overridden_at: str | None = None
    note: str | None = None
    now: str | None = None


class Explained(msgspec.Struct, frozen=True):
    """The explanations of some Services.

    Attributes:
        services: Ordered by key.
        notes: Why overrides are not included, and which labels are ignored, one sentence each.
    """

    services: tuple[Explanation, ...]
    notes: tuple[str, ...] = ()


def explain_manifests(settings: Settings, manifests: Manifests) -> Explained:
    """Explain every Service in ``manifests``, with the overrides there; nothing is probed.

    Raises:
        SettingsError: The settings alone produce an invalid document.
    """
    inventory, candidates = detect_all(settings, manifests)
    return _explained(settings, manifests, inventory, candidates)


async def explain_all(settings: Settings, manifests: Manifests, name: str = "", *, probe: bool) -> Explained:
    """Explain every Service in ``manifests``, with the overrides there.

    Args:
        settings: The settings.
        manifests: The Services.
        name: Of the only Service to probe; empty for all.
        probe: Whether candidates are probed once.

    Raises:
        SettingsError: The settings alone produce an invalid document.
    """
    inventory, candidates = detect_all(settings, manifests)
    probes = probe and settings.health.enabled
    probed = [each for each in candidates if probes and name in {"", each.key.name}]
    if probed:
        await probe_all(settings, inventory, probed)
    keys = {candidate.key for candidate in probed}
    return _explained(settings, manifests, inventory, [each for each in candidates if each.key not in keys])


def _explained(
    settings: Settings, manifests: Manifests, inventory: Inventory, unprobed: Iterable[Candidate]
) -> Explained:
    published = {key: inventory.health(key).variant for key in (candidate.key for candidate in unprobed)}
    for key in published:
        if (candidate := inventory.candidate(key)) is not None:
            inventory.probed(candidate, ALIVE)
    current = manifests.config_maps.get(target_key(settings))
    options = target_options(settings)
    separate = separate_overrides(options, manifests)
    publication = Publisher.resume(options, current).compose(inventory.tools(), current, separate)
    tools = {tool.key: tool for tool in publication.tools}
    verdicts = {**inventory.verdicts(), **publication.rejected}
    quotes = _quotes(settings, manifests, verdicts.values())
    explanations: list[Explanation] = []
    for key, verdict in verdicts.items():
        if isinstance(verdict, Rejected):
            explained = _rejected(key, verdict)
        else:
            explained = _published(settings, verdict, tools[key], publication)
            explained = msgspec.structs.replace(explained, matched=quotes.get(key))
        candidate = inventory.candidate(key)
        if note := "; ".join(filter(None, (explained.note, (candidate or verdict).unread))):
            explained = msgspec.structs.replace(explained, note=note)
        if candidate is not None:
            explained = _with_variants(explained, candidate, inventory.health(key))
            if key in published:
                explained = msgspec.structs.replace(explained, chosen=published[key], requests=None, how="")
        explanations.append(explained)
    notes = [*filter(None, (publication.withheld, publication.lost, publication.ignored))]
    notes += [f"{IGNORED}: {publication.error}"] if publication.error and not publication.withheld else []
    notes += [f"{DROPPED}: {problem}" for problem in publication.dropped]
    trust = detection_options(settings).trust
    notes += filter(None, map(trust.problem, manifests.namespaces.values()))
    return Explained(tuple(explanations), tuple(notes))


def _quotes(settings: Settings, manifests: Manifests, verdicts: Iterable[Verdict]) -> dict[Key, str]:
    """Return the part of each recognised Service that is the evidence, where it is in the Service."""
    services = {each.key: each for each in manifests.services}
    options = detection_options(settings)
    detectors = {each.product: each for each in (*options.opt_in, *options.detectors)}
    found: dict[Key, str] = {}
    for verdict in verdicts:
        if isinstance(verdict, Candidate) and verdict.product in detectors:
            service = services.get(Key(verdict.key.namespace, verdict.key.name))
            quoted = quote(service, detectors[verdict.product], verdict.evidence) if service is not None else ""
            found |= {verdict.key: quoted} if quoted else {}
    return found


def _with_variants(explanation: Explanation, candidate: Candidate, health: Health) -> Explanation:
    return msgspec.structs.replace(
        explanation,
        variants=candidate.variants,
        fallbacks=candidate.fallbacks,
        chosen=health.variant if health.up else None,
        requests=health.requests,
        how=health.how,
    )


async def explain_service(settings: Settings, key: Key, *, probe: bool = False) -> Explained:
    """Explain the Service or static backend ``key``, with its overrides; it is probed if ``probe`` is set.

    Limits are applied to the Services of its namespace only.

    Raises:
        SettingsError: There is none.
        ToolsetError: The API server cannot be reached or refuses.
    """
    notes: tuple[str, ...] = ()
    found: list[Service] = []
    spaces: Mapping[Key, Namespace] = {}
    async with session(settings) as kube:
        if key.namespace:
            source = KubeSource(kube, services(key.namespace, reduction(settings)), jitter=random.random)
            found, spaces = await read_all(source), await read_namespaces(kube, settings, key.namespace)
        current = {each: await _read(kube, each) for each in config_maps(settings)}
        running = await service_now(kube, settings, key, REACH_S)
    readable = {each.key: each for read in current.values() for each in read or ()}
    if unread := [key for key, read in current.items() if read is None]:
        names = " and ".join(map(str, unread))
        notes = (f"you may not list ConfigMap {names}, so this is what detection says, without overrides.yaml",)
        settings, readable = _without_overrides(settings), {}
    whole = Manifests(tuple(found), readable, spaces)  # the whole namespace, for duplicates
    explained = await explain_all(settings, whole, key.name, probe=probe)
    for explanation in explained.services:
        if (explanation.namespace, explanation.name) == (key.namespace, key.name):
            said = now(running, datetime.now(timezone.utc)) if running is not None else None
            return Explained((msgspec.structs.replace(explanation, now=said),), (*notes, *explained.notes))
    if not key.namespace:
        raise SettingsError(f"the settings list no static backend {key}; write a Service as NAMESPACE/NAME")
    raise SettingsError(f"there is no Service {key}; `kubectl get services -n {key.namespace}` lists what there is")


async def _read(kube: KubeTransport, key: Key) -> list[ConfigMap] | None:
    """Return the ConfigMap ``key``, if it exists; ``None`` if these credentials may not list it."""
    try:
        return await read_all(KubeSource(kube, config_map(key), jitter=random.random))
    except ForbiddenError:
        return None


def _without_overrides(settings: Settings) -> Settings:
    output = msgspec.structs.replace(settings.output, overrides_from="")
    return msgspec.structs.replace(settings, output=output)


def _rejected(key: Key, verdict: Rejected) -> Explanation:
    return Explanation(
        namespace=key.namespace,
        name=key.name,
        reason=verdict.reason.word,
        detail=verdict.sentence,
        near=verdict.type or None,
    )


def _published(settings: Settings, found: Candidate, tool: Candidate, publication: Publication) -> Explanation:
    """Explain the candidate ``found``, published as ``tool`` after overrides."""
    key, probes = found.key, settings.health.enabled
    overridden = publication.overridden.get(key, ())
    return Explanation(
        namespace=key.namespace,
        name=key.name,
        type=tool.type,
        product=found.product,
        evidence=found.evidence.value,
        scheme=tool.scheme,
        port=tool.port,
        path=tool.path,
        url=tool.url,
        probed_url=found.url if probes else None,
        health_path=found.check.path if probes else None,
        to_prove=probes and found.check.proves,
        overridden=overridden,
        overridden_at=publication.overrides.place("tools", str(key)) if overridden else None,
        note=publication.notes.get(key),
    )
