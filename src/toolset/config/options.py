"""Build the options of each part from settings, and check settings against each other."""

import ipaddress
from difflib import get_close_matches
from urllib.parse import urlsplit

from toolset.config.settings import Settings
from toolset.core.backends.backend_type import types_of
from toolset.core.backends.catalog import BACKEND_TYPES, DETECTORS, OPT_IN
from toolset.core.candidate import Candidate
from toolset.core.detection.detect import DetectionOptions
from toolset.core.detection.detector import Detector
from toolset.core.detection.reduction import Reduction
from toolset.core.publishing.access import trust_warning
from toolset.core.publishing.options import publish_options
from toolset.core.publishing.static_backends import static_candidates, static_credentials
from toolset.core.shares import Shares
from toolset.errors import SettingsError
from toolset.model import Key, Namespace, namespace_key
from toolset.reconciler.publishing import Publisher, TargetOptions
from toolset.runtime.election import ElectorOptions
from toolset.runtime.store import Reader


def detectors(settings: Settings) -> tuple[Detector, ...]:
    """Return the effective detectors: those in the settings, then the built-in ones not replaced or disabled."""
    discovery = settings.discovery
    own = discovery.detectors
    left_out = {detector.product for detector in own}.union(discovery.disabled_detectors)
    enabled = tuple(detector for detector in OPT_IN if detector.product in discovery.enabled_detectors)
    return own + tuple(detector for detector in (*DETECTORS, *enabled) if detector.product not in left_out)


def detection_options(settings: Settings) -> DetectionOptions:
    """Return the options of detection."""
    discovery = settings.discovery
    return DetectionOptions(
        detectors=detectors(settings),
        opt_in=OPT_IN,
        prefix=discovery.annotation_prefix,
        cluster_domain=discovery.cluster_domain,
        external_endpoints=discovery.external_endpoints,
        include=discovery.namespaces,
        exclude=discovery.exclude_namespaces,
        mode=discovery.mode,
        trusted=discovery.trusted_namespaces,
        untrusted=discovery.untrusted,
        untrusted_types=discovery.untrusted_types,
        selectorless=settings.health.allow_selectorless,
        external_names=settings.health.allow_external_name,
    )


def shares(settings: Settings, namespaces: Reader[Namespace]) -> Shares:
    """Return how shared resources are divided among namespaces; static backends, in no namespace, are trusted.

    Args:
        settings: The settings.
        namespaces: The stored Namespaces, whose labels are read on demand.
    """
    trust = detection_options(settings).trust
    return Shares(lambda name: not name or trust.includes(name, namespaces.get(namespace_key(name))))


def reduction(settings: Settings) -> Reduction:
    """Return how Services are reduced before they are stored."""
    own = settings.discovery.detectors
    return Reduction(settings.discovery.annotation_prefix, (*own, *DETECTORS, *OPT_IN))


def static_tools(settings: Settings) -> dict[Key, Candidate]:
    """Return the static candidates in the settings, by key."""
    return static_candidates(settings.static, detectors(settings))


def target_key(settings: Settings) -> Key:
    """Return the key of the target ConfigMap."""
    return Key(settings.target.namespace, settings.target.name)


def required_keys(settings: Settings) -> tuple[Key, ...]:
    """Return the Services that must be published."""
    return tuple(Key(*name.split("/", 1)) for name in settings.publish.required)


def target_options(settings: Settings) -> TargetOptions:
    """Return the options of publishing."""
    discovery = settings.discovery
    types = types_of(BACKEND_TYPES, discovery.detectors)
    names = (backend.name for backend in settings.static)
    output = publish_options(settings.output, types, static_credentials(settings.static), names)
    return TargetOptions(
        discovery.annotation_prefix,
        output,
        discovery.untrusted_limit,
        target_key(settings),
        settings.health.detectors,
    )


def check(settings: Settings) -> None:
    """Check settings that depend on each other.

    Raises:
        SettingsError: Election or shutdown times contradict each other, the overrides would be read from the target
            ConfigMap, the documents would be invalid, or the status would be open to others.
    """
    elector_options(settings)
    status_address(settings)
    if settings.output.overrides_from == settings.target.name:
        raise SettingsError(
            "settings `output.overrides_from`: it names the ConfigMap that is written; name another one, or none"
        )
    delay_s, timeout_s = settings.shutdown.delay, settings.shutdown.timeout
    if delay_s > timeout_s:
        raise SettingsError(
            f"settings `shutdown`: the delay ({delay_s:g} s) must not be longer than the timeout ({timeout_s:g} s), "
            "which includes it"
        )
    Publisher.resume(target_options(settings), None).compose((), None)


def doubts(settings: Settings) -> tuple[str, ...]:
    """Return warnings about valid settings that are likely mistakes, one sentence each."""
    known = {name for detector in detectors(settings) for name in (detector.product, detector.type)}
    types = {detector.type for detector in detectors(settings)}
    meant = {name: get_close_matches(name, known, n=1) for name in settings.health.detectors if name not in known}
    near = [(f"health.detectors.{name}", names) for name, names in meant.items()]
    near += [
        (f"static[{position}].type", get_close_matches(backend.type, types, n=1))
        for position, backend in enumerate(settings.static)
        if backend.type not in types
    ]
    found = [
        f"`{place}` counts only for a custom type of that name; did you mean `{names[0]}`?"
        for place, names in near
        if names
    ]
    domain = f".svc.{settings.discovery.cluster_domain}"
    for position, backend in enumerate(settings.static):
        if (urlsplit(backend.url).hostname or "").endswith(domain):
            found.append(
                f"`static[{position}].url` is a Service of this cluster, which may be discovered as well; "
                "annotate the Service instead"
            )
    found += [
        f"`health.detectors.{name}`: {trust_warning(name, config)}"
        for name, config in settings.health.detectors.items()
        if config.leaves_readers_failing and not meant.get(name)
    ]
    return tuple(found)


def lease_key(settings: Settings) -> Key:
    """Return the key of the election's Lease."""
    return Key(settings.target.namespace, settings.election.lease_name)


def elector_options(settings: Settings) -> ElectorOptions:
    """Return the options of leader election.

    Raises:
        SettingsError: The times contradict each other.
    """
    election = settings.election
    try:
        return ElectorOptions(
            lease_s=election.lease_duration, renew_s=election.renew_deadline, retry_s=election.retry_period
        )
    except ValueError as error:
        raise SettingsError(f"settings `election`: {error}") from error


def status_address(settings: Settings) -> tuple[str, int]:
    """Return the host and the port on which the status is served.

    Raises:
        SettingsError: There is no such address or port, others could read the status, or TLS is missing.
    """
    status = settings.status
    host, _, port = status.listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        is_loopback, is_port = ipaddress.ip_address(host).is_loopback, int(port) <= 65535
    except ValueError:
        is_loopback = is_port = False
    authenticates = status.auth == "kubernetes"
    if not is_port or not (is_loopback or authenticates):
        raise SettingsError(
            f"settings `status.listen`: `{status.listen}` is not a loopback address with a port; the status shows "
            "which Services there are, so write `127.0.0.1:8081` and use `kubectl port-forward`, or set `status.auth`"
        )
    if bool(status.tls_cert_file) != bool(status.tls_key_file) or (authenticates and not status.tls_cert_file):
        raise SettingsError(
            "settings `status`: `auth: kubernetes` needs `tls_cert_file` and `tls_key_file`, because tokens must not "
            "be sent in the clear; neither works without the other"
        )
    return host, int(port)
