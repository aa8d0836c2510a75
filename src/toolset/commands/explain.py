"""Say of one Service, or of every Service in a file, whether it is published, where, and why."""

import os
import random
from collections.abc import Mapping
from typing import Final

import msgspec

from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import KubeSource, config_map, services
from toolset.commands.manifests import Manifests
from toolset.commands.plan import detect_all, read_all, read_namespaces
from toolset.config.clients import transport
from toolset.config.options import target_key, target_options
from toolset.config.settings import Settings
from toolset.core.candidate import Candidate, Rejected
from toolset.core.inventory import ALIVE
from toolset.core.publishing.publication import Publication
from toolset.errors import ForbiddenError, SettingsError
from toolset.model import ConfigMap, Key
from toolset.reconciler.publishing import Publisher

IGNORED: Final = "what overrides.yaml says is ignored"


class Explanation(msgspec.Struct, frozen=True):
    """What is made of one Service, flat for programs; ``None`` where it does not apply.

    Attributes:
        namespace: Of the Service.
        name: Of the Service.
        type: The tool type; ``None`` when it is no candidate.
        product: What its detector recognises.
        reason: The word that says why it is no candidate.
        detail: The sentence that says so; empty for a candidate.
        near: The type it nearly was.
        evidence: The strongest evidence.
        scheme: In the URL.
        port: In the URL.
        path: In the URL.
        url: Where it is published.
        probed_url: Where it is probed: as it was discovered, whatever overrides say.
        health_path: What is probed, below ``probed_url``.
        to_prove: Whether the probe has to prove what answers there.
        overridden: The fields that ``overrides.yaml`` sets.
        overridden_at: Where it sets them.
    """

    namespace: str
    name: str
    type: str | None = None
    product: str | None = None
    reason: str | None = None
    detail: str = ""
    near: str | None = None
    evidence: str | None = None
    scheme: str | None = None
    port: int | None = None
    path: str | None = None
    url: str | None = None
    probed_url: str | None = None
    health_path: str | None = None
    to_prove: bool = False
    overridden: tuple[str, ...] = ()
    overridden_at: str | None = None


class Explained(msgspec.Struct, frozen=True):
    """What is made of some Services.

    Attributes:
        services: In the order of their names.
        notes: What keeps overrides from being in it, for people, a sentence each.
    """

    services: tuple[Explanation, ...]
    notes: tuple[str, ...] = ()


def explain_manifests(settings: Settings, manifests: Manifests) -> Explained:
    """Return what is made of every Service in ``manifests``, under the overrides there; nothing is probed.

    Raises:
        SettingsError: The settings themselves give a document that is not valid.
    """
    inventory, candidates = detect_all(settings, manifests)
    for candidate in candidates:
        inventory.probed(candidate, ALIVE)
    current = manifests.config_maps.get(target_key(settings))
    publication = Publisher.resume(target_options(settings), current).compose(inventory.tools(), current)
    tools = {tool.key: tool for tool in publication.tools}
    verdicts = {**inventory.verdicts(), **publication.rejected}
    explanations: list[Explanation] = []
    for key, verdict in verdicts.items():
        if isinstance(verdict, Rejected):
            explanations.append(_rejected(key, verdict))
        else:
            explanations.append(_published(settings, verdict, tools[key], publication))
    return Explained(tuple(explanations), (f"{IGNORED}: {publication.error}",) if publication.error else ())


async def explain_service(settings: Settings, key: Key) -> Explained:
    """Return what is made of the Service ``key`` in the cluster, under the overrides there; nothing is probed.

    Limits count what is in its namespace only.

    Raises:
        SettingsError: There is no such Service.
        ToolsetError: The API server cannot be reached or refuses.
    """
    notes: tuple[str, ...] = ()
    async with transport(settings, dict(os.environ)) as kube:
        prefix = settings.discovery.annotation_prefix
        found = await read_all(KubeSource(kube, services(key.namespace, prefix), jitter=random.random))
        spaces = await read_namespaces(kube, settings, key.namespace)
        current = await _read_target(kube, target_key(settings))
    if current is None:
        unread = f"you may not list ConfigMap {target_key(settings)}"
        notes = (f"{unread}, so this is what detection says, without overrides.yaml",)
    whole = Manifests(tuple(found), current or {}, spaces)  # the whole namespace, because twins live side by side
    explained = explain_manifests(settings, whole)
    for explanation in explained.services:
        if explanation.name == key.name:
            return Explained((explanation,), (*notes, *explained.notes))
    raise SettingsError(f"there is no Service {key}; `kubectl get services -n {key.namespace}` lists what there is")


async def _read_target(kube: KubeTransport, target: Key) -> Mapping[Key, ConfigMap] | None:
    """Return the ConfigMap where there is one; ``None`` where these credentials may not list it."""
    try:
        return {each.key: each for each in await read_all(KubeSource(kube, config_map(target), jitter=random.random))}
    except ForbiddenError:
        return None


def _rejected(key: Key, verdict: Rejected) -> Explanation:
    return Explanation(
        namespace=key.namespace,
        name=key.name,
        reason=verdict.reason.word,
        detail=verdict.sentence,
        near=verdict.type or None,
    )


def _published(settings: Settings, found: Candidate, tool: Candidate, publication: Publication) -> Explanation:
    """Return what is made of ``found``, which overrides turn into ``tool``."""
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
        to_prove=probes and bool(found.check.identity),
        overridden=overridden,
        overridden_at=publication.overrides.place("tools", str(key)) if overridden else None,
    )
