"""Build clients from settings: the API server's credentials and transport, and the health prober."""

import os
from collections.abc import Callable
from typing import Annotated

import msgspec

from toolset import __version__
from toolset.adapters.kube.credentials.kubeconfig_file import is_kubeconfig_set
from toolset.adapters.kube.credentials.providers import (
    Credentials,
    InClusterCredentials,
    KubeconfigCredentials,
    service_account,
)
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.probe import HttpProber, ProberOptions, StaticConfig
from toolset.adapters.traces import SERVICE_NAME
from toolset.config.loader import TEST_CONNECT_TO
from toolset.config.settings import Settings
from toolset.errors import SettingsError

_Authority = Annotated[str, msgspec.Meta(pattern=r"^\S+:[0-9]{1,5}\Z")]


def credentials(settings: Settings, environment: dict[str, str]) -> Credentials:
    """Return the credentials.

    As controller-runtime: the settings' kubeconfig, else one of ``KUBECONFIG``, else the pod's ServiceAccount, else the
    kubeconfig in the home folder.
    """
    if not is_in_cluster(settings, environment):
        return KubeconfigCredentials(settings.kube.kubeconfig, settings.kube.context)
    host = environment["KUBERNETES_SERVICE_HOST"]
    return InClusterCredentials(host, environment.get("KUBERNETES_SERVICE_PORT", "443"))


def transport(
    settings: Settings,
    environment: dict[str, str],
    on_answer: Callable[[str, int, float], None] = lambda _method, _code, _took_s: None,
) -> KubeTransport:
    """Return an unopened session with the API server; ``on_answer`` gets method, code and seconds of each response."""
    return KubeTransport(credentials(settings, environment), f"{SERVICE_NAME}/{__version__}", on_answer)


def prober(settings: Settings) -> HttpProber:
    """Return the health prober.

    Raises:
        SettingsError: The variable that redirects probes in tests is malformed.
    """
    health, environment = settings.health, dict(os.environ)
    connect_to = _connect_to(environment.get(TEST_CONNECT_TO, "{}"))
    return HttpProber(
        ProberOptions(
            health.timeout,
            health.concurrency,
            connect_to,
            health.refused_ranges,
            health.detectors,
            settings.discovery.annotation_prefix,
            {each.key: StaticConfig(each.http_config, each.allowed_ranges) for each in settings.static},
        ),
        api_server=credentials(settings, environment) if health.via == "apiserver-proxy" else None,
    )


def _connect_to(text: str) -> dict[str, str]:
    try:
        return dict(msgspec.json.decode(text, type=dict[_Authority, _Authority]))
    except (msgspec.DecodeError, UnicodeError) as error:
        raise SettingsError(
            f"environment variable {TEST_CONNECT_TO}: expected a JSON object of `host:port` by `host:port`; "
            "unset it outside of tests"
        ) from error


def named(settings: Settings, environment: dict[str, str]) -> Settings:
    """Return ``settings`` with ``output.instance`` set; its default in a pod is the ServiceAccount."""
    if settings.output.instance or not is_in_cluster(settings, environment):
        return settings
    output = msgspec.structs.replace(settings.output, instance=service_account())
    return msgspec.structs.replace(settings, output=output)


def is_in_cluster(settings: Settings, environment: dict[str, str]) -> bool:
    """Return whether the credentials are those of a pod."""
    named = settings.kube.kubeconfig or settings.kube.context or is_kubeconfig_set(environment)
    return bool(environment.get("KUBERNETES_SERVICE_HOST")) and not named
