"""Decide which scheme a port of a Service speaks, as far as the Service states it."""

from collections.abc import Container
from typing import Final

from toolset.core.detection.identity import separated
from toolset.model import Service, ServicePort

_SCHEMES: Final = frozenset({"http", "https"})
_TLS_PORTS: Final = frozenset({443, 8443, 9443})
_TLS_WORDS: Final = frozenset({"https", "tls", "ssl"})
_PROXIES: Final = frozenset({"oauth", "oauth-proxy", "oauth2-proxy", "rbac-proxy", "kube-rbac-proxy"})
"""Ports of the proxies that OpenShift and kube-prometheus put in front of a backend: they authenticate and end TLS."""
CERTIFICATE_ANNOTATIONS: Final = frozenset(
    {
        "service.alpha.openshift.io/serving-cert-secret-name",
        "service.beta.openshift.io/serving-cert-secret-name",
    }
)
"""OpenShift issues a certificate for the name of a Service with one of these annotations."""


def states_scheme(port: ServicePort) -> bool:
    """Return whether a port states its scheme; its name and its number are only hints."""
    return (port.app_protocol or "").lower() in _SCHEMES


def scheme_of(service: Service, port: ServicePort, tls: Container[int | str | None] = ()) -> str:
    """Return the scheme that ``port`` of ``service`` most likely speaks.

    Its ``appProtocol`` decides, then the product, then its name, its number, and whether the Service has a certificate.

    Args:
        service: The Service.
        port: One of its ports.
        tls: Port numbers, on either side, on which the product speaks TLS.
    """
    protocol, name = (port.app_protocol or "").lower(), (port.name or "").lower()
    if protocol in _SCHEMES:
        return protocol
    if port.port in tls or port.target_port in tls:
        return "https"
    words = separated(name)
    if not _TLS_WORDS.isdisjoint(words) or name.startswith("https") or name in _PROXIES:
        return "https"
    if "http" in name:
        return "http"
    certified = not CERTIFICATE_ANNOTATIONS.isdisjoint(service.annotations)
    return "https" if certified or port.port in _TLS_PORTS else "http"
