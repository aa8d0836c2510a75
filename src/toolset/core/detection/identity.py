"""What a Service calls itself: its name, and the product words in its labels and in its selector."""

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
"""Labels that say what something is: the recommended ones, those older charts and manifests use, kompose's, and the one
by which the Prometheus operator tells a server from an agent."""

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
"""Words at the end of a name that say how a Service is exposed or which one it is, not what it is. So does a number."""


class Identity(msgspec.Struct, frozen=True):
    """What a Service says it is.

    Attributes:
        names: What it calls itself, as words, with the evidence that is.
        components: Values of the component labels.
        label_keys: Keys of its labels and its selector.
    """

    names: tuple[tuple[Words, Evidence], ...]
    components: frozenset[str]
    label_keys: frozenset[str]

    @property
    def kinds(self) -> frozenset[str]:
        """The last word of each name, and the last two, generic endings aside: what it is, where others say of what."""
        whats = [words[: ends(words)[-1]] for words, _ in self.names]
        return frozenset("-".join(what[-count:]) for what in whats for count in (1, 2))


def identify(service: Service) -> Identity:
    """Return what ``service`` says it is."""
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
    """Return how many of ``words`` are left as they are, and without each generic word that is taken off their end."""
    end = len(words)
    while end > 1 and (words[end - 1] in GENERIC or words[end - 1].isdecimal()):
        end -= 1
    return range(len(words), end - 1, -1)


def is_called(words: Words, phrases: Iterable[Words]) -> bool:
    """Tell whether ``words``, generic endings aside, end with one of ``phrases``."""
    return any(words[:end][-len(phrase) :] == phrase for end in ends(words) for phrase in phrases)
