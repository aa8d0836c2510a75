"""Choose how a Service is reached: port, scheme and path; the host is always the Service's own."""

from collections.abc import Sequence
from functools import cached_property
from typing import Final, cast
from urllib.parse import urlsplit

import msgspec

from toolset.core.candidate import Evidence, Reason, Rejected
from toolset.core.detection.annotations import PORT_NAME, Annotations
from toolset.core.detection.identity import Words, is_called, separated
from toolset.core.detection.schemes import scheme_of, states_scheme
from toolset.model import PROTOCOL_TCP, Service, ServicePort

PORTS_LIMIT: Final = 64
"""The ports of a Service that are considered, in the order in which it declares them."""
_LISTED: Final = 5
"""Ports that a sentence lists."""
_COMMON_PORTS: Final = frozenset({80, 443, 8080, 8443})
"""Port numbers that no product has exclusively."""
_NOT_HTTP: Final = frozenset(
    {22, 25, 53, 2181, 2379, 3306, 4317, 5432, 5672, 6379, 8125, 9042, 9092, 9100, 11211, 27017}
)
"""Well-known ports of other software: databases, caches, queues, and the node exporter."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class PortSelector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Which port of a Service a product answers on.

    The first of these that a usable port matches: a name, a number, a phrase, a number or a name on the pods, the only
    port.

    Attributes:
        names: Port names, the preferred one first; also matched on the pods' side.
        numbers: Port numbers, the preferred one first; also matched on the pods' side.
        phrases: Endings of port names, generic endings aside, that only this product's Services have. Such a port is
            evidence on its own, whatever its number.
        only: Whether a single port may be any port; never on the evidence of a name alone.
        exclude_names: Port names that this product does not answer on; the product's own number takes precedence.
        exclude_numbers: Port numbers that this product does not answer on, on either side.
        tls: Port numbers, on either side, on which this product speaks TLS although nothing on the Service says so.
        either: Port numbers on which this product speaks HTTP or TLS, depending on its installation: both are likely.
    """

    names: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    phrases: tuple[str, ...] = ()
    only: bool = True
    exclude_names: frozenset[str] = frozenset()
    exclude_numbers: frozenset[int] = frozenset()
    tls: frozenset[int] = frozenset()
    either: frozenset[int] = frozenset()

    def choose(self, ports: Sequence[ServicePort], evidence: Evidence) -> ServicePort | None:
        """Return the port to use, or ``None`` if none matches."""
        possible = [port for port in ports if not self.exclude_numbers & {port.port, port.target_port}]
        fit = [port for port in possible if port.name not in self.exclude_names]
        by_name = (port for name in self.names for port in fit if port.name == name)
        by_number = (port for number in self.numbers for port in fit if port.port == number)
        by_phrase = (port for port in fit if self.is_called(port))
        by_target = (port for side in (*self.numbers, *self.names) for port in fit if port.target_port == side)
        own_number = (port for port in possible if port.port in self.numbers and port.port not in _COMMON_PORTS)
        if evidence is Evidence.PORT:
            chosen = next(by_phrase, None) or next(by_number, None)
        else:
            chosen = next(by_name, None) or next(by_number, None) or next(by_phrase, None)
        chosen = chosen or next(by_target, None) or next(own_number, None)
        if chosen is None and fit and self._may_take_any(fit, evidence):
            return fit[0]
        return chosen

    def is_called(self, port: ServicePort) -> bool:
        """Return whether the name of ``port`` is one that only this product's Services have."""
        return bool(self.phrases and port.name) and is_called(separated(port.name or ""), self._phrases)

    @cached_property
    def _phrases(self) -> tuple[Words, ...]:
        return tuple(separated(phrase) for phrase in self.phrases)

    def _may_take_any(self, fit: Sequence[ServicePort], evidence: Evidence) -> bool:
        if evidence is Evidence.ANNOTATION:
            return True
        if not self.only or len(fit) > 1 or evidence is not Evidence.LABEL:
            return False
        return _NOT_HTTP.isdisjoint({fit[0].port, fit[0].target_port})


class Endpoint(msgspec.Struct, frozen=True):
    """Where a Service is reached.

    Attributes:
        scheme: ``http`` or ``https``.
        host: The DNS name.
        port: The Service's port.
        path: Base path, empty or without a trailing slash.
        declared: The port as the Service declares it.
        scheme_is_stated: Whether an annotation or ``appProtocol`` states the scheme.
        path_is_stated: Whether an annotation states the path.
    """

    scheme: str
    host: str
    port: int
    path: str
    declared: ServicePort
    scheme_is_stated: bool = False
    path_is_stated: bool = False

    def moved_to(self, url: str) -> "Endpoint":
        """Return the endpoint of ``url``, which is checked, without a trailing slash."""
        parts = urlsplit(url)
        return Endpoint(
            scheme=parts.scheme,
            host=cast("str", parts.hostname),
            port=parts.port or _DEFAULT_PORTS[parts.scheme],
            path=parts.path,
            declared=self.declared,
            scheme_is_stated=True,
            path_is_stated=True,
        )


def endpoint(
    service: Service,
    asked: Annotations,
    wish: PortSelector,
    path: str,
    cluster_domain: str,
    evidence: Evidence,
) -> Endpoint | Rejected:
    """Return where ``service`` is reached, or why it is not.

    Args:
        service: The Service.
        asked: What its annotations request.
        wish: Which port the product answers on.
        path: The product's base path.
        cluster_domain: The DNS domain of the cluster.
        evidence: The weaker it is, the less a port may differ from the wish.
    """
    usable = [p for p in service.ports if (p.protocol or PROTOCOL_TCP) == PROTOCOL_TCP and 0 < p.port < 65536]
    if asked.port:
        chosen = next((p for p in usable if asked.port in {p.name, str(p.port)}), None)
        if chosen is None:
            listed = _listed(usable) + _cut(service)
            return Rejected(Reason.BAD_ANNOTATION, f"toolset-port={asked.port}: the Service has {listed}")
    else:
        chosen = wish.choose(usable, evidence)
        if chosen is None:
            return Rejected(Reason.NO_USABLE_PORT, _cut(service).removeprefix("; "))
    return Endpoint(
        scheme=asked.scheme or scheme_of(service, chosen, wish.tls),
        host=f"{service.metadata.name}.{service.metadata.namespace}.svc.{cluster_domain}",
        port=chosen.port,
        path=path if asked.path is None else asked.path,
        declared=chosen,
        scheme_is_stated=bool(asked.scheme) or states_scheme(chosen),
        path_is_stated=asked.path is not None,
    )


def _listed(ports: Sequence[ServicePort]) -> str:
    """Return the numbers of the first TCP ports, with their names if valid, and how many more there are."""
    some = [
        f"{port.name} ({port.port})" if PORT_NAME.fullmatch(port.name or "") else str(port.port)
        for port in ports[:_LISTED]
    ]
    more = f" and {len(ports) - _LISTED} more" if len(ports) > _LISTED else ""
    return f"{', '.join(some)}{more}" if some else "no TCP port"


def _cut(service: Service) -> str:
    """Return a note, for the end of a sentence, that ports may have been cut; empty if none were."""
    return f"; only the first {PORTS_LIMIT} ports are considered" if len(service.ports) >= PORTS_LIMIT else ""
