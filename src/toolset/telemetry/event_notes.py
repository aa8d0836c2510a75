"""The text of every Kubernetes Event that the service records; at most 1 kB each, which the recorder enforces."""

from collections.abc import Iterable, Sequence
from typing import Final

from toolset.core.candidate import Candidate, Rejected
from toolset.core.health.removal_brake import Hold
from toolset.model import Key

_SHOWN: Final = 5  # names of up to 130 characters


def published(key: Key, tool: Candidate, before: Candidate | None) -> str:
    """A Service is published, or published elsewhere than ``before``."""
    if before is None:
        return f"{_subject(key)} is published as {tool.type} at {tool.url}"
    was = f"it was {before.type} at {before.url}"
    return f"{_subject(key)} is now published as {tool.type} at {tool.url}; {was}"


def not_published(key: Key, verdict: Rejected | None, *, before: bool) -> str:
    """A Service is not published; ``before`` it was. ``None`` for one that was deleted."""
    why = verdict.sentence if verdict is not None else "it was deleted"
    return f"{_subject(key)} is {'no longer' if before else 'not'} published: {why}"


def annotation_not_read(key: Key, sentence: str) -> str:
    """A Service has an annotation that is nearly one of this service's."""
    return f"{_subject(key)}: {sentence}"


def _subject(key: Key) -> str:
    return f"Service {key}" if key.namespace else f"static backend {key}"


def removals_held(hold: Hold) -> str:
    """Most published tools stopped answering at once."""
    names = [str(key) for key in sorted(hold.keys)]
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return (
        f"most of {hold.known} published tools stopped answering at once, so nothing is removed for "
        f"{hold.again_s or 0.0:g} s: {shown}"
    )


def overrides_invalid(problem: str) -> str:
    """``overrides.yaml`` is not valid."""
    return f"overrides.yaml is ignored, and what was valid last stays in force: {problem}"


def overrides_dropped(count: int, problem: str) -> str:
    """Patches in ``overrides.yaml`` do not fit what was discovered."""
    return f"{count} of the patches in overrides.yaml cannot be applied, the others are in force: {problem}"


def documents_blocked(keys: Iterable[str]) -> str:
    """The keys of documents are used in ``binaryData``."""
    return f"not written, because binaryData holds the key; remove it there: {', '.join(keys)}"


def edit_reverted(by: str, keys: Iterable[str]) -> str:
    """Somebody else's edit of owned keys is reverted."""
    return f"an edit by {by} is reverted: {', '.join(keys) or 'labels and annotations'}; use overrides.yaml instead"


def overwritten(by: str) -> str:
    """Return that others keep overwriting the ConfigMap."""
    return f"the ConfigMap is repeatedly overwritten by {by}; stop one of the two writers, repairs wait up to 5 min"


def write_delayed(key: Key) -> str:
    """The changes of a Service are written with growing pauses."""
    return f"Service {key}, or its namespace, changes too often: its changes are published with growing pauses"


def required_missing(key: Key, reason: str) -> str:
    """A tool that `publish.required` names has been missing for too long."""
    why = f" ({reason})" if reason else ""
    return f"{key} must be published and has not been for 5 min{why}; `toolset status {key}` says why"


def settings_invalid(problem: str) -> str:
    """The settings file is not valid."""
    return f"the settings file is not valid, and the settings in force stay: {problem}"


def settings_reloaded(changed: Iterable[str], waiting: Sequence[str]) -> str:
    """The settings file was reloaded; ``waiting`` names settings that need a restart."""
    note = f"{', '.join(changed) or 'nothing'} changed"
    return f"{note}; {', '.join(waiting)} will change with a restart" if waiting else note
