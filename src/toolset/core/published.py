"""Read back what is published: where health starts from after a restart."""

from collections.abc import Iterable, Mapping
from typing import cast

import yaml

from toolset.model import ConfigMap


def published_urls(config_map: ConfigMap | None, owned: Iterable[str]) -> frozenset[str]:
    """Return every URL that stands in a document of ours; a document that is not YAML is passed over."""
    if config_map is None:
        return frozenset()
    urls: set[str] = set()
    for key in owned:
        try:
            urls.update(_urls(yaml.load(config_map.entries.get(key, ""), Loader=yaml.CSafeLoader)))
        except (yaml.YAMLError, RecursionError):
            continue
    return frozenset(urls)


def _urls(node: object) -> Iterable[str]:
    if isinstance(node, str):
        if node.startswith(("http://", "https://")):
            yield node
    elif isinstance(node, Mapping):
        for child in cast("Mapping[object, object]", node).values():
            yield from _urls(child)
    elif isinstance(node, list):
        for child in cast("list[object]", node):
            yield from _urls(child)
