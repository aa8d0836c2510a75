"""A type of backend: its detectors and its mapping to toolsets, as one value."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

import msgspec

from toolset.core.backends.mapping import TOOLSETS, ToolsetMapping, Types
from toolset.core.detection.detector import Detector, Publish


class BackendType(msgspec.Struct, frozen=True, kw_only=True):
    """One type of backend. To support another one, add a value to the catalog.

    Attributes:
        type: The type: the word that annotations and documents use.
        detectors: How its products are recognised, in order.
        mapping: How its tools are published.
        opt_in: Whether its detectors apply only if the settings enable them, or an annotation names the type.
    """

    type: str
    detectors: tuple[Detector, ...]
    mapping: ToolsetMapping
    opt_in: bool = False


def types_of(backends: Iterable[BackendType], own: Iterable[Detector] = ()) -> Types:
    """Return how each type is published.

    Args:
        backends: The types that are built in.
        own: The detectors of the settings; those with ``publish`` add their type.
    """
    built_in = {backend.type: backend.mapping for backend in backends}
    added = {detector.type: _mapping(detector.publish) for detector in own if detector.publish}
    return MappingProxyType({**added, **built_in})


def _mapping(publish: Publish) -> ToolsetMapping:
    return ToolsetMapping(toolsets=(publish.toolset,), config=publish.config)


def publish_fault(detector: Detector, built_in: Types, before: Mapping[str, Publish | None]) -> tuple[str, str] | None:
    """Return the field of a detector in the settings whose ``publish`` is wrong, and why; ``None`` if none is.

    Args:
        detector: The detector.
        built_in: The types that are built in.
        before: By type, ``publish`` of the detectors before it in the settings.
    """
    publish = detector.publish
    if detector.type in before and before[detector.type] != publish:
        return "publish", f"another detector of the type `{detector.type}` is published in another way"
    if publish is None:
        return None
    if publish.toolset not in TOOLSETS:
        return (
            "publish.toolset",
            f"discovered backends cannot be published as `{publish.toolset}`; {_hint(publish.toolset)}",
        )
    url_key = TOOLSETS[publish.toolset].url_key
    if publish.url_key not in {"", url_key}:
        return "publish.url_key", f"{publish.toolset} has no `{publish.url_key}`; did you mean `{url_key}`?"
    options = TOOLSETS[publish.toolset].options
    for field in publish.config:
        if field not in options:
            return f"publish.config.{field}", f"{publish.toolset} takes {_options(field, options)}"
    known = built_in.get(detector.type)
    if known is not None and publish.toolset not in known.toolsets:
        published = " and ".join(known.toolsets) or "a toolset of type http"
        return "publish", f"the type `{detector.type}` is built in and published as {published}; choose another `type`"
    return None


def _options(field: str, options: Sequence[str]) -> str:
    near = get_close_matches(field, options, n=1, cutoff=0.5)
    listed = ", ".join(f"`{option}`" for option in options)
    return f"{listed or 'no such fields'} here" + (f"; did you mean `{near[0]}`?" if near else "")


def _hint(toolset: str) -> str:
    near = get_close_matches(toolset, TOOLSETS, n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else f"known are {', '.join(TOOLSETS)}"
