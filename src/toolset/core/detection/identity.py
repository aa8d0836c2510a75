"""The identity of a Service: its name, and the product words in its labels and in its selector."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from toolset.core.candidate import Evidence
from toolset.model import Service

Words = tuple[str, ...]

LABEL_KEYS: Final = frozenset(
    {
        "app.kubernetes.io/name",
        "app",
        "k8s-app",
        "app.kubernetes.io/component",
        "component",
        "name",
        "app-name",
        "service",
        "io.kompose.service",
        "kubernetes.io/name",
        "operator.prometheus.io/mode",
    }
)
"""Labels that name a product: the recommended ones, those of older charts and manifests, kompose's, and the one with
which the Prometheus operator distinguishes a server from an agent."""

COMPONENT_KEYS: Final = ("app.kubernetes.io/component", "component")

_SEPARATOR: Final = re.compile(r"[-._/]")
GENERIC: Final = frozenset(
    {
        "service",
        "svc",
        "server",
        "http",
        "https",
        "web",
        "ui",
        "api",
        "internal",
        "external",
        "nodeport",
        "clusterip",
        "lb",
        "loadbalancer",
        "headless",
        "hl",
        "np",
        "out",
        "public",
        "private",
        "local",
        "node",
        "k8s",
        "main",
        "primary",
        "cluster",
        "prod",
        "dev",
        "stage",
        "staging",
        "test",
        "testing",
        "qa",
        "uat",
        "default",
    }
)
"""Words at the end of a name that say how a Service is exposed or which one it is, not what it is; like numbers."""


class Identity(msgspec.Struct, frozen=True):
    """The identity of a Service.

    Attributes:
        names: Its names, as words, each with its evidence.
        components: Values of the component labels.
        label_keys: Keys of its labels and its selector.
    """

    names: tuple[tuple[Words, Evidence], ...]
    components: frozenset[str]
    label_keys: frozenset[str]

    @property
    def kinds(self) -> frozenset[str]:
        """The last word of each name, and the last two, generic endings aside: the kind of component."""
        whats = [words[: ends(words)[-1]] for words, _ in self.names]
        return frozenset("-".join(what[-count:]) for what in whats for count in (1, 2))


def identify(service: Service) -> Identity:
    """Return the identity of ``service``."""
    labels, selector = service.labels, service.spec.selector or {}
    sources = (labels,) if selector.items() <= labels.items() else (labels, selector)
    values = {value for source in sources for key, value in source.items() if key in LABEL_KEYS}
    names = [(separated(value), Evidence.LABEL) for value in values if value]
    names.append((separated(service.metadata.name), Evidence.NAME))
    components = (source[key] for source in sources for key in COMPONENT_KEYS if source.get(key))
    return Identity(
        names=tuple(names),
        components=frozenset(component.lower() for component in components),
        label_keys=frozenset({*labels, *selector}),
    )


def separated(text: str) -> Words:
    """Return the words of a name or of a label's key or value; at least one, which may be empty."""
    return tuple(_SEPARATOR.split(text.lower()))


def ends(words: Words) -> Sequence[int]:
    """Return the lengths of ``words`` as they are, and after removing each generic word at their end."""
    end = len(words)
    while end > 1 and (words[end - 1] in GENERIC or words[end - 1].isdecimal()):
        end -= 1
    return range(len(words), end - 1, -1)


def is_called(words: Words, phrases: Iterable[Words]) -> bool:
    """Return whether ``words``, generic endings aside, end with one of ``phrases``."""
    return any(words[:end][-len(phrase) :] == phrase for end in ends(words) for phrase in phrases)
