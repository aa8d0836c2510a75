"""The types of what an agent reads of the status; the tools of the MCP server share them."""

import msgspec

from toolset.core.status.snapshot import ChangeKind, Moment, Role, Severity


class Known(msgspec.Struct, frozen=True):
    """Words that are not a tenant's.

    Attributes:
        types: The tool types that detectors and settings name.
        cluster_domain: The DNS domain of the cluster.
    """

    types: frozenset[str]
    cluster_domain: str = "cluster.local"


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """Something that needs attention.

    Attributes:
        word: One word that names it.
        severity: ``error`` when nothing can be published or something is missing, ``warning`` when part of it does not
            work, ``info`` when it is normal.
        sentence: What it means.
    """

    word: str
    severity: Severity
    sentence: str


class LastProbe(msgspec.Struct, frozen=True, kw_only=True):
    """The last health check of a backend.

    Attributes:
        at: When it ended.
        outcome: ``alive``, ``unauthorized``, or the kind of failure.
        status: The HTTP status code; 0 without one.
        failures: Consecutive failures.
        fall: Consecutive failures until it counts as down.
    """

    at: Moment
    outcome: str
    status: int
    failures: int
    fall: int


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """One observability backend.

    Attributes:
        namespace: The namespace of its Service; empty for a static backend.
        name: The name of its Service.
        type: The tool type; ``other`` for one that no detector knows.
        product: The product that was recognised; empty when none was.
        published: Whether the toolsets of the agent contain it.
        verdict: ``Published``, or the reason why it is not.
        address: Scheme, host and port; empty when the host is not the Service's own.
        since: Since when the verdict holds; ``None`` when that is not known.
        required: Whether the settings require it to be published.
        last_probe: Its last health check; ``None`` when there was none.
    """

    namespace: str
    name: str
    type: str
    published: bool
    verdict: str
    product: str = ""
    address: str = ""
    since: Moment | None = None
    required: bool = False
    last_probe: LastProbe | None = None


class BackendList(msgspec.Struct, frozen=True, kw_only=True):
    """Backends, and what needs attention.

    Attributes:
        at: When this was true.
        role: What the replica that answers does; only the ``leader`` knows the backends.
        issues: What needs attention, the worst first.
        backends: Ordered by namespace and name.
        omitted: How many more match.
    """

    at: Moment
    role: Role
    issues: tuple[Issue, ...] = ()
    backends: tuple[Backend, ...] = ()
    omitted: int = 0


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a Service is published or not.

    Attributes:
        at: When this was true.
        role: What the replica that answers does; only the ``leader`` knows the Services.
        sentence: The verdict as a sentence.
        remedy: What an admin can do about it; empty when nothing is to be done.
        service: What is known of it; ``None`` when nothing is.
    """

    at: Moment
    role: Role
    sentence: str
    remedy: str = ""
    service: Backend | None = None


class RecentChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change.

    Attributes:
        at: When.
        kind: What happened.
        namespace: Of the Service, or of the ConfigMap.
        name: Of the Service, or of the ConfigMap.
        type: The tool type; empty without one.
        sentence: What the kind means.
    """

    at: Moment
    kind: ChangeKind
    namespace: str
    name: str
    type: str
    sentence: str


class ChangeList(msgspec.Struct, frozen=True, kw_only=True):
    """The latest changes.

    Attributes:
        at: When this was true.
        role: What the replica that answers does; only the ``leader`` sees changes.
        changes: The newest first.
    """

    at: Moment
    role: Role
    changes: tuple[RecentChange, ...] = ()
