"""The admin's overrides of discovered tools: ``overrides.yaml``, checked as a whole, merged by RFC 7386.

``tools`` changes a tool before anything is rendered, ``toolsets`` the HolmesGPT document, ``kubernaut`` the documents
of that dialect, ``suppress`` hides tools, ``approve`` admits pending ones of untrusted namespaces. An invalid file is
rejected, and the last valid one stays in force. Of a valid file, only patches that do not fit what was discovered are
dropped.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, cast
from urllib.parse import urlsplit

import msgspec
from typing_extensions import override

from toolset.core.candidate import Candidate, Reason, Rejected
from toolset.core.dialects.texts import Policy
from toolset.core.json_values import Document, Json, Path
from toolset.core.overrides.schema import ToolPatch, fault
from toolset.core.strict_yaml import Mark, YamlFault, parse
from toolset.model import Key

TEXT_LIMIT_BYTES: Final = 256 * 1024
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class OverridesError(msgspec.Struct, frozen=True):
    """Why the overrides are rejected.

    Attributes:
        message: The message, for people.
        line: The line, from 1.
        column: The column, from 1.
    """

    message: str
    line: int
    column: int

    @override
    def __str__(self) -> str:
        return f"overrides.yaml, line {self.line}, column {self.column}: {self.message}"


class Overrides(msgspec.Struct, frozen=True):
    """Checked overrides.

    Attributes:
        text: Their source; empty if there are none.
        tools: Patches by ``namespace/name``; ``None`` hides the tool.
        toolsets: Merge patches by toolset of HolmesGPT.
        kubernaut: Merge patches by document of the kubernaut dialect.
        suppress: ``namespace/name`` of hidden tools; a static backend has only a name, here and in ``tools``.
        approve: ``namespace/name`` of Services that the admin approves.
        marks: The position of each part in the text.
    """

    text: str = ""
    tools: Mapping[str, ToolPatch | None] = {}
    toolsets: Mapping[str, Json] = {}
    kubernaut: Mapping[str, Json] = {}
    suppress: frozenset[str] = frozenset()
    approve: frozenset[str] = frozenset()
    marks: Mapping[Path, Mark] = {}

    def error(self, path: Path, message: str) -> OverridesError:
        """Return an error at ``path``, or at its nearest ancestor in the text."""
        while path and path not in self.marks:
            path = path[:-1]
        mark = self.marks.get(path, Mark(1, 1))
        return OverridesError(message, mark.line, mark.column)

    def place(self, *path: str) -> str:
        """Return the position of ``path``, for people."""
        mark = self.marks.get(path)
        return f"overrides.yaml, line {mark.line}" if mark else "overrides.yaml"

    @property
    def approved(self) -> frozenset[Key]:
        """The Services that the admin approves."""
        return frozenset(Key(*name.split("/")) for name in self.approve)


class PatchedTools(msgspec.Struct, frozen=True):
    """Tools after overrides.

    Attributes:
        tools: Those to publish.
        hidden: Why the others are not published.
        holmesgpt: Merge patches of the config of a tool in the HolmesGPT document.
        kubernaut: The same for the kubernaut documents.
        overridden: The fields of each tool that the admin set, in order.
    """

    tools: tuple[Candidate, ...]
    hidden: Mapping[Key, Rejected]
    holmesgpt: Mapping[Key, Document]
    kubernaut: Mapping[Key, Document]
    overridden: Mapping[Key, tuple[str, ...]]


NO_OVERRIDES: Final = Overrides()
_NOTHING: Final = ToolPatch()


def follow(last: Overrides, text: str | None, policy: Policy) -> tuple[Overrides, OverridesError | None]:
    """Return the overrides in force for ``text`` in the ConfigMap, and the error in it.

    Args:
        last: The last valid ones, which stay if ``text`` is not valid.
        text: The content of ``overrides.yaml``; ``None`` if there is none.
        policy: What the settings allow.
    """
    if not text:
        return NO_OVERRIDES, None
    if text == last.text:
        return last, None
    found = read(text, policy)
    return (last, found) if isinstance(found, OverridesError) else (found, None)


@lru_cache(maxsize=4)
def read(text: str, policy: Policy) -> Overrides | OverridesError:
    """Return the overrides in ``text``, or why they are invalid; each version is parsed once."""
    if len(text.encode("utf-8", "surrogatepass")) > TEXT_LIMIT_BYTES:
        return OverridesError(f"it has more than {TEXT_LIMIT_BYTES // 1024} KiB", 1, 1)
    content = parse(text)
    if isinstance(content, YamlFault):
        return OverridesError(content.message, content.mark.line, content.mark.column)
    raw = Overrides(text=text, marks=content.marks)
    problem = fault(content.value, policy)
    if problem:
        return raw.error(problem.path, str(problem))
    document = cast("dict[str, dict[str, Json] | None]", content.value or {})
    return Overrides(
        text=text,
        tools={name: _tool_patch(patch) for name, patch in (document.get("tools") or {}).items()},
        toolsets=document.get("toolsets") or {},
        kubernaut=document.get("kubernaut") or {},
        suppress=_names(document, "suppress"),
        approve=_names(document, "approve"),
        marks=content.marks,
    )


def apply(tools: Iterable[Candidate], overrides: Overrides) -> PatchedTools:
    """Return ``tools`` after overrides; a missing one is not created."""
    kept: list[Candidate] = []
    hidden: dict[Key, Rejected] = {}
    holmesgpt: dict[Key, Document] = {}
    kubernaut: dict[Key, Document] = {}
    overridden: dict[Key, tuple[str, ...]] = {}
    for tool in tools:
        name = str(tool.key.service)
        patch = overrides.tools.get(name, _NOTHING)
        if tool.key.part and patch is not None:  # a URL or a header applies to the first tool of a Service only
            patch = ToolPatch(enabled=patch.enabled)
        if name in overrides.suppress or patch is None or not patch.enabled:
            place = overrides.place("suppress") if name in overrides.suppress else overrides.place("tools", name)
            hidden[tool.key] = Rejected(Reason.SUPPRESSED, place, tool.type, tool.asked)
            continue
        kept.append(_patched(tool, patch))
        if fields := tuple(cast("dict[str, object]", msgspec.to_builtins(patch))):
            overridden[tool.key] = fields
        if patch.holmesgpt:
            holmesgpt[tool.key] = cast("Document", patch.holmesgpt)
        if patch.kubernaut:
            kubernaut[tool.key] = cast("Document", patch.kubernaut)
    return PatchedTools(tuple(kept), hidden, holmesgpt, kubernaut, overridden)


def unknown_static(overrides: Overrides, known: Container[str]) -> Iterator[OverridesError]:
    """Yield an error for each name without a namespace that is not the name of a static backend."""
    named: list[tuple[Path, str]] = [(("tools", name), name) for name in overrides.tools]
    named += [(("suppress",), name) for name in sorted(overrides.suppress)]
    for path, name in named:
        if "/" not in name and name not in known:
            section = path[0]
            message = f"{section} > {name}: there is no such static backend; write a Service as namespace/name"
            yield overrides.error(path, message)


def _patched(tool: Candidate, patch: ToolPatch) -> Candidate:
    if patch.url is not None:
        parts = urlsplit(patch.url)
        host = cast("str", parts.hostname)  # the pattern of a URL requires one
        tool = msgspec.structs.replace(
            tool,
            scheme=parts.scheme,
            host=f"[{host}]" if ":" in host else host,
            port=parts.port or _DEFAULT_PORTS[parts.scheme],
            path=parts.path.rstrip("/"),
            external=False,  # an admin wrote it
            alternatives=(),
            fallbacks=(),
            origin=None,
        )
    return msgspec.structs.replace(
        tool,
        type=patch.type or tool.type,
        admin_priority=tool.admin_priority if patch.priority is None else patch.priority,
        health_path=patch.health_path or tool.health_path,
    )


def _names(document: Mapping[str, object], section: str) -> frozenset[str]:
    return frozenset(cast("list[str]", document.get(section) or []))


def _tool_patch(patch: Json) -> ToolPatch | None:
    return None if patch is None else msgspec.convert(patch, ToolPatch)
