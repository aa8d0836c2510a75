"""Recognise a Service: the matching engine over detectors, which are data.

An opt-out beats an explicit annotation, which beats what a detector infers; of inferred evidence a label beats
a name beats a port, and the order of the detectors breaks ties.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from toolset.core.annotations import Annotations, BadAnnotation, parse
from toolset.core.endpoint import endpoint
from toolset.core.verdict import Candidate, Evidence, HealthCheck, Reason, Rejected, Verdict
from toolset.model import Service, ServicePort

DEFAULT_CHECK: Final = HealthCheck("/")


class PortRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A port that is evidence on its own."""

    name: str
    number: int


class Detector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one type of tool is recognised and reached.

    Attributes:
        type: The tool type.
        labels: Label selectors; one whose pairs all stand on the Service is enough.
        names: Service names that are enough.
        ports: Ports that are enough.
        port_names: Which port to use: by name, first wish first.
        port_numbers: Which port to use where no name fits, first wish first.
        check: How to probe it.
        source: Where the rule comes from.
    """

    type: str
    labels: tuple[Mapping[str, str], ...] = ()
    names: tuple[str, ...] = ()
    ports: tuple[PortRule, ...] = ()
    port_names: tuple[str, ...] = ()
    port_numbers: tuple[int, ...] = ()
    check: HealthCheck = DEFAULT_CHECK
    source: str = ""

    def evidence(self, service: Service) -> Evidence | None:
        """Return the strongest evidence that ``service`` is of this type, or ``None``."""
        labels = service.labels
        if any(all(labels.get(k) == v for k, v in selector.items()) for selector in self.labels):
            return Evidence.LABEL
        if service.metadata.name in self.names:
            return Evidence.NAME
        declared = {(port.name, port.port) for port in service.ports}
        if any((rule.name, rule.number) in declared for rule in self.ports):
            return Evidence.PORT
        return None


class DetectionOptions(msgspec.Struct, frozen=True):
    """What the settings say about detection.

    Attributes:
        detectors: In order; of equal evidence the first wins.
        prefix: The prefix of our annotations.
        cluster_domain: The DNS domain of the cluster.
        external_endpoints: Whether ``toolset-endpoint`` may name another host.
        include: Namespace globs; a Service elsewhere is excluded.
        exclude: Namespace globs that are excluded in any case.
    """

    detectors: tuple[Detector, ...]
    prefix: str = "kubernaut.io"
    cluster_domain: str = "cluster.local"
    external_endpoints: bool = False
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()


def detect(service: Service, options: DetectionOptions) -> Verdict:
    """Return the candidate that ``service`` is, or the reason why it is none. Never raises."""
    if refused := _refuse(service, options):
        return refused
    asked = parse(service.annotations, options.prefix)
    if isinstance(asked, BadAnnotation):
        return Rejected(Reason.BAD_ANNOTATION, f"annotation {asked.name} {asked.remedy}")
    if asked.switch == "disabled":
        return Rejected(Reason.OPTED_OUT)
    found = _recognise(service, asked, options.detectors)
    if isinstance(found, Rejected):
        return found
    detector, evidence = found
    if service.spec.type == "ExternalName":
        return Rejected(Reason.EXTERNAL_NAME, type=detector.type)
    if not service.spec.selector:
        return Rejected(Reason.SELECTORLESS, type=detector.type)
    return _candidate(service, asked, detector, evidence, options)


def _refuse(service: Service, options: DetectionOptions) -> Rejected | None:
    """Say what stands against ``service`` before its own words are read."""
    if service.metadata.deletion_timestamp:
        return Rejected(Reason.TERMINATING)
    namespace = service.metadata.namespace
    included = any(matches_glob(namespace, glob) for glob in options.include)
    if not included or any(matches_glob(namespace, glob) for glob in options.exclude):
        return Rejected(Reason.NAMESPACE_EXCLUDED)
    return None


def _recognise(
    service: Service, asked: Annotations, detectors: Sequence[Detector]
) -> tuple[Detector, Evidence] | Rejected:
    if asked.switch == "enabled" and asked.type:
        of_type = (detector for detector in detectors if detector.type == asked.type)
        return next(of_type, Detector(type=asked.type)), Evidence.ANNOTATION
    for strength in (Evidence.LABEL, Evidence.NAME, Evidence.PORT):
        for detector in detectors:
            if detector.evidence(service) is strength:
                return detector, strength
    return Rejected(Reason.TYPE_MISSING if asked.switch == "enabled" else Reason.NO_MATCH)


def _candidate(
    service: Service,
    asked: Annotations,
    detector: Detector,
    evidence: Evidence,
    options: DetectionOptions,
) -> Verdict:
    found = endpoint(service, asked, detector.port_names, detector.port_numbers, options.cluster_domain)
    if isinstance(found, Rejected):
        return msgspec.structs.replace(found, type=detector.type)
    own_host = found.host
    if asked.endpoint:
        found = found.moved_to(asked.endpoint)
        if found.host != own_host and not options.external_endpoints:
            detail = f"annotation {options.prefix}/toolset-endpoint must name the Service's own host, {own_host}"
            return Rejected(Reason.BAD_ANNOTATION, detail, detector.type)
    check = msgspec.structs.replace(detector.check, path=asked.health_path or detector.check.path)
    return Candidate(
        key=service.key,
        type=detector.type,
        evidence=evidence,
        scheme=found.scheme,
        host=found.host,
        port=found.port,
        path=found.path,
        check=check,
        address=_address(service) if found.host == own_host else "",
        created=service.metadata.creation_timestamp or "",
        priority=asked.priority,
        display_name=asked.display_name,
        health_path=asked.health_path,
        backend=_backend(service, found.declared),
        headless=service.is_headless,
    )


def _address(service: Service) -> str:
    address = service.spec.cluster_ip or ""
    return "" if address == "None" else address


def _backend(service: Service, port: ServicePort) -> str:
    """Name what the Service leads to: two Services with the same answer have the same pods behind them."""
    selector = ",".join(f"{k}={v}" for k, v in sorted((service.spec.selector or {}).items()))
    return f"{selector}:{port.target_port if port.target_port is not None else port.port}"


def matches_glob(text: str, glob: str) -> bool:
    """Tell whether ``text`` fits ``glob``, in which ``*`` stands for any characters."""
    head, *rest = glob.split("*")
    if not rest:
        return text == glob
    if not text.startswith(head):
        return False
    *middle, tail = rest
    position = len(head)
    for part in middle:
        position = text.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return len(text) - position >= len(tail) and text.endswith(tail)
