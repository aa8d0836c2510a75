"""Recognise a Service: what it is and where it is reached, or why it is not a candidate.

Precedence: an opt-out, an explicit annotation, then what a detector infers: from a label, a name, or a port. The order
of the detectors breaks ties. A detector that matches the words, but finds no usable port or is excluded by another
word, is skipped, and reported as a near miss if nothing else matches.
"""

import re
from functools import cached_property
from typing import Final, Literal

import msgspec

from toolset.core.candidate import UNKNOWN_BACKEND, Candidate, Evidence, HealthCheck, Reason, Rejected, Variant, Verdict
from toolset.core.detection.annotations import Annotations, BadAnnotation, opted_in, parse, unread
from toolset.core.detection.backend import backend
from toolset.core.detection.detector import Detector, effective_check
from toolset.core.detection.endpoint import Endpoint, endpoint
from toolset.core.detection.identity import identify
from toolset.core.detection.index import Index
from toolset.core.detection.variants import variants
from toolset.core.globs import Namespaces, matches_any
from toolset.core.trust import TRUST_LABEL, TRUSTED, Trust, Untrusted
from toolset.model import Key, Namespace, Service

Mode = Literal["auto", "annotated"]

_PLAIN_PATH: Final = re.compile(r"(/[a-z0-9-]{1,24}){0,4}")
_PLAIN_PATH_LIMIT: Final = 64
_NO_MATCH: Final = Rejected(Reason.NO_MATCH)
_TERMINATING: Final = Rejected(Reason.TERMINATING)
_NAMESPACE_TERMINATING: Final = Rejected(Reason.TERMINATING, "its namespace is being deleted")


class Found(msgspec.Struct, frozen=True):
    """A matching detector, its evidence, and where the Service is reached."""

    detector: Detector
    evidence: Evidence
    where: Endpoint


class DetectionOptions(msgspec.Struct, frozen=True, dict=True):
    """The settings of detection.

    Attributes:
        detectors: In order; for equal evidence the first wins.
        opt_in: Detectors that apply only if an annotation names their type.
        prefix: The annotation prefix.
        cluster_domain: The DNS domain of the cluster.
        external_endpoints: Whether ``toolset-endpoint`` may name another host.
        include: Namespace globs; a Service elsewhere is excluded.
        exclude: Namespace globs that are always excluded.
        mode: ``annotated`` accepts only Services whose annotation opts in.
        trusted: Globs of trusted namespaces; elsewhere only Services whose annotation opts in are accepted.
        untrusted: What happens with those.
        untrusted_types: Custom types that an untrusted namespace may name.
        selectorless: Globs of ``namespace/name``: Services without a selector that are accepted nevertheless.
        external_names: Globs of ``namespace/name``: the same for Services of type ExternalName.
    """

    detectors: tuple[Detector, ...]
    opt_in: tuple[Detector, ...] = ()
    prefix: str = "kubernaut.io"
    cluster_domain: str = "cluster.local"
    external_endpoints: bool = False
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    mode: Mode = "auto"
    trusted: tuple[str, ...] = ("*",)
    untrusted: Untrusted = "admit"
    untrusted_types: tuple[str, ...] = ()
    selectorless: tuple[str, ...] = ()
    external_names: tuple[str, ...] = ()

    @cached_property
    def index(self) -> Index:
        """The detectors, indexed by evidence, so that an unrelated Service costs only a few look-ups."""
        return Index(self.detectors)

    @cached_property
    def included(self) -> Namespaces:
        """The namespaces whose Services are considered."""
        return Namespaces(self.include, self.exclude)

    @cached_property
    def trust(self) -> Trust:
        """The namespaces that are trusted."""
        return Trust(self.trusted, self.prefix)

    @cached_property
    def types_for_untrusted(self) -> frozenset[str]:
        """The types that an untrusted namespace may name: those of detectors, and those in the settings."""
        return frozenset(self.untrusted_types).union(detector.type for detector in self.detectors)


def detect(
    service: Service, options: DetectionOptions, namespace: Namespace | None = None, *, approved: bool = False
) -> Verdict:
    """Return the candidate that ``service`` is, or the reason why it is not one. Never raises.

    Args:
        service: The Service.
        options: How to detect.
        namespace: Its Namespace; ``None`` if it is unknown, which excludes no Service.
        approved: Whether the admin has approved the Service, which matters in untrusted namespaces.
    """
    trusted = options.trust.includes(service.metadata.namespace, namespace)
    verdict = _detect(service, options, namespace, trusted=trusted)
    if isinstance(verdict, Candidate) and not trusted:
        verdict = _from_untrusted(verdict, options, approved=approved)
    if not service.annotations:
        return verdict
    if note := unread(service.annotations, options.prefix):
        verdict = msgspec.structs.replace(verdict, unread=note)
    if isinstance(verdict, Rejected) and _has_asked(service, verdict, options):
        return msgspec.structs.replace(verdict, asked=True)
    return verdict


def _has_asked(service: Service, verdict: Rejected, options: DetectionOptions) -> bool:
    """Return whether the owner of a rejected Service should hear of it: it opts in, or an annotation is not valid."""
    return verdict.reason is Reason.BAD_ANNOTATION or opted_in(service.annotations, options.prefix)


def detect_further(service: Service, first: Candidate, options: DetectionOptions) -> tuple[Candidate, ...]:
    """Return the further tools of ``service``, of other types, each on a port named after its product.

    Annotations that choose a port, a path or a type apply to the first tool only.

    Args:
        service: The Service.
        first: The candidate that it is.
        options: How to detect.
    """
    found: dict[str, Candidate] = {}
    identity = identify(service)
    plain = Annotations(switch="enabled" if first.asked else "auto", priority=first.priority)
    for detector, _ in options.index.matches(service, identity):
        if detector.type in {first.type, *found} or detector.objection(identity):
            continue
        where = endpoint(service, plain, detector.port, detector.path, options.cluster_domain, Evidence.PORT)
        if isinstance(where, Rejected) or where.port == first.port or not detector.port.is_called(where.declared):
            continue
        tool = _candidate(service, plain, Found(detector, Evidence.PORT, where), where)
        key = Key(service.metadata.namespace, service.metadata.name, detector.type)
        found[detector.type] = msgspec.structs.replace(tool, key=key, trusted=first.trusted)
    return tuple(found.values())


def _detect(service: Service, options: DetectionOptions, namespace: Namespace | None, *, trusted: bool) -> Verdict:
    if service.metadata.deletion_timestamp:
        return _TERMINATING
    if namespace is not None and namespace.is_ending:
        return _NAMESPACE_TERMINATING
    if service.metadata.namespace not in options.included:
        return Rejected(Reason.NAMESPACE_EXCLUDED)
    asked = parse(service.annotations, options.prefix)
    if isinstance(asked, BadAnnotation):
        written = f"{asked.name}={asked.value}" if asked.value else asked.name
        return Rejected(Reason.BAD_ANNOTATION, f"annotation {written} {asked.remedy}")
    if asked.switch == "disabled":
        return Rejected(Reason.OPTED_OUT)
    found = _named(service, asked, options) if asked.switch == "enabled" and asked.type else None
    found = found or _recognise(service, asked, options)
    if isinstance(found, Rejected):
        return found
    if refusal := _refusal(service, asked, found.detector, options, trusted=trusted):
        return refusal
    where = _asked_endpoint(service, asked, found, options)
    return where if isinstance(where, Rejected) else _candidate(service, asked, found, where)


def _refusal(
    service: Service, asked: Annotations, detector: Detector, options: DetectionOptions, *, trusted: bool
) -> Rejected | None:
    """Return the reason against a recognised Service, if there is one."""
    if not trusted and options.untrusted == "refuse":
        return Rejected(Reason.UNTRUSTED, _label_remedy(options), detector.type)
    if asked.switch == "auto" and not (trusted and options.mode == "auto"):
        return Rejected(Reason.NOT_OPTED_IN, type=detector.type)
    if service.spec.type == "ExternalName":
        allowed = matches_any(str(service.key), options.external_names)
        return None if allowed else Rejected(Reason.EXTERNAL_NAME, type=detector.type)
    if not service.spec.selector and not matches_any(str(service.key), options.selectorless):
        return Rejected(Reason.SELECTORLESS, type=detector.type)
    return None


def _from_untrusted(candidate: Candidate, options: DetectionOptions, *, approved: bool) -> Verdict:
    """Return the verdict on a candidate of an untrusted namespace.

    A language model reads types and paths, so these contain no text that a tenant could choose.
    """
    if candidate.type not in options.types_for_untrusted:
        detail = f"annotation {options.prefix}/toolset-type must be a known type here, or one that the setting "
        return Rejected(Reason.BAD_ANNOTATION, f"{detail}discovery.untrusted_types lists", candidate.type)
    health_path = candidate.health_path or candidate.check.path
    if not _PLAIN_PATH.fullmatch(candidate.path) or len(health_path) > _PLAIN_PATH_LIMIT:
        detail = (
            f"a path in annotations {options.prefix}/toolset-* may have 4 parts here, of 24 lower-case letters, digits "
            f"and hyphens each, and a health path {_PLAIN_PATH_LIMIT} characters"
        )
        return Rejected(Reason.BAD_ANNOTATION, detail, candidate.type)
    if options.untrusted == "admit" or approved:
        return msgspec.structs.replace(candidate, trusted=False)
    remedy = f"`approve: [{candidate.key}]` in overrides.yaml does it, or {_label_remedy(options)}"
    return Rejected(Reason.PENDING, remedy, candidate.type)


def _label_remedy(options: DetectionOptions) -> str:
    return f"the label {options.prefix}/{TRUST_LABEL}={TRUSTED} on its namespace"


def _recognise(service: Service, asked: Annotations, options: DetectionOptions) -> Found | Rejected:
    """Return the first detector with evidence, no excluding rule, and a usable port."""
    missed: Rejected | None = None
    identity = identify(service)
    for detector, evidence in options.index.matches(service, identity):
        matched = f"{evidence.value} matched {detector.product}"
        if objection := detector.objection(identity):
            missed = missed or Rejected(Reason.DENIED, f"{matched}, {objection}", detector.type)
            continue
        where = endpoint(service, asked, detector.port, detector.path, options.cluster_domain, evidence)
        if isinstance(where, Endpoint):
            return Found(detector, evidence, where)
        missed = missed or Rejected(where.reason, where.detail or matched, detector.type)
    if missed:
        return missed
    return Rejected(Reason.TYPE_MISSING) if asked.switch == "enabled" else _NO_MATCH


def _named(service: Service, asked: Annotations, options: DetectionOptions) -> Found | Rejected:
    """Return the detector that the annotation names: the product that also matches, else the first of the type."""
    identity = identify(service)
    matching = (d for d, _ in options.index.matches(service, identity) if not d.objection(identity))
    of_type = (detector for detector in (*matching, *options.detectors, *options.opt_in) if detector.type == asked.type)
    detector = next(of_type, Detector(product=asked.type, type=asked.type))
    where = endpoint(service, asked, detector.port, detector.path, options.cluster_domain, Evidence.ANNOTATION)
    if isinstance(where, Rejected):
        return msgspec.structs.replace(where, type=detector.type)
    return Found(detector, Evidence.ANNOTATION, where)


def _asked_endpoint(
    service: Service, asked: Annotations, found: Found, options: DetectionOptions
) -> Endpoint | Rejected:
    """Return the detected endpoint, or the one that an annotation names instead."""
    if not asked.endpoint:
        return found.where
    own_host, where = found.where.host, found.where.moved_to(asked.endpoint)
    if where.host != own_host and not options.external_endpoints:
        detail = f"annotation {options.prefix}/toolset-endpoint must name the Service's own host, {own_host}"
        return Rejected(Reason.BAD_ANNOTATION, detail, found.detector.type)
    if where.host == own_host and where.port not in {port.port for port in service.ports}:
        detail = f"annotation {options.prefix}/toolset-endpoint must name a port of the Service"
        return Rejected(Reason.BAD_ANNOTATION, detail, found.detector.type)
    return where


def _candidate(service: Service, asked: Annotations, found: Found, where: Endpoint) -> Candidate:
    detector, own_host = found.detector, found.where.host
    external = where.host != own_host or service.spec.type == "ExternalName"
    first = Variant(where.scheme, where.port, where.path)
    alternatives, fallbacks = variants(
        first,
        detector.sub_paths,
        scheme_is_stated=where.scheme_is_stated,
        path_is_stated=where.path_is_stated,
        either_scheme=where.port in detector.port.either,
    )
    check, health_path = _check(detector, asked)
    return Candidate(
        key=service.key,
        type=detector.type,
        product=detector.product,
        evidence=found.evidence,
        scheme=where.scheme,
        host=where.host,
        port=where.port,
        path=where.path,
        check=check,
        health_path=health_path,
        alternatives=alternatives,
        fallbacks=fallbacks,
        address=_address(service) if where.host == own_host else "",
        created=service.metadata.creation_timestamp or "",
        priority=asked.priority,
        backend=UNKNOWN_BACKEND if external else backend(service, where.declared, detector),
        headless=service.is_headless,
        asked=asked.switch == "enabled",
        external=external,
    )


def _check(detector: Detector, asked: Annotations) -> tuple[HealthCheck, str]:
    """Return how to probe, and the additional path that the annotation requests.

    The annotation's path replaces one that proves nothing; a path that proves the identity is always requested.
    """
    check = effective_check(detector)
    if check.proves or not asked.health_path:
        return check, asked.health_path if asked.health_path != check.path else ""
    return msgspec.structs.replace(check, path=asked.health_path), ""


def _address(service: Service) -> str:
    address = service.spec.cluster_ip or ""
    return "" if address == "None" else address
