"""Turn settings into the options and the clients of each part."""

import os
from collections.abc import Callable
from difflib import get_close_matches
from uuid import uuid4

import msgspec

from toolset import __version__
from toolset.adapters.kube.credentials.providers import (
    Credentials,
    InClusterCredentials,
    KubeconfigCredentials,
    service_account,
)
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.probe import HttpProber, ProberOptions
from toolset.adapters.traces import SERVICE_NAME
from toolset.config.settings import Settings
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions
from toolset.core.detection.detector import Detector
from toolset.core.dialects.documents import Credentials as CredentialVariables
from toolset.core.publishing.rendering import OutputOptions
from toolset.errors import SettingsError
from toolset.model import Key
from toolset.reconciler.publishing import Publisher, TargetOptions
from toolset.runtime.election import ElectorOptions


def credentials(settings: Settings, environment: dict[str, str]) -> Credentials:
    """Return where access to the API server comes from: a named kubeconfig, else the pod's, else the usual places."""
    if not _is_in_cluster(settings, environment):
        return KubeconfigCredentials(settings.kube.kubeconfig, settings.kube.context)
    host = environment["KUBERNETES_SERVICE_HOST"]
    return InClusterCredentials(host, environment.get("KUBERNETES_SERVICE_PORT", "443"))


def _is_in_cluster(settings: Settings, environment: dict[str, str]) -> bool:
    named = settings.kube.kubeconfig or settings.kube.context
    return bool(environment.get("KUBERNETES_SERVICE_HOST")) and not named


def transport(
    settings: Settings,
    environment: dict[str, str],
    on_answer: Callable[[str, int, float], None] = lambda _method, _code, _took_s: None,
) -> KubeTransport:
    """Return a session with the API server, not opened yet; ``on_answer`` hears of each answer."""
    return KubeTransport(credentials(settings, environment), f"{SERVICE_NAME}/{__version__}", on_answer)


def detectors(settings: Settings) -> tuple[Detector, ...]:
    """Return the detectors in force: those of the settings, then the built-in ones that nothing replaces."""
    own = settings.discovery.detectors
    left_out = {detector.product for detector in own} | set(settings.discovery.disabled_detectors)
    return own + tuple(detector for detector in BUILT_IN if detector.product not in left_out)


def detection_options(settings: Settings) -> DetectionOptions:
    """Return how the settings say to detect."""
    discovery = settings.discovery
    return DetectionOptions(
        detectors=detectors(settings),
        prefix=discovery.annotation_prefix,
        cluster_domain=discovery.cluster_domain,
        external_endpoints=discovery.external_endpoints,
        include=discovery.namespaces,
        exclude=discovery.exclude_namespaces,
        mode=discovery.mode,
        trusted=discovery.trusted_namespaces,
        selectorless=settings.health.allow_selectorless,
        external_names=settings.health.allow_external_name,
    )


def target_key(settings: Settings) -> Key:
    """Return the ConfigMap that is kept."""
    return Key(settings.target.namespace, settings.target.name)


def output_options(settings: Settings) -> OutputOptions:
    """Return what the settings say about documents."""
    output = settings.output
    keys = {name: CredentialVariables(api_key=variable) for name, variable in output.grafana_api_key_env.items()}
    return OutputOptions(
        output.dialects,
        {**keys, **output.credentials},
        output.base_toolsets,
        output.variables,
        output.allow_unsafe_overrides,
        output.max_per_type,
        output.max_http_tools,
        output.limit_kib * 1024,
    )


def target_options(settings: Settings) -> TargetOptions:
    """Return what the settings say about publishing."""
    return TargetOptions(
        settings.discovery.annotation_prefix,
        output_options(settings),
        settings.output.legacy_keys == "remove",
        settings.output.legacy_managers,
        settings.output.instance,
    )


def named(settings: Settings, environment: dict[str, str]) -> Settings:
    """Return ``settings`` with a name for this installation: where they give none, the pod's ServiceAccount."""
    if settings.output.instance or not _is_in_cluster(settings, environment):
        return settings
    output = msgspec.structs.replace(settings.output, instance=service_account())
    return msgspec.structs.replace(settings, output=output)


def check(settings: Settings) -> None:
    """Make sure of what no single value shows.

    Raises:
        SettingsError: The times of an election or of a shutdown do not fit together, or the documents would not be
            valid.
    """
    elector_options(settings)
    delay_s, timeout_s = settings.shutdown.delay, settings.shutdown.timeout
    if delay_s > timeout_s:
        raise SettingsError(
            f"settings `shutdown`: the delay ({delay_s:g} s) must not be longer than the timeout ({timeout_s:g} s), "
            "which includes it"
        )
    Publisher.resume(target_options(settings), None).compose((), None)


def doubts(settings: Settings) -> tuple[str, ...]:
    """Return what may be meant as it is, but is more likely a mistake; a sentence each that names the setting."""
    known = {name for detector in detectors(settings) for name in (detector.product, detector.type)}
    near = {name: get_close_matches(name, known, n=1) for name in settings.health.detectors if name not in known}
    return tuple(
        f"`health.detectors.{name}` counts only for a custom type of that name; did you mean `{found[0]}`?"
        for name, found in near.items()
        if found
    )


def lease_key(settings: Settings) -> Key:
    """Return the Lease of the election."""
    return Key(settings.target.namespace, settings.election.lease_name)


def elector_options(settings: Settings) -> ElectorOptions:
    """Return the times of the election.

    Raises:
        SettingsError: They do not fit together.
    """
    election = settings.election
    try:
        return ElectorOptions(
            lease_s=election.lease_duration, renew_s=election.renew_deadline, retry_s=election.retry_period
        )
    except ValueError as error:
        raise SettingsError(f"settings `election`: {error}") from error


def identity(host: str) -> str:
    """Return a name for this process that no other has, even one on the same host."""
    return f"{host}_{uuid4()}"


def prober(settings: Settings) -> HttpProber:
    """Return the prober that the settings describe."""
    health = settings.health
    return HttpProber(
        ProberOptions(health.timeout, health.concurrency, health.connect_to, health.refused_ranges, health.detectors),
        api_server=credentials(settings, dict(os.environ)) if health.via == "apiserver-proxy" else None,
    )
