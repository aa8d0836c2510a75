"""Name the part of a Service that a detector recognised, for people."""

from toolset.core.candidate import Evidence
from toolset.core.detection.detector import Detector
from toolset.core.detection.identity import LABEL_KEYS, is_called, separated
from toolset.model import Service


def quote(service: Service, detector: Detector, evidence: Evidence) -> str:
    """Return what ``detector`` recognised, such as ``label app=loki``; empty if that is not in the Service."""
    match evidence:
        case Evidence.LABEL:
            return _label(service, detector)
        case Evidence.NAME:
            return f"name {service.metadata.name}"
        case Evidence.PORT:
            return _port(service, detector)
        case _:
            return ""


def _label(service: Service, detector: Detector) -> str:
    phrases = [separated(phrase) for phrase in (*detector.phrases, *detector.component_phrases)]
    for place, pairs in (("label", service.labels), ("selector", service.spec.selector or {})):
        for key, value in sorted(pairs.items()):
            if key in detector.label_keys or (key in LABEL_KEYS and is_called(separated(value), phrases)):
                return f"{place} {key}={value}"
    return ""


def _port(service: Service, detector: Detector) -> str:
    known = {(port.name, port.number) for port in detector.known_ports}
    for port in service.ports:
        if (port.name or "", port.port) in known or detector.port.is_called(port):
            return f"port {port.name} ({port.port})" if port.name else f"port {port.port}"
    return ""
