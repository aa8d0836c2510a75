"""All that is published: the documents of every dialect, from the tools, the admin's overrides and the settings."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from toolset.core.backends.mapping import TOOLSETS
from toolset.core.candidate import Candidate, Rejected
from toolset.core.dialects import holmesgpt, kubernaut
from toolset.core.dialects.configured_toolsets import configured_fault
from toolset.core.dialects.toolset_patches import INSTANCES
from toolset.core.faults import Fault
from toolset.core.inventory import instances
from toolset.core.json_values import Document
from toolset.core.overrides.overrides import NO_OVERRIDES, Overrides, OverridesError, apply, follow, unknown_static
from toolset.core.publishing import budget
from toolset.core.publishing.eligibility import eligible, fitting, foreign_key_notes
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.plan import (
    INSTANCE,
    OVERRIDES_ERROR,
    OVERRIDES_IN_FORCE,
    OVERRIDES_KEPT,
    OVERRIDES_KEY,
)
from toolset.core.publishing.provenance import Field, trace
from toolset.core.publishing.rendering import cost, documents, fault, texts, writable
from toolset.errors import SettingsError
from toolset.model import ConfigMap, Key

_ERROR_LIMIT: Final = 512
_IN_FORCE_LIMIT_BYTES: Final = 64 * budget.KIB
_SHARES: Final = ((1.0, 1.0), (1.0, 0.7), (1.0, 0.0), (0.9, 0.0), (0.7, 0.0), (0.4, 0.0), (0.0, 0.0))
"""Shares of the size limit for all tools and for untrusted ones, tried pair by pair, because the admin's patches of a
document may exceed a tool's share."""


class _Limits(msgspec.Struct, frozen=True):
    """What others use of a ConfigMap: data keys, bytes, keys of ``binaryData``; and the limit of one namespace."""

    taken: Collection[str]
    foreign: int
    occupied: Collection[str]
    untrusted: int


class Publication(msgspec.Struct, frozen=True):
    """The desired content of the ConfigMap, and why the other tools are not in it.

    Attributes:
        data: The documents by key.
        tools: The tools in them.
        rejected: Tools that are not in them: hidden, over a limit, or not writable.
        documents: The content of ``data`` as plain values, by key.
        overridden: The fields of a tool that the admin set.
        overrides: The overrides in force: keep them for the next time.
        error: Why the current ``overrides.yaml`` is rejected; ``None`` if it is valid.
        dropped: Why patches of the overrides in force are not applied, one each.
        notes: Additional notes on published tools, a sentence each.
        bytes: The size of ``data``.
        blocked: Keys of documents that are not in ``data``, because ``binaryData`` has them.
        lost: A sentence that the overrides in force are missing from their source; empty if they are not.
        ignored: A sentence that an ``overrides.yaml`` is in a place that is not read; empty if none is.
        withheld: Why this must not be written, because overrides are missing; empty if it may.
    """

    data: Mapping[str, str]
    tools: tuple[Candidate, ...]
    rejected: Mapping[Key, Rejected]
    documents: Mapping[str, Document]
    overridden: Mapping[Key, tuple[str, ...]]
    overrides: Overrides = NO_OVERRIDES
    error: OverridesError | None = None
    dropped: tuple[OverridesError, ...] = ()
    notes: Mapping[Key, str] = {}
    bytes: int = 0
    blocked: tuple[str, ...] = ()
    lost: str = ""
    ignored: str = ""
    withheld: str = ""

    @property
    def overrides_problem(self) -> str:
        """What of ``overrides.yaml`` is not applied or is missing, and why; empty if there is no problem."""
        error = None if self.withheld else self.error
        return "; ".join(str(each) for each in (self.withheld, self.lost, self.ignored, error, *self.dropped) if each)

    @property
    def is_large(self) -> bool:
        """Whether it is large enough for a warning."""
        return self.bytes > budget.WARN_BYTES


def publish(
    tools: Sequence[Candidate],
    options: OutputOptions,
    *,
    last: Overrides = NO_OVERRIDES,
    text: str | None = None,
    taken: Collection[str] = frozenset[str](),
    foreign: int = 0,
    occupied: Collection[str] = (),
    untrusted_limit: int = 0,
) -> Publication:
    """Return what to publish.

    An invalid file of overrides is rejected: then ``last`` stays in force. Patches are independent: only those that
    do not fit what is discovered are dropped, and what they disable stays disabled, so that no new Service can bring
    back what an admin hid.

    Args:
        tools: The healthy ones.
        options: The settings.
        last: The overrides that were in force before; :data:`NO_OVERRIDES` at the start.
        text: The current ``overrides.yaml``; ``None`` if there is none.
        taken: Keys of the ConfigMap that this service does not own.
        foreign: What others keep in the ConfigMap, ``overrides.yaml`` included, bytes.
        occupied: Keys of ``binaryData``; the API server rejects a ConfigMap with the same key in both.
        untrusted_limit: Maximum number of published tools per untrusted namespace; 0 means any number.

    Raises:
        SettingsError: The settings alone produce an invalid document.
    """
    if problem := configured_fault(options.base_toolsets):
        raise SettingsError(f"settings `output.base_toolsets`: {problem}")
    overrides, error = follow(last, text, options.policy)
    found = _compose(tools, options, overrides, _Limits(taken, foreign, occupied, untrusted_limit))
    return msgspec.structs.replace(found, overrides=overrides, error=error)


def annotations(published: Publication, instance: str = "") -> dict[str, str]:
    """Return the annotations next to the documents, for ``plan.desired``.

    Args:
        published: What is published.
        instance: The name of this installation; empty when it has none.
    """
    text = published.overrides.text if published.error or published.lost else ""
    fits = len(text.encode()) <= _IN_FORCE_LIMIT_BYTES
    return {
        INSTANCE: instance,
        OVERRIDES_ERROR: published.overrides_problem[:_ERROR_LIMIT],
        OVERRIDES_IN_FORCE: text if fits else "",
        OVERRIDES_KEPT: "true" if published.lost and fits else "",
    }


def provenance(tools: Sequence[Candidate], options: OutputOptions, published: Publication) -> tuple[Field, ...]:
    """Return the origin of each field of the documents, in order.

    Args:
        tools: The tools that were passed to :func:`publish`.
        options: The settings.
        published: Its result.
    """
    if published.overrides is NO_OVERRIDES:
        plain: Mapping[str, Document] = published.documents
    else:
        kept = {tool.key for tool in published.tools}
        alone = publish([tool for tool in tools if tool.key in kept], options)
        plain = alone.documents
    patches: dict[str, Document] = {
        holmesgpt.DOCUMENT_KEY: {holmesgpt.TOOLSETS_KEY: dict(published.overrides.toolsets)}
    }
    for name, patch in published.overrides.kubernaut.items():
        if isinstance(patch, dict):
            patches[f"{name}{kubernaut.SUFFIX}"] = patch
    return trace(plain, published.documents, patches)


def foreign_bytes(cached: ConfigMap | None, ours: Collection[str]) -> int:
    """Return the size of the ConfigMap ``cached`` without the keys ``ours``, bytes."""
    if cached is None:
        return 0
    texts_of_others = {key: text for key, text in cached.entries.items() if key not in ours or key == OVERRIDES_KEY}
    return budget.size(texts_of_others) + sum(len(key.encode()) + size for key, size in cached.binary_sizes.items())


def _compose(tools: Sequence[Candidate], options: OutputOptions, overrides: Overrides, limits: _Limits) -> Publication:
    fit, unsafe = writable(tools)
    applied = apply(fit, overrides)
    usable, refused = eligible(applied, options, overrides, limits.taken)
    applied, unfit = fitting(applied, options)
    capped = budget.within_caps(instances(usable), _caps(options, limits.untrusted))
    left = budget.allowance(options.limit_bytes, limits.foreign)
    room = left - budget.size(texts(documents((), options, overrides, applied).documents))
    for share, untrusted in _SHARES:
        cut = budget.within_bytes(
            capped.kept, lambda tool: cost(tool, options, applied), int(room * share), int(room * untrusted)
        )
        rendered = documents(cut.kept, options, overrides, applied, limits.taken)
        blocked = tuple(sorted(key for key in rendered.documents if key in limits.occupied))
        kept = {key: document for key, document in rendered.documents.items() if key not in blocked}
        data = texts(kept)
        size = budget.size(data)
        if size <= left or not cut.kept:
            break
    else:
        raise AssertionError  # pragma: no cover - with a share of 0 no tool is kept
    if problem := fault(rendered.documents, options.policy):
        raise SettingsError(f"settings `output`: {problem}")
    return Publication(
        data,
        cut.kept,
        {**unsafe, **applied.hidden, **refused, **capped.dropped, **cut.dropped},
        kept,
        applied.overridden,
        dropped=(
            *unknown_static(overrides, options.static_names),
            *(_located(problem, overrides) for problem in (*unfit, *rendered.dropped)),
        ),
        notes=foreign_key_notes(cut.kept, options, limits.taken),
        bytes=size,
        blocked=blocked,
    )


def _caps(options: OutputOptions, per_untrusted: int) -> budget.Caps:
    if "holmesgpt" not in options.dialects:
        return budget.Caps(options.max_per_type, per_untrusted=per_untrusted)
    return budget.Caps(
        options.max_per_type,
        options.max_http_tools,
        {kind: mapping.toolsets for kind, mapping in options.types.items() if mapping.toolsets},
        per_untrusted,
        {name: toolset.untrusted for name, toolset in TOOLSETS.items()},
        frozenset(name for name, toolset in TOOLSETS.items() if toolset.several == "none"),
    )


def _located(problem: Fault, overrides: Overrides) -> OverridesError:
    """Return a fault of a document as one of the overrides, if they set it."""
    path = problem.path
    if path not in overrides.marks and path[3:4] == (INSTANCES,):
        path = (*path[:3], *path[5:])  # set for all instances
    return overrides.error(path, str(problem))
