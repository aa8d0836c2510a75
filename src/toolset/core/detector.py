"""Recognise a Service: the matching engine over detectors, which are data.

An opt-out beats an explicit annotation, which beats what a detector infers; of inferred evidence a label beats a name
beats a port, and the order of the detectors breaks ties. A detector that knows the words but finds no port it could
use is passed over, and named as a near miss when nothing else fits.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Final

import msgspec

from toolset.core.annotations import Annotations, BadAnnotation, parse
from toolset.core.endpoint import Endpoint, PortWish, endpoint
from toolset.core.identity import Identity, Words, endings, identify
from toolset.core.verdict import Candidate, Evidence, HealthCheck, Reason, Rejected, Verdict
from toolset.model import Service, ServicePort

DEFAULT_CHECK: Final = HealthCheck("/")
ANY_PORT: Final = PortWish()


class PortRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A port that is evidence on its own."""

    name: str
    number: int


class Detector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one product is recognised and reached.

    Attributes:
        product: What it recognises.
        type: The tool type that the product is used as.
        phrases: What the product calls itself, words joined by ``-``: a label or a name that ends with one of them,
            generic endings aside, is evidence.
        keys: Label keys that only this product's Services carry or select by.
        ports: Ports that are evidence on their own.
        beside: Ports that the Service must have as well.
        only_names: Names of which the Service must have one; empty allows any.
        components: Where a Service has component labels, one of them must be among these; empty allows any.
        deny: Last words of a name that tell of another thing; a Service with one of them is not this product.
        wish: Which port to use.
        path: Base path.
        check: How to probe it.
        source: Where the rule comes from.
    """

    product: str
    type: str
    phrases: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    ports: tuple[PortRule, ...] = ()
    beside: tuple[PortRule, ...] = ()
    only_names: frozenset[str] = frozenset()
    components: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    wish: PortWish = ANY_PORT
    path: str = ""
    check: HealthCheck = DEFAULT_CHECK
    source: str = ""

    def allows(self, service: Service, identity: Identity) -> bool:
        """Tell whether nothing speaks against this product."""
        if self.beside and not {(p.name, p.number) for p in self.beside} <= {(p.name, p.port) for p in service.ports}:
            return False
        if self.only_names and service.metadata.name not in self.only_names:
            return False
        if self.components and identity.components and not self.components & identity.components:
            return False
        return not self.deny & identity.kinds


class DetectionOptions(msgspec.Struct, frozen=True, dict=True):
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

    @cached_property
    def index(self) -> "Index":
        """The detectors by what they look for, so that a Service that is nothing costs a few look-ups."""
        return Index(self.detectors)


class Index:
    """Detectors by phrase, key and port; a rank is a detector's place in their order."""

    def __init__(self, detectors: tuple[Detector, ...]) -> None:
        self._detectors = detectors
        self._phrases: dict[Words, list[int]] = {}
        self._keys: dict[str, list[int]] = {}
        self._ports: dict[tuple[str, int], list[int]] = {}
        for rank, detector in enumerate(detectors):
            for phrase in detector.phrases:
                self._phrases.setdefault(tuple(phrase.split("-")), []).append(rank)
            for key in detector.keys:
                self._keys.setdefault(key, []).append(rank)
            for port in detector.ports:
                self._ports.setdefault((port.name, port.number), []).append(rank)
        self._longest = max((len(phrase) for phrase in self._phrases), default=0)

    def matches(self, service: Service, identity: Identity) -> list[tuple[Detector, Evidence]]:
        """Return the detectors that have evidence, strongest first, each once."""
        found: dict[int, Evidence] = {}
        for evidence, rank in self._evidence(service, identity):
            if rank not in found or _STRENGTH[evidence] < _STRENGTH[found[rank]]:
                found[rank] = evidence
        ranked = sorted((_STRENGTH[evidence], rank, evidence) for rank, evidence in found.items())
        matches = [(self._detectors[rank], evidence) for _, rank, evidence in ranked]
        return [(detector, evidence) for detector, evidence in matches if detector.allows(service, identity)]

    def _evidence(self, service: Service, identity: Identity) -> Iterator[tuple[Evidence, int]]:
        for words, evidence in identity.names:
            for phrase in endings(words, self._longest):
                for rank in self._phrases.get(phrase, ()):
                    yield evidence, rank
        for key in self._keys.keys() & identity.keys:
            for rank in self._keys[key]:
                yield Evidence.LABEL, rank
        for port in service.ports:
            for rank in self._ports.get((port.name or "", port.port), ()):
                yield Evidence.PORT, rank


_STRENGTH: Final[Mapping[Evidence, int]] = {evidence: rank for rank, evidence in enumerate(Evidence)}


def detect(service: Service, options: DetectionOptions) -> Verdict:
    """Return the candidate that ``service`` is, or the reason why it is none. Never raises."""
    if refused := _refuse(service, options):
        return refused
    asked = parse(service.annotations, options.prefix)
    if isinstance(asked, BadAnnotation):
        return Rejected(Reason.BAD_ANNOTATION, f"annotation {asked.name} {asked.remedy}")
    if asked.switch == "disabled":
        return Rejected(Reason.OPTED_OUT)
    found = _recognise(service, asked, options)
    if isinstance(found, Rejected):
        return found
    detector, evidence, where = found
    if service.spec.type == "ExternalName":
        return Rejected(Reason.EXTERNAL_NAME, type=detector.type)
    if not service.spec.selector:
        return Rejected(Reason.SELECTORLESS, type=detector.type)
    return _candidate(service, asked, detector, evidence, where, options)


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
    service: Service, asked: Annotations, options: DetectionOptions
) -> tuple[Detector, Evidence, Endpoint] | Rejected:
    """Return the first detector that has evidence and a port to use."""
    if asked.switch == "enabled" and asked.type:
        return _named(service, asked, options)
    missed: Rejected | None = None
    for detector, evidence in options.index.matches(service, identify(service)):
        where = endpoint(service, asked, detector.wish, detector.path, options.cluster_domain, evidence)
        if isinstance(where, Endpoint):
            return detector, evidence, where
        missed = missed or Rejected(
            where.reason, where.detail or f"{evidence.value} matched {detector.product}", detector.type
        )
    if missed:
        return missed
    return Rejected(Reason.TYPE_MISSING if asked.switch == "enabled" else Reason.NO_MATCH)


def _named(
    service: Service, asked: Annotations, options: DetectionOptions
) -> tuple[Detector, Evidence, Endpoint] | Rejected:
    """Return the detector that the annotation names: the product that also matches, else the first of the type."""
    matching = (detector for detector, _ in options.index.matches(service, identify(service)))
    of_type = (detector for detector in (*matching, *options.detectors) if detector.type == asked.type)
    detector = next(of_type, Detector(product=asked.type, type=asked.type))
    where = endpoint(service, asked, detector.wish, detector.path, options.cluster_domain, Evidence.ANNOTATION)
    if isinstance(where, Rejected):
        return msgspec.structs.replace(where, type=detector.type)
    return detector, Evidence.ANNOTATION, where


def _candidate(
    service: Service,
    asked: Annotations,
    detector: Detector,
    evidence: Evidence,
    where: Endpoint,
    options: DetectionOptions,
) -> Verdict:
    own_host = where.host
    if asked.endpoint:
        where = where.moved_to(asked.endpoint)
        if where.host != own_host and not options.external_endpoints:
            detail = f"annotation {options.prefix}/toolset-endpoint must name the Service's own host, {own_host}"
            return Rejected(Reason.BAD_ANNOTATION, detail, detector.type)
    check = msgspec.structs.replace(detector.check, path=asked.health_path or detector.check.path)
    return Candidate(
        key=service.key,
        type=detector.type,
        evidence=evidence,
        scheme=where.scheme,
        host=where.host,
        port=where.port,
        path=where.path,
        check=check,
        address=_address(service) if where.host == own_host else "",
        created=service.metadata.creation_timestamp or "",
        priority=asked.priority,
        display_name=asked.display_name,
        health_path=asked.health_path,
        backend=_backend(service, where.declared),
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
