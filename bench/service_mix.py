"""Services as clusters have them: with the labels, annotations and managed fields that Helm and kubectl leave.

The sizes come from a corpus of 325 Services of 58 public repositories (tests/unit/test_service_mix.py holds the mix to
it): 101 that charts and operators render, 224 that stand in files. In each of the two groups, the means of the number
of labels, selector pairs and ports are those of the corpus within a tenth, as is the share of headless Services. What
an installation adds is not in the corpus: two annotations by Helm, the last applied configuration by kubectl, and one
entry of managedFields by either.

The shares of the groups are an assumption: 7 of 10 by Helm. In the corpus 3 of 10 are rendered, because repositories
have many examples; in clusters most Services come from charts. It is the choice with the larger Services, so memory is
overestimated rather than underestimated.

No Service is a backend. Each release has three Services and a name of its own; versions and words recur.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from statistics import mean
from typing import Any, Final, Literal

import msgspec

from figures import shown
from seeding import NAMESPACES, Seed, plain

Manager = Literal["helm", "kubectl-client-side-apply"]


class Shape(msgspec.Struct, frozen=True):
    """Services that have equal numbers of everything.

    Attributes:
        share: How many of 100 Services.
        manager: What installs them.
        labels: Number of labels.
        selector: Number of selector pairs.
        ports: Number of ports.
        annotations: Number of annotations in addition to those of the manager.
        headless: Whether they have no cluster IP.
    """

    share: int
    manager: Manager
    labels: int
    selector: int
    ports: int
    annotations: int = 0
    headless: bool = False


MIX: Final = (
    Shape(26, "helm", 6, 3, 1),
    Shape(11, "helm", 6, 3, 2, annotations=1),
    Shape(9, "helm", 7, 4, 1, headless=True),
    Shape(6, "helm", 7, 4, 2),
    Shape(7, "helm", 4, 2, 1),
    Shape(6, "helm", 3, 1, 3),
    Shape(5, "helm", 6, 3, 6),
    Shape(11, "kubectl-client-side-apply", 1, 1, 1),
    Shape(4, "kubectl-client-side-apply", 0, 1, 1),
    Shape(3, "kubectl-client-side-apply", 2, 2, 1),
    Shape(3, "kubectl-client-side-apply", 2, 2, 1, headless=True),
    Shape(4, "kubectl-client-side-apply", 3, 1, 2),
    Shape(3, "kubectl-client-side-apply", 5, 3, 3, annotations=2),
    Shape(2, "kubectl-client-side-apply", 6, 4, 4),
)
"""Ordered by manager; the shares add up to 100."""
LARGE: Final = Shape(100, "kubectl-client-side-apply", 6, 2, 2, annotations=2)
"""Larger than most: what each Service has in the variant `large`."""

_ORDER: Final = tuple(shape for shape in MIX for _ in range(shape.share))
_STRIDE: Final = 37
"""Prime to 100, so that 100 Services in a row have all shapes, and neighbours differ."""
_COMPONENTS: Final = ("api", "worker", "web")
_DOMAINS: Final = ("checkout", "billing", "catalog", "identity", "shipping", "orders", "search", "media")
_ANNOTATIONS: Final = {"prometheus.io/scrape": "true", "prometheus.io/path": "/internal/metrics"}
_PORTS: Final = (("http", 80), ("https", 443), ("grpc", 8081), ("admin", 8444), ("health", 8086), ("debug", 6060))


def realistic(index: int) -> Seed:
    """Return a Service of the mix, by its number."""
    return _service(_ORDER[index * _STRIDE % 100], index)


def large(index: int) -> Seed:
    """Return a Service with six labels, two selector pairs, two ports and three annotations, by its number."""
    return _service(LARGE, index)


VARIANTS: Final[Mapping[str, Callable[[int], Seed]]] = {"realistic": realistic, "large": large, "plain": plain}
"""What the clusters of the benchmarks can hold, by name."""


def described(variant: str) -> str:
    """Return the sizes of a variant, for a page."""
    seeds = [VARIANTS[variant](index) for index in range(100)]
    shares = ", ".join(f"{count} % by {name}" for name, count in Counter(seed.manager for seed in seeds).items())
    metas, specs = ([seed.manifest[part] for seed in seeds] for part in ("metadata", "spec"))
    sizes = {
        "labels": mean(len(meta.get("labels", {})) for meta in metas),
        "selector pairs": mean(len(spec["selector"]) for spec in specs),
        "ports": mean(len(spec["ports"]) for spec in specs),
        "annotations": mean(len(meta.get("annotations", {})) for meta in metas),
    }
    means = ", ".join(f"{shown(size)} {name}" for name, size in sizes.items())
    return f"The clusters hold {variant} Services, installed {shares}: on average {means}; each with managedFields."


def _service(shape: Shape, index: int) -> Seed:
    release = f"{_DOMAINS[index // 3 % len(_DOMAINS)]}-{index // 3:05}"
    component = _COMPONENTS[index % 3]
    labels = _labels(shape, release, component, index // 3)
    meta: dict[str, Any] = {"name": f"{release}-{component}", "namespace": NAMESPACES[index // 3 % len(NAMESPACES)]}
    if shape.labels:
        meta["labels"] = _first(labels, shape.labels)
    meta["annotations"] = _first(_ANNOTATIONS, shape.annotations)
    spec: dict[str, Any] = {
        "ports": [{"name": n, "port": p, "protocol": "TCP", "targetPort": n} for n, p in _PORTS[: shape.ports]],
        "selector": _first(labels, shape.selector),
    }
    if shape.headless:
        spec["clusterIP"] = "None"
    meta["annotations"] |= _installed(shape.manager, release, {"metadata": meta, "spec": spec})
    return Seed(shape.manager, {"metadata": meta, "spec": spec})


def _labels(shape: Shape, release: str, component: str, number: int) -> dict[str, str]:
    """Return labels; those of a selector come first."""
    if shape.labels <= 2:
        return {"app": f"{release}-{component}", "tier": component}
    domain = release.partition("-")[0]
    version = f"{1 + number % 4}.{number % 10}.0"
    labels = {
        "app.kubernetes.io/name": domain,
        "app.kubernetes.io/instance": release,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/version": version,
    }
    if shape.manager == "helm":
        labels |= {"helm.sh/chart": f"{domain}-{version}", "app.kubernetes.io/managed-by": "Helm"}
    return labels | {"app.kubernetes.io/part-of": f"{domain}-platform", "app": domain}


def _installed(manager: Manager, release: str, manifest: dict[str, Any]) -> dict[str, str]:
    """Return the annotations that the installation of a manifest adds."""
    if manager == "helm":
        return {
            "meta.helm.sh/release-name": release,
            "meta.helm.sh/release-namespace": manifest["metadata"]["namespace"],
        }
    applied = msgspec.json.encode({"apiVersion": "v1", "kind": "Service", **manifest}, order="deterministic")
    return {"kubectl.kubernetes.io/last-applied-configuration": f"{applied.decode()}\n"}


def _first(pairs: Mapping[str, str], count: int) -> dict[str, str]:
    return dict(islice(pairs.items(), count))
