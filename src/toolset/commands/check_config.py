"""Say what each detector of some settings matches among the Services of some manifests."""

from collections.abc import Iterable

import msgspec

from toolset.config.options import detection_options
from toolset.config.settings import Settings
from toolset.core.candidate import Candidate
from toolset.core.detection.detect import detect
from toolset.model import Service


class Match(msgspec.Struct, frozen=True):
    """What one detector matches.

    Attributes:
        product: The detector.
        type: The tool type it gives.
        own: Whether the settings define it.
        services: ``namespace/name`` of each Service it wins, in order.
    """

    product: str
    type: str
    own: bool
    services: tuple[str, ...]


def matches(settings: Settings, services: Iterable[Service]) -> list[Match]:
    """Return what each detector in force wins among ``services``; first those of the settings."""
    options = detection_options(settings)
    won: dict[str, list[str]] = {detector.product: [] for detector in options.detectors}
    for service in services:
        verdict = detect(service, options)
        if isinstance(verdict, Candidate):
            won.setdefault(verdict.product, []).append(str(service.key))
    own = {detector.product for detector in settings.discovery.detectors}
    types = {detector.product: detector.type for detector in options.detectors}
    return [
        Match(product, types.get(product, product), product in own, tuple(sorted(found)))
        for product, found in won.items()
    ]
