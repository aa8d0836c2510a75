"""What is published when a pipeline starts: the initial health. After a restart it is read back."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec
import yaml

from toolset.core.candidate import Candidate, Variant
from toolset.core.json_values import leaves
from toolset.core.overrides.overrides import NO_OVERRIDES, Overrides, apply
from toolset.core.strict_yaml import YAML_DEPTH_LIMIT
from toolset.model import ConfigMap, Key


class Published(msgspec.Struct, frozen=True):
    """What is published when a pipeline starts.

    Attributes:
        urls: Every URL in the owned documents.
        overrides: Those in force; they may have changed the URL of a tool.
        tools: The discovered tool of each Service, before overrides; ``None`` if it is not known, and the documents
            decide.
    """

    urls: frozenset[str] = frozenset()
    overrides: Overrides = NO_OVERRIDES
    tools: Mapping[Key, str] | None = None

    def holds(self, tool: Candidate) -> bool:
        """Return whether ``tool`` is published, at any of its variants."""
        return self.variant(tool) is not None

    def variant(self, tool: Candidate) -> Variant | None:
        """Return the variant at which ``tool`` is published; ``None`` when it is not.

        If an override sets the URL, every variant would be published with it: then it is the first one.
        """
        if self.tools is not None:
            return _at(tool, {self.tools.get(tool.key, "")})
        return _at(tool, self.urls) or (
            tool.variant if not self.urls.isdisjoint(_places(tool, self.overrides)) else None
        )

    def lists(self, tool: Candidate) -> bool:
        """Return whether the Service of ``tool`` is published, at any URL."""
        return tool.key in self.tools if self.tools is not None else self.holds(tool)

    def awaits(self, tool: Candidate) -> bool:
        """Return whether the first write waits for a probe of ``tool``, so that it stays published meanwhile."""
        return self.tools is None or (tool.key in self.tools and not self.holds(tool))


NOTHING = Published()


def _at(tool: Candidate, urls: AbstractSet[str]) -> Variant | None:
    """Return the variant of ``tool`` whose URL is among ``urls``.

    With the longest path: if a document lists hosts and paths separately, the host alone is among them too.
    """
    if not tool.alternatives and not tool.fallbacks:
        return tool.variant if tool.url in urls else None
    found = [each for each in (*tool.variants, *tool.fallbacks) if tool.at(each).url in urls]
    return max(found, key=lambda variant: len(variant.path), default=None)


def _places(tool: Candidate, overrides: Overrides) -> Iterator[str]:
    """Yield every form of the URL of ``tool`` in a document."""
    yield tool.url
    applied = apply([tool], overrides)
    yield from (moved.url for moved in applied.tools)
    for patch in (*applied.holmesgpt.values(), *applied.kubernaut.values()):
        yield from (leaf for _, leaf in leaves(patch) if isinstance(leaf, str))


def read_back(config_map: ConfigMap | None, owned: Iterable[str], overrides: Overrides = NO_OVERRIDES) -> Published:
    """Return what is published.

    Args:
        config_map: The existing ConfigMap; ``None`` if there is none.
        owned: The keys of owned documents; one that is not YAML any more is skipped.
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
    """Yield the URLs in ``text``; for separate lists of hosts and paths, each path below each host."""
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
    """Yield each scalar, and ``hosts`` or ``paths`` if it is in a list of that name.

    No objects are built, because the text may have been edited: no depth and no alias can do harm.
    """
    name, depth = "", 0
    for event in yaml.parse(text, Loader=yaml.CBaseLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > YAML_DEPTH_LIMIT:  # libyaml takes quadratic time
                return
        elif isinstance(event, yaml.CollectionEndEvent):
            name, depth = "", depth - 1
        elif isinstance(event, yaml.ScalarEvent):
            if event.value in {"hosts", "paths"}:
                name = event.value
            else:
                yield name, event.value
