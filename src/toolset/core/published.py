"""Read back what is published: where health starts from after a restart."""

from collections.abc import Iterable
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
            # Somebody may have edited it: the base loader makes every scalar a string, so that no value can fail.
            document = yaml.load(config_map.entries.get(key, ""), Loader=yaml.CBaseLoader)  # noqa: S506
            urls.update(_urls(document))
        except yaml.YAMLError:
            continue
    return frozenset(urls)


def _urls(document: object) -> Iterable[str]:
    """Yield the URLs in ``document``; what YAML aliases share is looked at once."""
    seen: set[int] = set()
    left = [document]
    while left:
        node = left.pop()
        if isinstance(node, str):
            if node.startswith(("http://", "https://")):
                yield node
        elif id(node) not in seen:
            seen.add(id(node))
            left.extend(_children(node))


def _children(node: object) -> Iterable[object]:
    if isinstance(node, dict):
        return cast("dict[object, object]", node).values()
    return cast("list[object]", node) if isinstance(node, list) else ()
