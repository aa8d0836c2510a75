"""The types of the snapshot; the JSON API, its OpenAPI document, the page and the command share them.

Every number of entries and every length of a text in it has a limit, whatever the cluster holds.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from toolset.model import Key

SERVICES_LIMIT: Final = 2000
"""Services in a snapshot; published ones come first, the rest is counted in ``services_omitted``."""
CHANGES_LIMIT: Final = 100
PROBLEMS_LIMIT: Final = 50
NAMES_LIMIT: Final = 20
"""Names in one list: held tools, required tools that are missing."""
TEXT_LIMIT: Final = 512
"""Characters of one text; a longer one ends with an ellipsis."""
PUBLISHED: Final = "Published"

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time in UTC, RFC 3339 in JSON."""
Role = Literal["starting", "leader", "standby", "stopping"]
Severity = Literal["error", "warning", "info"]
ChangeKind = Literal["added", "removed", "changed", "rejected", "held", "released", "repaired"]


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """The last health request of a candidate.

    Attributes:
        at: When it ended.
        outcome: ``alive``, or the kind of failure.
        detail: Why it failed, a fixed phrase; never text from the backend.
        status: The status code of the answer; 0 without one.
        took_ms: How long it took, milliseconds.
        successes: Consecutive successes.
        failures: Consecutive failures.
        fall: Consecutive failures until the candidate is down.
        next_at: When the next one is due; ``None`` when none is scheduled.
    """

    at: Moment
    outcome: str
    detail: str
    status: int
    took_ms: float
    successes: int
    failures: int
    fall: int
    next_at: Moment | None = None


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one Service.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        type: The tool type, or the one that it nearly is; empty without one.
        product: The product of its detector; empty without one.
        published: Whether the ConfigMap holds it.
        verdict: ``Published``, or the reason why it is not.
        since: Since when the verdict holds; ``None`` for a verdict from before this replica led.
        sentence: The verdict as a sentence.
        remedy: What to do about it; empty when nothing is to be done.
        evidence: The strongest evidence; empty when it is not a candidate.
        url: The URL that is published or probed; empty when it is not a candidate.
        how: How the probe found that URL among several; empty when it was the first one.
        trusted: Whether its namespace is trusted; ``None`` when it is not a candidate.
        held: Whether it is published only because its removal is held.
        required: Whether the settings require it to be published.
        overridden: The fields that ``overrides.yaml`` sets.
        note: What else people should know.
        probe: Its last probe; ``None`` when there was none.
    """

    namespace: str
    name: str
    verdict: str
    published: bool = False
    type: str = ""
    product: str = ""
    since: Moment | None = None
    sentence: str = ""
    remedy: str = ""
    evidence: str = ""
    url: str = ""
    how: str = ""
    trusted: bool | None = None
    held: bool = False
    required: bool = False
    overridden: tuple[str, ...] = ()
    note: str = ""
    probe: Probe | None = None

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return Key(self.namespace, self.name)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of what is published, or of why something is not.

    Attributes:
        number: Counts the changes of this process, from 1.
        at: When.
        kind: What happened; ``repaired`` is an edit of the ConfigMap by somebody else that was reverted, ``held`` and
            ``released`` are about removals.
        namespace: Of the Service; of the ConfigMap for ``repaired``, ``held`` and ``released``.
        name: As the namespace.
        type: The tool type; empty without one.
        sentence: What happened, for people.
    """

    number: int
    at: Moment
    kind: ChangeKind
    namespace: str
    name: str
    type: str = ""
    sentence: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that needs attention.

    Attributes:
        word: One word that names it, for example ``RemovalsHeld``.
        severity: ``error`` when nothing can be published or something is missing, ``warning`` when part of it does not
            work, ``info`` when it is normal but good to know.
        sentence: What is wrong.
        remedy: What to do; empty when waiting is enough.
    """

    word: str
    severity: Severity
    sentence: str
    remedy: str = ""


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """Which process answers.

    Attributes:
        version: The version of the service.
        instance: The name of the installation; empty when it has none.
        identity: The name of this process.
        cluster: The URL of the API server.
        target: The ConfigMap, ``namespace/name``.
        role: What this replica does.
        since: Since when it leads; ``None`` when it does not.
        leader: The identity of the leader; empty when it is not known.
        election: Whether replicas elect a leader.
        settings_file: The settings file; empty without one.
        probing: Whether candidates are probed.
    """

    version: str
    identity: str
    role: Role
    target: str
    instance: str = ""
    cluster: str = ""
    since: Moment | None = None
    leader: str = ""
    election: bool = True
    settings_file: str = ""
    probing: bool = True


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """The last write of the ConfigMap by this process.

    Attributes:
        at: When.
        tools: How many tools it published.
        written: Keys that were written, at most 20.
        removed: Keys that were removed, at most 20.
        drifted: Whether it reverted an edit by somebody else.
    """

    at: Moment
    tools: int
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    drifted: bool = False


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What came of ``overrides.yaml``.

    Attributes:
        valid: Whether all of it is in force.
        since: Since when that is so; ``None`` when it has been so since this process began.
        error: Why not.
        dropped: How many patches of a valid file cannot be applied.
    """

    valid: bool = True
    since: Moment | None = None
    error: str = ""
    dropped: int = 0


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Removals that are held.

    Attributes:
        count: How many tools.
        until: When they are removed if they do not answer; ``None`` when nothing is held.
        tools: Some of them, ``namespace/name``.
    """

    count: int = 0
    until: Moment | None = None
    tools: tuple[str, ...] = ()


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes against their limits.

    Attributes:
        services: Services that are known.
        candidates: Services that a detector recognises.
        tools: Published tools.
        bytes: Size of the documents in the ConfigMap.
        limit_bytes: What they may take.
    """

    services: int = 0
    candidates: int = 0
    tools: int = 0
    bytes: int = 0
    limit_bytes: int = 0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Everything but the Services and the documents.

    Attributes:
        at: When the snapshot was built.
        revision: Counts what has changed in it; equal numbers of one process mean equal content, probes apart.
        installation: Which process answers.
        problems: What needs attention, the worst first.
        verdicts: How many Services have each verdict.
        sizes: Sizes against their limits.
        overrides: What came of ``overrides.yaml``.
        held: Removals that are held.
        write: The last write; ``None`` when this process has not written.
        changes: The latest changes, the newest first.
    """

    at: Moment
    revision: int
    installation: Installation
    problems: tuple[Problem, ...] = ()
    verdicts: Mapping[str, int] = {}
    sizes: Sizes = Sizes()
    overrides: Overrides = Overrides()
    held: Held = Held()
    write: Write | None = None
    changes: tuple[Change, ...] = ()


class StatusSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole status at one moment.

    Attributes:
        summary: Everything but the Services and the documents.
        services: The Services that are recognised, nearly recognised, or that an annotation opts in or out, ordered by
            name.
        services_omitted: Such Services beyond ``SERVICES_LIMIT``.
        documents: What the ConfigMap holds of this service, by key.
    """

    summary: Summary
    services: tuple[ServiceStatus, ...] = ()
    services_omitted: int = 0
    documents: Mapping[str, str] = {}


_UNSAFE: Final = {
    code: f"\\u{code:04x}"
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x061C,
        0x200E,
        0x200F,
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
        0xFEFF,
    )
}


def plain(text: str) -> str:
    """Return ``text`` on one line, without control and direction characters, at most ``TEXT_LIMIT`` characters."""
    if len(text) <= TEXT_LIMIT and text.isascii() and text.isprintable():  # nearly always
        return text
    safe = text[: TEXT_LIMIT + 1].replace("\n", " ").translate(_UNSAFE)
    return safe if len(safe) <= TEXT_LIMIT else f"{safe[: TEXT_LIMIT - 1]}…"
