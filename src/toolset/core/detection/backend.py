"""Determine the backend of a Service: its pods, and the installation they belong to."""

import re
from collections.abc import Mapping
from typing import Final

from toolset.core.candidate import UNKNOWN_BACKEND, Backend
from toolset.core.detection.detector import Detector
from toolset.core.detection.identity import LABEL_KEYS, separated
from toolset.model import Service, ServicePort

_PART_KEYS: Final = LABEL_KEYS | {"role"}
"""Labels that may name a part of an installation."""
_POD_NAME: Final = "statefulset.kubernetes.io/pod-name"
_POD_INDEX: Final = "apps.kubernetes.io/pod-index"
"""Labels that a StatefulSet adds to each of its pods."""
_ORDINAL: Final = re.compile(r"-[0-9]+\Z")
_GOVERNING: Final = "operated"
"""The Prometheus operator's names for the Services of its StatefulSets: ``prometheus-operated``, label
``operated-prometheus``. One spans all instances in its namespace."""


def backend(service: Service, port: ServicePort, detector: Detector) -> Backend:
    """Return the backend behind ``port`` of ``service``, a product of ``detector``."""
    selector = service.spec.selector
    if not selector or service.spec.type == "ExternalName":
        return UNKNOWN_BACKEND  # its pods are unknown
    installation, part = _installation(selector, detector)
    return Backend(
        selector=frozenset(_without_replica(selector).items()),
        port=port.port if port.target_port is None else port.target_port,
        installation=installation,
        part=part,
        governing=_is_governing(service),
    )


def _without_replica(selector: Mapping[str, str]) -> Mapping[str, str]:
    """Return ``selector`` with the StatefulSet in place of a single pod: its replicas are equivalent."""
    if _POD_NAME not in selector and _POD_INDEX not in selector:
        return selector
    whole = {key: value for key, value in selector.items() if key != _POD_INDEX}
    if _POD_NAME in whole:
        whole[_POD_NAME] = _ORDINAL.sub("", whole[_POD_NAME])
    return whole


def _installation(selector: Mapping[str, str], detector: Detector) -> tuple[str, int]:
    """Return what the Services of one installation have in common, and the rank of the part; empty if none is named.

    Either a label of an operator names the installation, or the selectors differ only in the name of a part.
    """
    for key in detector.installation_keys:
        if key in selector:
            return f"{key}={selector[key]}", 0
    if not detector.parts:
        return "", 0
    whole: list[str] = []
    part = len(detector.parts)
    for key, value in sorted(selector.items()):
        rest, rank = (_without_part(value, detector.parts)) if key in _PART_KEYS else (value, part)
        part = min(part, rank)
        if rest:
            whole.append(f"{key}={rest}")
    return (",".join(whole), part) if part < len(detector.parts) else ("", 0)


def _without_part(value: str, parts: tuple[str, ...]) -> tuple[str, int]:
    """Return ``value`` without trailing parts, and the best rank of these; the number of ``parts`` if none."""
    rest, best = "-".join(separated(value)), len(parts)
    while True:
        ranks = [rank for rank, part in enumerate(parts) if rest == part or rest.endswith(f"-{part}")]
        if not ranks:
            return (rest, best) if best < len(parts) else (value, best)
        rank = max(ranks, key=lambda rank: len(parts[rank]))
        rest, best = rest[: -len(parts[rank])].removesuffix("-"), min(best, rank)


def _is_governing(service: Service) -> bool:
    if separated(service.metadata.name)[-1] == _GOVERNING:
        return True
    return any(separated(key)[0] == _GOVERNING for key in service.labels)
