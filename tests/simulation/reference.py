"""What the ConfigMap must say: a pure function of Services, Namespaces, backends and the admin's overrides.

It is the reference of the fault runs on a real API server, for the Services that are eligible.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import yaml

from integration.demands import PREFIX, documents
from toolset.sim.statuses import Object

SWITCH: Final = f"{PREFIX}/toolset"
TRUST: Final = f"{PREFIX}/toolset-trust"


def listed(text: str, section: str) -> frozenset[str]:
    """Return which Services the admin's overrides name in a section, as ``namespace/name``."""
    try:
        found: dict[str, list[str]] | str | None = yaml.safe_load(text or "{}")
    except yaml.YAMLError:
        return frozenset()
    return frozenset(found.get(section, ())) if isinstance(found, dict) else frozenset()


def eligible(service: Object | None, namespace: Object | None, overrides: str) -> Object | None:
    """Return a Service as the reference needs it; ``None`` if it may not be published, however healthy it is.

    A trusted Service is published unless it opts out. Another one has to opt in, needs an approval (the settings say
    ``pending``), and comes after the trusted ones. Nothing of a namespace that ends is published.
    """
    if service is None or namespace is None or "deletionTimestamp" in namespace["metadata"]:
        return None
    metadata = service["metadata"]
    path, annotations = f"{metadata['namespace']}/{metadata['name']}", dict(metadata.get("annotations", {}))
    if path in listed(overrides, "suppress") or annotations.get(SWITCH) == "disabled":
        return None
    changed = dict[str, Any]()
    if not is_trusted(namespace):
        if annotations.get(SWITCH) != "enabled" or path not in listed(overrides, "approve"):
            return None
        changed["creationTimestamp"] = f"~{metadata['creationTimestamp']}"  # later than any date
    if f"{SWITCH}-type" not in annotations:  # its labels decide
        annotations.pop(SWITCH, None)
    return {**service, "metadata": {**metadata, **changed, "annotations": annotations}}


def is_trusted(namespace: Object) -> bool:
    """Return whether the label of a Namespace leaves it trusted."""
    return bool(namespace["metadata"].get("labels", {}).get(TRUST) != "untrusted")


def demanded(services: Iterable[Object], is_up: Callable[[str], bool]) -> dict[str, Any]:
    """Return the documents that the ConfigMap must have, by key, for eligible Services."""
    return documents(services, is_up)
