"""What a Service calls itself: its name, and the product words in its labels and in its selector."""

import re
from collections.abc import Iterator
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
    }
)
"""Labels that say what something is: the recommended ones, those older charts and manifests use, and kompose's."""

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
        "default",
        "0",
        "1",
    }
)
"""Words at the end of a name that say how a Service is exposed or which one it is, not what it is."""


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
        """The last word of each name, generic endings aside: what it is, where the words before it say of what."""
        return frozenset(next((word for word in reversed(words) if word not in GENERIC), "") for words, _ in self.names)


def identify(service: Service) -> Identity:
    """Return what ``service`` says it is."""
    labels, selector = service.labels, service.spec.selector or {}
    said = labels | selector if selector != labels else labels
    values = {value for source in (labels, selector) for key, value in source.items() if key in LABEL_KEYS}
    names = [(tuple(_SEPARATOR.split(value.lower())), Evidence.LABEL) for value in values if value]
    names.append((tuple(_SEPARATOR.split(service.metadata.name.lower())), Evidence.NAME))
    components = (source[key] for source in (labels, selector) for key in COMPONENT_KEYS if source.get(key))
    return Identity(
        names=tuple(names),
        components=frozenset(component.lower() for component in components),
        label_keys=frozenset(said),
    )


def endings(words: Words) -> Iterator[Words]:
    """Return ``words`` as they are, then without each generic word that is taken off their end."""
    yield words
    end = len(words)
    while end > 1 and words[end - 1] in GENERIC:
        end -= 1
        yield words[:end]
