"""Reduce a Service to what detection can read, so that its size in memory is bounded whatever its owner writes.

A Service may weigh 1.5 MB at the API server. Of that remain our own annotations, labels and a selector of a bounded
size, and a bounded number of ports. What is cut is either never read, or leads to a reason: a long annotation is
invalid, and a port beyond the bound cannot be used.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from toolset.core.detection.annotations import NAMES, VALUE_LIMIT
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detector import Detector
from toolset.core.detection.endpoint import PORTS_LIMIT
from toolset.core.detection.identity import LABEL_KEYS
from toolset.core.detection.schemes import CERTIFICATE_ANNOTATIONS
from toolset.model import Service, ServicePort

PAIRS_LIMIT: Final = 16
"""Labels, and pairs of a selector, that are kept as they are; of more only those that rules read are sure to stay. The
API server bounds the length of each: 317 characters of a key and 63 of a value."""
FEW_PORTS: Final = 8
"""So few ports are small whatever is in them, and are not looked into."""
DIGEST_KEY: Final = ""
"""Holds the digest of a selector that was cut, so that different selectors stay different; no label has this key."""


class Reduction:
    """Reduces Services; the same Service always gives the same result, and a reduced one stays as it is."""

    def __init__(self, prefix: str, detectors: Iterable[Detector] = ()) -> None:
        """Make it.

        Args:
            prefix: The prefix of our annotations.
            detectors: Whose label keys are read in addition to those of the built-in ones.
        """
        self._annotations = frozenset(f"{prefix}/{name}" for name in NAMES)
        every = (*BUILT_IN, *detectors)
        own = (key for each in every for key in (*each.label_keys, *each.installation_keys))
        required = (pair.partition("=")[0] for each in every for pair in each.requires_labels)
        self._label_keys = LABEL_KEYS.union(own, required)

    def reduce(self, service: Service) -> Service:
        """Return ``service`` without what detection does not read."""
        meta, spec = service.metadata, service.spec
        annotations, labels, selector, ports = meta.annotations, meta.labels, spec.selector, spec.ports
        if annotations:
            annotations = self._own(annotations)
        if labels and len(labels) > PAIRS_LIMIT:
            labels = self._readable(labels)
        if selector and len(selector) > PAIRS_LIMIT and DIGEST_KEY not in selector:
            selector = {**self._readable(selector), DIGEST_KEY: _digest(selector)}
        if ports and len(ports) > FEW_PORTS:
            ports = tuple(map(_port, ports[:PORTS_LIMIT]))
        if annotations is not meta.annotations or labels is not meta.labels:
            meta = replace(meta, annotations=annotations, labels=labels)
        if selector is not spec.selector or ports is not spec.ports:
            spec = replace(spec, selector=selector, ports=ports)
        return service if meta is service.metadata and spec is service.spec else Service(meta, spec)

    def _own(self, annotations: Mapping[str, str]) -> dict[str, str] | None:
        """Return our annotations; a value too long to be valid, or not ASCII, becomes empty: not valid either.

        Of others that detection reads only the name counts.
        """
        own = {name: _value(annotations[name]) for name in self._annotations & annotations.keys()}
        return own | dict.fromkeys(CERTIFICATE_ANNOTATIONS & annotations.keys(), "") or None

    def _readable(self, pairs: Mapping[str, str]) -> dict[str, str]:
        """Return the pairs that a rule reads, then others in the order of their keys up to the limit."""
        read = self._label_keys & pairs.keys()
        others = sorted(pairs.keys() - read)[: max(0, PAIRS_LIMIT - len(read))]
        return {key: pairs[key] for key in (*read, *others)}


def _value(text: str) -> str:
    return text if len(text) <= VALUE_LIMIT and text.isascii() else ""


def _digest(pairs: Mapping[str, str]) -> str:
    return hashlib.sha256(msgspec.json.encode(sorted(pairs.items()))).hexdigest()


def _port(port: ServicePort) -> ServicePort:
    """Return one of many ports without an ``appProtocol`` that is not read: it may be hundreds of characters long."""
    is_read = port.app_protocol is None or port.app_protocol.lower() in {"http", "https"}
    return port if is_read else replace(port, app_protocol=None)
