"""Reduce a Service to what detection reads, so that its size in memory is small, and bounded whatever its owner writes.

A Service may have 1.5 MB at the API server. What remains is this service's annotations, labels and a selector of a
bounded size, and a bounded number of ports. What is cut is either never read, or results in a reason: a long
annotation is invalid, and a port beyond the limit cannot be used. Ports and namespaces that many Services have are one
object: a third of the memory of Services with two ports, six labels and two selector pairs.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from toolset.core.detection.annotations import NAMES, VALUE_LIMIT, misspelt
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detector import Detector
from toolset.core.detection.endpoint import PORTS_LIMIT
from toolset.core.detection.identity import LABEL_KEYS
from toolset.core.detection.schemes import CERTIFICATE_ANNOTATIONS
from toolset.model import Service, ServicePort

PAIRS_LIMIT: Final = 16
"""Maximum number of labels, and of selector pairs, that are kept unchanged; beyond it only those that rules read are
always kept. The API server limits the length of each: 317 characters of a key and 63 of a value."""
FEW_PORTS: Final = 8
"""Up to this many ports are small whatever they contain, and are not reduced."""
SHARED_LIMIT: Final = 1024
"""Maximum number of different namespaces, and of lists of ports, that are remembered; the latter take 2 MB at most."""
DIGEST_KEY: Final = ""
"""Key of the digest of a selector that was cut, so that different selectors stay different; no label has this key."""


T = TypeVar("T")


class Shared(Generic[T]):
    """Makes equal values one object, as long as there are not too many different ones."""

    def __init__(self) -> None:
        self._known: dict[T, T] = {}

    def one(self, value: T) -> T:
        """Return the first of all values that equal ``value``, or itself."""
        if len(self._known) >= SHARED_LIMIT:
            self._known.clear()
        return self._known.setdefault(value, value)


class Reduction:
    """Reduces Services; deterministic and idempotent, apart from which equal objects are one."""

    def __init__(self, prefix: str, detectors: Iterable[Detector] = ()) -> None:
        """Create it.

        Args:
            prefix: The annotation prefix.
            detectors: Their label keys are read in addition to those of the built-in ones.
        """
        self._prefix = prefix
        self._annotations = frozenset(f"{prefix}/{name}" for name in NAMES)
        every = (*BUILT_IN, *detectors)
        own = (key for each in every for key in (*each.label_keys, *each.installation_keys))
        required = (pair.partition("=")[0] for each in every for pair in each.requires_labels)
        self._label_keys = LABEL_KEYS.union(own, required)
        self._words = Shared[str]()
        self._ports = Shared[tuple[ServicePort, ...]]()

    def reduce(self, service: Service) -> Service:
        """Return ``service`` without what detection does not read."""
        meta, spec = service.metadata, service.spec
        annotations, labels, selector, ports = meta.annotations, meta.labels, spec.selector, spec.ports
        namespace = self._words.one(meta.namespace)
        kind = self._words.one(spec.type) if spec.type else spec.type
        if annotations:
            annotations = self._own(annotations)
        if labels and len(labels) > PAIRS_LIMIT:
            labels = self._readable(labels)
        if selector and len(selector) > PAIRS_LIMIT and DIGEST_KEY not in selector:
            selector = {**self._readable(selector), DIGEST_KEY: _digest(selector)}
        if ports:
            few = len(ports) <= FEW_PORTS
            ports = self._ports.one(ports) if few else tuple(map(_port, ports[:PORTS_LIMIT]))
        if namespace is not meta.namespace or annotations is not meta.annotations or labels is not meta.labels:
            meta = replace(meta, namespace=namespace, annotations=annotations, labels=labels)
        if selector is not spec.selector or ports is not spec.ports:
            spec = replace(spec, type=kind, selector=selector, ports=ports)
        return service if meta is service.metadata and spec is service.spec else Service(meta, spec)

    def _own(self, annotations: Mapping[str, str]) -> dict[str, str] | None:
        """Return this service's annotations; a value that is too long or not ASCII becomes empty, which is invalid too.

        For other annotations that detection reads, and for misspelt ones, only the name is kept.
        """
        own = {name: _value(annotations[name]) for name in self._annotations & annotations.keys()}
        named = (*(CERTIFICATE_ANNOTATIONS & annotations.keys()), *misspelt(annotations, self._prefix))
        return own | dict.fromkeys(named, "") or None

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
    """Return one of many ports, without an ``appProtocol`` that is not read: it may be hundreds of characters long."""
    is_read = port.app_protocol is None or port.app_protocol.lower() in {"http", "https"}
    return port if is_read else replace(port, app_protocol=None)
