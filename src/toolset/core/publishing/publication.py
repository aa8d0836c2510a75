"""All that is published: the documents of every dialect, from the tools, the admin's overrides and the settings."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from toolset.core.candidate import Candidate, Rejected
from toolset.core.dialects import holmesgpt, kubernaut
from toolset.core.dialects.documents import Fault
from toolset.core.inventory import instances
from toolset.core.json_values import Document, Path
from toolset.core.overrides.overrides import NO_OVERRIDES, Overrides, OverridesError, apply, follow
from toolset.core.publishing import budget
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.plan import (
    INSTANCE,
    OVERRIDES_ERROR,
    OVERRIDES_IN_FORCE,
    OVERRIDES_KEY,
    OWNED_LIST_LIMIT_BYTES,
)
from toolset.core.publishing.provenance import Field, trace
from toolset.core.publishing.rendering import cost, documents, fault, texts, writable
from toolset.errors import SettingsError
from toolset.model import ConfigMap, Key

_LISTED_BYTES: Final = OWNED_LIST_LIMIT_BYTES - 4 * budget.KIB
"""The list of owned keys always fits, so that none of them is ever forgotten; the rest is for documents of no tool."""
_ERROR_LIMIT: Final = 512
_IN_FORCE_LIMIT_BYTES: Final = 64 * budget.KIB
_SHARES: Final = (1.0, 0.9, 0.7, 0.4, 0.0)
"""Of the room for tools, one after another: what admins lay over a document may take more than a tool's own share."""


class Publication(msgspec.Struct, frozen=True):
    """What the ConfigMap should hold of ours, and why the rest of the tools is not in it.

    Attributes:
        data: The documents by key.
        tools: The tools in them.
        rejected: Tools that are not in them: hidden, over a limit, or not fit to be written.
        documents: The content of ``data`` as plain values, by key.
        overridden: The fields of a tool that the admin set.
        overrides: The overrides in force: keep them for the next time.
        error: What is wrong with ``overrides.yaml`` as it is now; ``None`` when nothing.
        bytes: How much ``data`` takes.
        blocked: Keys of documents that are not in ``data``, because somebody keeps them in ``binaryData``.
    """

    data: Mapping[str, str]
    tools: tuple[Candidate, ...]
    rejected: Mapping[Key, Rejected]
    documents: Mapping[str, Document]
    overridden: Mapping[Key, tuple[str, ...]]
    overrides: Overrides = NO_OVERRIDES
    error: OverridesError | None = None
    bytes: int = 0
    blocked: tuple[str, ...] = ()

    @property
    def is_large(self) -> bool:
        """Whether it is so large that somebody should look."""
        return self.bytes > budget.WARN_BYTES


def publish(
    tools: Sequence[Candidate],
    options: OutputOptions,
    *,
    last: Overrides = NO_OVERRIDES,
    text: str | None = None,
    foreign: int = 0,
    occupied: Collection[str] = (),
) -> Publication:
    """Return what to publish.

    Overrides that are not valid, or that would give a document which is not, count for nothing: then ``last`` stays in
    force. Where that does not fit what is discovered by now, it still hides and changes tools, but lays nothing over
    documents: no Service that comes may bring back what an admin hid.

    Args:
        tools: The healthy ones.
        options: What the settings say.
        last: The overrides that were in force before; :data:`NO_OVERRIDES` at the start.
        text: ``overrides.yaml`` as it is now; ``None`` when there is none.
        foreign: What others keep in the ConfigMap, ``overrides.yaml`` included, bytes.
        occupied: Keys of ``binaryData``; the API server takes no key twice, and refuses the whole ConfigMap.

    Raises:
        SettingsError: The settings themselves give a document that is not valid.
    """
    wanted, error = follow(last, text, options.policy)
    for overrides in (wanted, last):
        found = _compose(tools, options, overrides, foreign, occupied)
        if isinstance(found, Publication):
            return msgspec.structs.replace(found, overrides=overrides, error=error)
        error = error or overrides.error(_source(found.path, overrides), str(found))
    plain = _compose(tools, options, last.essence, foreign, occupied)
    if isinstance(plain, Fault):
        raise SettingsError(f"settings `output`: {plain}")
    return msgspec.structs.replace(plain, overrides=last, error=error)


def resume(annotations: Mapping[str, str], prefix: str, options: OutputOptions) -> Overrides:
    """Return the overrides that were in force when ``annotations`` were written, where those say so.

    They do while ``overrides.yaml`` is not valid, so that a restart does not bring back what an admin hid.

    Args:
        annotations: Of the ConfigMap.
        prefix: The prefix of ours.
        options: What the settings say.
    """
    return follow(NO_OVERRIDES, annotations.get(f"{prefix}/{OVERRIDES_IN_FORCE}"), options.policy)[0]


def in_force(config_map: ConfigMap | None, prefix: str, options: OutputOptions) -> Overrides:
    """Return the overrides that count while ``config_map`` is as it is, for who knows of no earlier ones."""
    if config_map is None:
        return NO_OVERRIDES
    last = resume(config_map.annotations, prefix, options)
    return follow(last, config_map.entries.get(OVERRIDES_KEY), options.policy)[0]


def annotations(published: Publication, instance: str = "") -> dict[str, str]:
    """Return what stands beside the documents, for ``plan.desired``.

    Args:
        published: What is published.
        instance: The name of this installation; empty when it has none.
    """
    error = published.error
    text = published.overrides.text if error else ""
    return {
        INSTANCE: instance,
        OVERRIDES_ERROR: str(error)[:_ERROR_LIMIT] if error else "",
        OVERRIDES_IN_FORCE: text if len(text.encode()) <= _IN_FORCE_LIMIT_BYTES else "",
    }


def provenance(tools: Sequence[Candidate], options: OutputOptions, published: Publication) -> tuple[Field, ...]:
    """Return where each field of the documents comes from, in their order.

    Args:
        tools: As they were given to :func:`publish`.
        options: What the settings say.
        published: What it returned.
    """
    if published.overrides is NO_OVERRIDES:
        plain: Mapping[str, Document] = published.documents
    else:
        kept = {tool.key for tool in published.tools}
        alone = publish([tool for tool in tools if tool.key in kept], options)
        plain = alone.documents
    patches: dict[str, Document] = {holmesgpt.DOCUMENT_KEY: {holmesgpt.TOOLSETS: dict(published.overrides.toolsets)}}
    for name, patch in published.overrides.kubernaut.items():
        if isinstance(patch, dict):
            patches[f"{name}{kubernaut.SUFFIX}"] = patch
    return trace(plain, published.documents, patches)


def foreign_bytes(cached: ConfigMap | None, ours: Collection[str]) -> int:
    """Return how many bytes of the ConfigMap ``cached`` do not belong to the keys ``ours``."""
    if cached is None:
        return 0
    texts_of_others = {key: text for key, text in cached.entries.items() if key not in ours or key == OVERRIDES_KEY}
    return budget.size(texts_of_others) + sum(len(key.encode()) + size for key, size in cached.binary_sizes.items())


def _compose(
    tools: Sequence[Candidate], options: OutputOptions, overrides: Overrides, foreign: int, occupied: Collection[str]
) -> Publication | Fault:
    fit, rejected = writable(tools)
    applied = apply(fit, overrides)
    single = options.max_http_tools if "holmesgpt" in options.dialects else 0
    caps = budget.Caps(options.max_per_type, single, holmesgpt.BUILT_IN_TOOLSETS)
    capped = budget.within_caps(instances(applied.tools), caps)
    left = budget.allowance(options.limit_bytes, foreign)
    room = left - budget.size(texts(documents((), options, overrides, applied)))
    for share in _SHARES:
        cut = budget.within_bytes(
            capped.kept, lambda tool: cost(tool, options, applied), (int(room * share), _LISTED_BYTES)
        )
        rendered = documents(cut.kept, options, overrides, applied)
        if problem := fault(rendered, options.policy):
            return problem
        blocked = tuple(sorted(key for key in rendered if key in occupied))
        rendered = {key: document for key, document in rendered.items() if key not in blocked}
        data = texts(rendered)
        rejected |= {**applied.hidden, **capped.dropped, **cut.dropped}
        found = Publication(
            data, cut.kept, rejected, rendered, applied.overridden, bytes=budget.size(data), blocked=blocked
        )
        if found.bytes <= left or not cut.kept:
            return found
    raise AssertionError  # pragma: no cover - with a share of nothing no tool is kept


def _source(path: Path, overrides: Overrides) -> Path:
    """Return where in the overrides a field of a document was set."""
    if path[:2] not in overrides.marks:
        return overrides.patched_field(path) or path
    if path not in overrides.marks and path[3:4] == ("instances",):
        return (*path[:3], *path[5:])  # set for all instances
    return path
