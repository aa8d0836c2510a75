"""Choose where a Service is reached: port, scheme and path; the host is always the Service's own."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from toolset.core.annotations import Annotations
from toolset.core.verdict import Reason, Rejected
from toolset.model import PROTOCOL_TCP, Service, ServicePort

_TLS_PORTS: Final = frozenset({443, 8443})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Endpoint(msgspec.Struct, frozen=True):
    """Where a Service is reached.

    Attributes:
        scheme: ``http`` or ``https``.
        host: The DNS name.
        port: The Service's port.
        path: Base path, empty or without a trailing slash.
        declared: The port as the Service declares it.
    """

    scheme: str
    host: str
    port: int
    path: str
    declared: ServicePort

    def moved_to(self, url: str) -> "Endpoint":
        """Return the endpoint that ``url`` names; its shape has been checked."""
        parts = urlsplit(url)
        return Endpoint(
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port or _DEFAULT_PORTS[parts.scheme],
            path=parts.path.rstrip("/"),
            declared=self.declared,
        )


def endpoint(
    service: Service,
    asked: Annotations,
    port_names: Sequence[str],
    port_numbers: Sequence[int],
    cluster_domain: str,
) -> Endpoint | Rejected:
    """Return where ``service`` is reached.

    Args:
        service: The Service.
        asked: What its annotations ask for.
        port_names: Ports to use by name, first wish first.
        port_numbers: Ports to use where no name fits, first wish first; after that the first TCP port.
        cluster_domain: The DNS domain of the cluster.
    """
    usable = [p for p in service.ports if (p.protocol or PROTOCOL_TCP) == PROTOCOL_TCP and 0 < p.port < 65536]
    if asked.port:
        chosen = next((p for p in usable if asked.port in {p.name, str(p.port)}), None)
        if chosen is None:
            return Rejected(
                Reason.BAD_ANNOTATION, "the port that the annotation names is not a TCP port of the Service"
            )
    elif usable:
        chosen = _prefer(usable, port_names, port_numbers)
    else:
        return Rejected(Reason.NO_USABLE_PORT)
    return Endpoint(
        scheme=asked.scheme or scheme_of(chosen),
        host=f"{service.metadata.name}.{service.metadata.namespace}.svc.{cluster_domain}",
        port=chosen.port,
        path=asked.path or "",
        declared=chosen,
    )


def scheme_of(port: ServicePort) -> str:
    """Return the scheme a port speaks: its ``appProtocol`` decides, then its name, then its number."""
    protocol, name = (port.app_protocol or "").lower(), (port.name or "").lower()
    if protocol in {"http", "https"}:
        return protocol
    if name.startswith("https"):
        return "https"
    return "https" if port.port in _TLS_PORTS and "http" not in name else "http"


def _prefer(usable: Sequence[ServicePort], names: Sequence[str], numbers: Sequence[int]) -> ServicePort:
    by_name = (port for name in names for port in usable if port.name == name)
    by_number = (port for number in numbers for port in usable if port.port == number)
    return next(by_name, None) or next(by_number, None) or usable[0]
