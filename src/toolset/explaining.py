"""Say of one Service, or of every Service in a file, what detection makes of it and why."""

import os
import random

import msgspec

from toolset.adapters.kube.source import KubeSource, services
from toolset.core.detection import detect
from toolset.core.findings import ALIVE, Findings
from toolset.core.verdict import Candidate, Rejected, Verdict
from toolset.errors import SettingsError
from toolset.manifests import Manifests
from toolset.model import Key, namespace_key
from toolset.planning import read_all, read_namespaces
from toolset.settings import Settings
from toolset.wiring import detection_options, transport


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
        url: Where it is reached.
        health_path: What is probed, below ``path``.
        to_prove: Whether the probe has to prove what answers there.
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
    health_path: str | None = None
    to_prove: bool = False


def explain_manifests(settings: Settings, manifests: Manifests) -> list[Explanation]:
    """Return what is made of every Service in ``manifests``, in the order of their names; nothing is probed."""
    findings, options = Findings(), detection_options(settings)
    for service in manifests.services:
        verdict = detect(service, options, manifests.namespaces.get(namespace_key(service.key.namespace)))
        findings.detected(service.key, verdict)
        if isinstance(verdict, Candidate):
            findings.probed(verdict, ALIVE)
    return [_flat(key, verdict) for key, verdict in findings.verdicts().items()]


async def explain_service(settings: Settings, key: Key) -> Explanation:
    """Return what is made of the Service ``key`` in the cluster; nothing is probed.

    Raises:
        SettingsError: There is no such Service.
        ToolsetError: The API server cannot be reached or refuses.
    """
    async with transport(settings, dict(os.environ)) as kube:
        prefix = settings.discovery.annotation_prefix
        found = await read_all(KubeSource(kube, services(key.namespace, prefix), jitter=random.random))
        spaces = await read_namespaces(kube, settings, key.namespace)
    whole = Manifests(tuple(found), {}, spaces)  # the whole namespace, because twins live side by side
    for explanation in explain_manifests(settings, whole):
        if explanation.name == key.name:
            return explanation
    raise SettingsError(f"there is no Service {key}; `kubectl get services -n {key.namespace}` lists what there is")


def _flat(key: Key, verdict: Verdict) -> Explanation:
    if isinstance(verdict, Rejected):
        return Explanation(
            namespace=key.namespace,
            name=key.name,
            reason=verdict.reason.word,
            detail=verdict.sentence,
            near=verdict.type or None,
        )
    return Explanation(
        namespace=key.namespace,
        name=key.name,
        type=verdict.type,
        product=verdict.product,
        evidence=verdict.evidence.value,
        scheme=verdict.scheme,
        port=verdict.port,
        path=verdict.path,
        url=verdict.url,
        health_path=verdict.check.path,
        to_prove=bool(verdict.check.identity),
    )
