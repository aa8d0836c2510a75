"""What a Service calls itself: its name, and the product words in its labels and in its selector."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from toolset.core.verdict import Evidence
from toolset.model import Service

Words = tuple[str, ...]

LABEL_KEYS: Final = (
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
)
"""Labels that say what something is: the recommended ones, those older charts and manifests use, and kompose's."""

COMPONENT_KEYS: Final = ("app.kubernetes.io/component", "component")

_SEPARATOR: Final = re.compile(r"[-._/]")
_GENERIC: Final = frozenset(
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
        names: What it calls itself, as words, with the evidence that is; strongest first.
        components: Values of the component labels.
        keys: Keys of its labels and its selector.
        kinds: The last word of each of its names, generic endings aside: what it is, where the words before it say
            of what.
    """

    names: tuple[tuple[Words, Evidence], ...]
    components: frozenset[str]
    keys: frozenset[str]
    kinds: frozenset[str]


def identify(service: Service) -> Identity:
    """Return what ``service`` says it is."""
    labels, selector = service.labels, service.spec.selector or {}
    own = _SEPARATOR.split(service.metadata.name.lower())
    names: list[tuple[Words, Evidence]] = []
    for source in (labels, selector):
        for key in LABEL_KEYS:
            value = source.get(key)
            if value:
                names.append((tuple(_SEPARATOR.split(value.lower())), Evidence.LABEL))
    names.append((tuple(own), Evidence.NAME))
    components = (source.get(key, "") for source in (labels, selector) for key in COMPONENT_KEYS)
    return Identity(
        names=tuple(names),
        components=frozenset(component.lower() for component in components if component),
        keys=frozenset(labels.keys() | selector.keys()),
        kinds=frozenset(_last(words) for words, _ in names),
    )


def _last(words: Words) -> str:
    return next((word for word in reversed(words) if word not in _GENERIC), "")


def endings(words: Words, longest: int) -> Iterator[Words]:
    """Return the phrases that ``words`` end with, longest first, after each generic word is taken off the end."""
    end = len(words)
    while end:
        for start in range(max(0, end - longest), end):
            yield words[start:end]
        end -= 1
        if words[end] not in _GENERIC:
            return
