"""`toolset check-config`: list the Services in manifests that each detector of the settings matches."""

from collections.abc import Iterable

import msgspec

from toolset.config.options import detection_options, reduction
from toolset.config.settings import Settings
from toolset.core.candidate import Candidate
from toolset.core.detection.detect import detect
from toolset.model import Service


class Match(msgspec.Struct, frozen=True):
    """The Services that one detector matches.

    Attributes:
        product: The product of the detector.
        type: Its tool type.
        own: Whether the settings define it.
        services: ``namespace/name`` of each Service that it matches first, in order.
    """

    product: str
    type: str
    own: bool
    services: tuple[str, ...]


def matches(settings: Settings, services: Iterable[Service]) -> list[Match]:
    """Return the Services that each effective detector matches first; detectors of the settings come first."""
    options, reduced = detection_options(settings), reduction(settings)
    won: dict[str, list[str]] = {detector.product: [] for detector in options.detectors}
    for service in services:
        verdict = detect(reduced.reduce(service), options)
        if isinstance(verdict, Candidate):
            won.setdefault(verdict.product, []).append(str(service.key))
    own = {detector.product for detector in settings.discovery.detectors}
    types = {detector.product: detector.type for detector in options.detectors}
    return [
        Match(product, types.get(product, product), product in own, tuple(sorted(found)))
        for product, found in won.items()
    ]
