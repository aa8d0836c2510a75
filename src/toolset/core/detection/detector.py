"""A detector: one product, how it is recognised and how it is reached. Data; the engine is ``detection``."""

import re
from typing import Annotated, Final

import msgspec

from toolset.core.candidate import HealthCheck
from toolset.core.detection.annotations import TYPE_PATTERN, is_path, is_type
from toolset.core.detection.checks import TYPE_CHECKS
from toolset.core.detection.endpoint import PortSelector
from toolset.core.detection.identity import Identity
from toolset.model import Service

DEFAULT_CHECK: Final = HealthCheck("/")
ANY_PORT: Final = PortSelector()
_QUERY: Final = re.compile(r"[A-Za-z0-9._~!$'()*+,;=:@/?&%-]{0,256}")
HELPERS: Final = frozenset(
    {
        "agent",
        "alertmanager",
        "alerting",
        "alerts",
        "pushgateway",
        "exporter",
        "exporters",
        "operator",
        "webhook",
        "adapter",
        "injector",
        "discovery",
        "memberlist",
        "gossip",
        "kibana",
        "dashboards",
        "mcp",
        "renderer",
        "sidecar",
        "zipkin",
        "cassandra",
        "state-metrics",
    }
)
"""Words for components next to a backend that carry its name, and are never the backend itself."""

Word = Annotated[
    str, msgspec.Meta(pattern=TYPE_PATTERN, description="a word of at most 40 lower-case letters, digits and `-`")
]
Phrase = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z",
        max_length=63,
        description="words of lower-case letters and digits, joined by `-`",
    ),
]


class KnownPort(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A port that identifies a product.

    Attributes:
        name: Its name on the Service.
        number: Its number on the Service.
    """

    name: str
    number: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Publish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a detector in the settings publishes its type.

    Attributes:
        toolset: A toolset of HolmesGPT, one of ``backends.mapping.TOOLSETS``.
        url_key: The field of its config that holds the URL; may be left out, because the toolset decides.
        config: Further fields of its config, from the ``options`` of the toolset.
    """

    toolset: Annotated[str, msgspec.Meta(max_length=64)]
    url_key: Annotated[str, msgspec.Meta(max_length=64)] = ""
    config: dict[
        str,
        Annotated[
            str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z", description="at most 64 letters, digits, `-` and `_`")
        ],
    ] = {}


class Detector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one product is recognised and reached.

    Attributes:
        product: What it recognises.
        type: The tool type that the product is used as.
        phrases: What the product calls itself, words joined by ``-``: a label or a name that ends with one of them,
            generic endings aside, is evidence.
        component_phrases: The same, where a component label says which part it is.
        label_keys: Label keys that only this product's Services carry or select by.
        known_ports: Ports that are evidence on their own; the probe then must prove the identity.
        requires_ports: The Service must also have one of these ports; empty requires none.
        only_names: Names of which the Service must have one; empty allows any.
        components: Where a Service has component labels, one of them must be among these; empty allows any.
        requires_labels: Labels, ``key=value``, all of which the Service must have.
        excluded_words: Last words of a name that exclude the Service, such as ``exporter``, one or two joined by ``-``.
        port: Which port to use.
        path: Base path.
        parts: Names of the parts of an installation that answer for all of it, the preferred one first: Services of one
            namespace whose selectors differ only in these lead to one backend.
        installation_keys: Label keys of a selector whose value names the installation.
        sub_paths: Other base paths at which installations of this product are known to serve, the commonest first; the
            probe tries them when an answer says that the base path is wrong.
        check: How to probe it; the default for a detector of a built-in type is the check of that type.
        publish: The toolset of HolmesGPT for a type of the settings; ``None`` for a built-in type, and for one that is
            read over HTTP.
        source: The source of the rule.
    """

    product: Word
    type: Word
    phrases: tuple[Phrase, ...] = ()
    component_phrases: tuple[Phrase, ...] = ()
    label_keys: tuple[str, ...] = ()
    known_ports: tuple[KnownPort, ...] = ()
    requires_ports: tuple[KnownPort, ...] = ()
    only_names: frozenset[str] = frozenset()
    components: frozenset[str] = frozenset()
    requires_labels: tuple[str, ...] = ()
    excluded_words: frozenset[str] = HELPERS
    port: PortSelector = ANY_PORT
    path: str = ""
    parts: tuple[Phrase, ...] = ()
    installation_keys: tuple[str, ...] = ()
    sub_paths: Annotated[tuple[str, ...], msgspec.Meta(max_length=3)] = ()
    check: HealthCheck = DEFAULT_CHECK
    publish: Publish | None = None
    source: str = ""

    def suits(self, service: Service) -> bool:
        """Return whether ``service`` has what this product's Services always have."""
        if self.only_names and service.metadata.name not in self.only_names:
            return False
        if self.requires_labels and not self._is_labelled(service):
            return False
        if not self.requires_ports:
            return True
        declared = {(port.name, port.port) for port in service.ports}
        return any((port.name, port.number) in declared for port in self.requires_ports)

    def _is_labelled(self, service: Service) -> bool:
        pairs = (pair.partition("=") for pair in self.requires_labels)
        return all(service.labels.get(key) == value for key, _, value in pairs)

    def objection(self, identity: Identity) -> str:
        """Return what excludes this product, in a few fixed words; empty if nothing does."""
        if denied := self.excluded_words & identity.kinds:
            return f"but it is called {min(denied)}"
        if self.components and identity.components and not self.components & identity.components:
            return "but its component label names another part"
        return ""


def fault(detector: Detector) -> str:
    """Return what is wrong with a custom detector, naming the field; empty if it is valid."""
    if not is_type(detector.type):
        return f"`type`: `{detector.type}` is taken; choose another word"
    names = detector.phrases or detector.component_phrases or detector.label_keys
    if not (names or detector.known_ports or detector.port.phrases):
        return "it can match nothing; give it `phrases`, `label_keys`, `known_ports` or `port.phrases`"
    if (detector.known_ports or detector.port.phrases) and not effective_check(detector).proves:
        evidence = "known_ports" if detector.known_ports else "port.phrases"
        return f"`{evidence}` need `check.identity`, `check.body` or `check.fields`, which prove what answers there"
    for name, paths in (("path", (detector.path,)), ("sub_paths", detector.sub_paths)):
        if any(path and (not is_path(path) or path.endswith("/")) for path in paths):
            return f"`{name}`: expected an absolute path without a trailing slash"
    path, mark, query = detector.check.path.partition("?")
    if not is_path(path) or (mark and not _QUERY.fullmatch(query)):
        return "`check.path`: expected an absolute path, which a query may follow"
    return ""


def effective_check(detector: Detector) -> HealthCheck:
    """Return how to probe what ``detector`` recognises; the default of a built-in type is that type's check."""
    return TYPE_CHECKS.get(detector.type, DEFAULT_CHECK) if detector.check == DEFAULT_CHECK else detector.check
