"""Read back what is published: where health starts from after a restart."""

from collections.abc import Iterable, Iterator

import msgspec
import yaml

from toolset.core.overrides import NO_OVERRIDES, Overrides, apply
from toolset.core.strict_yaml import DEPTH_LIMIT
from toolset.core.verdict import Candidate
from toolset.model import ConfigMap


class Published(msgspec.Struct, frozen=True):
    """What stood in the ConfigMap as it was found.

    Attributes:
        urls: Every URL in a document of ours.
        overrides: Those in force; they may have moved a tool.
    """

    urls: frozenset[str] = frozenset()
    overrides: Overrides = NO_OVERRIDES

    def holds(self, tool: Candidate) -> bool:
        """Return whether ``tool`` was published."""
        return tool.url in self.urls or any(moved.url in self.urls for moved in apply([tool], self.overrides).tools)


NOTHING = Published()


def read_back(config_map: ConfigMap | None, owned: Iterable[str], overrides: Overrides = NO_OVERRIDES) -> Published:
    """Return what is published.

    Args:
        config_map: As it was found; ``None`` when there is none.
        owned: The keys of our documents; one that is not YAML any more is passed over.
        overrides: Those in force.
    """
    if config_map is None:
        return NOTHING
    urls: set[str] = set()
    for key in owned:
        try:
            urls.update([*_urls(config_map.entries.get(key, ""))])
        except (yaml.YAMLError, UnicodeEncodeError):
            continue
    return Published(frozenset(urls), overrides)


def _urls(text: str) -> Iterator[str]:
    """Yield the URLs in ``text``; of endpoints that name hosts and paths apart, each path below each host."""
    hosts: list[str] = []
    before = ""
    for name, value in _scalars(text):
        if value.startswith(("http://", "https://")):
            yield value
            if name == "hosts":
                hosts = [*hosts, value] if before == name else [value]
        elif name == "paths":
            base = value.removesuffix("/*")
            yield from (f"{host}{path}" for host in hosts for path in (base, base.removesuffix("/api")))
        before = name


def _scalars(text: str) -> Iterator[tuple[str, str]]:
    """Yield each scalar, and ``hosts`` or ``paths`` where it stands in a list of that name.

    Nothing is built, because somebody may have edited the text: no depth and no alias can do harm.
    """
    name, depth = "", 0
    for event in yaml.parse(text, Loader=yaml.CBaseLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_LIMIT:  # libyaml takes quadratic time
                return
        elif isinstance(event, yaml.CollectionEndEvent):
            name, depth = "", depth - 1
        elif isinstance(event, yaml.ScalarEvent):
            if event.value in {"hosts", "paths"}:
                name = event.value
            else:
                yield name, event.value
