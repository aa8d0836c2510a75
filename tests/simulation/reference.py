"""What the ConfigMap must say: a pure function of Services, backends and the admin's overrides.

It is the reference of the fault runs on a real API server, and what ``suppress`` hides.
"""

from collections.abc import Callable, Iterable
from typing import Any

import yaml

from integration.demands import documents
from toolset.sim.statuses import Object


def suppressed(text: str) -> frozenset[str]:
    """Return which Services the admin's overrides hide, as ``namespace/name``."""
    try:
        found: dict[str, list[str]] | str | None = yaml.safe_load(text or "{}")
    except yaml.YAMLError:
        return frozenset()
    return frozenset(found.get("suppress", ())) if isinstance(found, dict) else frozenset()


def demanded(services: Iterable[Object], is_up: Callable[[str], bool], hidden: frozenset[str]) -> dict[str, Any]:
    """Return the documents that must stand in the ConfigMap, by key."""
    seen = [each for each in services if f"{each['metadata']['namespace']}/{each['metadata']['name']}" not in hidden]
    return documents(seen, is_up)
