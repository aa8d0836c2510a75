"""Decide which tools the documents can contain, and which of the admin's patches fit their tool."""

from collections.abc import Container, Mapping, Sequence

import msgspec

from toolset.core.candidate import Candidate, Reason, Rejected
from toolset.core.dialects import holmesgpt, kubernaut, schema
from toolset.core.dialects.bound_values import has_credentials
from toolset.core.dialects.toolset_patches import CONFIG
from toolset.core.faults import Fault
from toolset.core.overrides.overrides import Overrides, PatchedTools
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.rendering import alone_options, holmesgpt_options, kubernaut_documents
from toolset.model import Key


def eligible(
    applied: PatchedTools, options: OutputOptions, overrides: Overrides, taken: Container[str]
) -> tuple[list[Candidate], dict[Key, Rejected]]:
    """Return the tools that the documents can contain, and why they cannot contain the others.

    Args:
        applied: The tools after overrides.
        options: The settings.
        overrides: Those in force.
        taken: Keys of the ConfigMap that this service does not own.
    """
    rejected: dict[Key, Rejected] = {}
    conflicts = _name_conflicts(applied.tools, options, overrides, taken)
    for tool in applied.tools:
        if objection := _credentials_objection(tool, has_credentials=_has_credentials(tool, options, applied)):
            rejected[tool.key] = objection
        elif tool.key in conflicts:
            rejected[tool.key] = Rejected(Reason.NAME_TAKEN, conflicts[tool.key], tool.type, tool.asked)
    return [tool for tool in applied.tools if tool.key not in rejected], rejected


def _credentials_objection(tool: Candidate, *, has_credentials: bool) -> Rejected | None:
    """Return why ``tool`` cannot be published with its configured credentials, or without any.

    Another scheme than a Service declares may be a trap for credentials, unless it is HTTPS in place of HTTP.
    """
    if not has_credentials:
        if not tool.unauthorized or tool.check.publish_unauthorized:
            return None
        return Rejected(Reason.AUTH_REQUIRED, _remedy(tool), tool.type, tool.asked)
    if tool.external:
        detail = f"{tool.host}; to send them there, name the URL in overrides.yaml, `tools: {tool.key}: url:`"
        return Rejected(Reason.EXTERNAL_HOST, detail, tool.type, tool.asked)
    if tool.has_moved and not tool.is_upgraded:
        detail = (
            f"{tool.scheme}, port {tool.port}; to send them there, annotate it with toolset-scheme and toolset-port"
        )
        return Rejected(Reason.CREDENTIALS_WITHHELD, detail, tool.type, tool.asked)
    return None


def _remedy(tool: Candidate) -> str:
    """Return how to give readers what ``tool`` requires."""
    if tool.wants_tenant:
        return (
            f"it wants a tenant: name it for readers in overrides.yaml, `tools: {{{tool.key}: {{holmesgpt: "
            f"{{additional_headers: {{X-Scope-OrgID: TENANT}}}}}}}}`, and for probes in the setting "
            f"`health.detectors.{tool.product}.headers_from`"
        )
    return (
        f"name the variables that hold them in the setting `output.credentials: {{{tool.key}: ...}}`, or set "
        f"`health.detectors.{tool.product}.publish_unauthorized: true`"
    )


def fitting(applied: PatchedTools, options: OutputOptions) -> tuple[PatchedTools, tuple[Fault, ...]]:
    """Return ``applied`` without the patches of a tool's config that do not fit it, and why they do not.

    The path of a fault is that of the patch in the overrides.
    """
    tools = {tool.key: tool for tool in applied.tools}
    faults: dict[tuple[str, Key], Fault] = {}
    for key, patch in applied.holmesgpt.items():
        alone = holmesgpt.document([tools[key]], alone_options(options), {key: patch})
        if problem := schema.fault(alone, options.policy):
            faults["holmesgpt", key] = problem
    for key, patch in applied.kubernaut.items():
        for name, document in kubernaut_documents([tools[key]], options, {key: patch}).items():
            if problem := kubernaut.fault(name, document, options.policy):
                faults["kubernaut", key] = problem
    fits = msgspec.structs.replace(
        applied,
        holmesgpt={key: patch for key, patch in applied.holmesgpt.items() if ("holmesgpt", key) not in faults},
        kubernaut={key: patch for key, patch in applied.kubernaut.items() if ("kubernaut", key) not in faults},
    )
    return fits, tuple(_in_overrides(dialect, key, problem) for (dialect, key), problem in faults.items())


def foreign_key_notes(tools: Sequence[Candidate], options: OutputOptions, taken: Container[str]) -> dict[Key, str]:
    """Return a sentence for each tool whose document has another key because the usual one has another owner."""
    if "kubernaut" not in options.dialects:
        return {}
    first: dict[str, Candidate] = {}
    for tool in tools:
        first.setdefault(tool.type, tool)
    return {
        tool.key: f"data key {kind}{kubernaut.SUFFIX} in the ConfigMap is not owned by this service and stays, so the "
        f"document of this tool has the key {kubernaut.full_name(tool)}{kubernaut.SUFFIX}"
        for kind, tool in first.items()
        if f"{kind}{kubernaut.SUFFIX}" in taken
    }


def _name_conflicts(
    tools: Sequence[Candidate], options: OutputOptions, overrides: Overrides, taken: Container[str]
) -> Mapping[Key, str]:
    found: dict[Key, str] = {}
    if "holmesgpt" in options.dialects:
        asked = holmesgpt_options(options, overrides)
        found |= {key: f"{what} is configured" for key, what in holmesgpt.name_conflicts(tools, asked).items()}
        rivals = holmesgpt.exclusions(tools, asked)
        found |= {key: f"the tools of toolset {name} have the same names" for key, name in rivals.items()}
    if "kubernaut" in options.dialects:
        keys = {tool.key: f"{kubernaut.full_name(tool)}{kubernaut.SUFFIX}" for tool in tools}
        found |= {key: f"this service does not own data key {name}" for key, name in keys.items() if name in taken}
    return found


def _has_credentials(tool: Candidate, options: OutputOptions, applied: PatchedTools) -> bool:
    patches = (applied.holmesgpt.get(tool.key), applied.kubernaut.get(tool.key))
    return str(tool.key) in options.credentials or any(has_credentials(patch) for patch in patches)


def _in_overrides(dialect: str, key: Key, problem: Fault) -> Fault:
    path = problem.path
    inner = path[path.index(CONFIG) + 1 :] if CONFIG in path else ()
    return Fault(("tools", str(key), dialect, *inner), problem.message)
