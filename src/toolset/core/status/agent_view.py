"""The status for agents: validated names, enumerated words, and sentences of this service.

A language model reads all of it, and the owner of a Service must not be able to instruct the model. So labels,
annotation values, base paths, and texts of the API server or of field managers are omitted; so is a tool type that no
detector and no setting names.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from toolset.core.candidate import Reason
from toolset.core.health.thresholds import Failure
from toolset.core.status.agent_types import (
    Backend,
    BackendList,
    ChangeList,
    Explanation,
    Issue,
    Known,
    LastProbe,
    RecentChange,
)
from toolset.core.status.snapshot import PUBLISHED, Change, ChangeKind, Problem, Role, ServiceStatus, StatusSnapshot

BACKENDS_DEFAULT: Final = 50
BACKENDS_LIMIT: Final = 200
CHANGES_DEFAULT: Final = 20
OTHER: Final = "other"
"""Replaces an unknown tool type, or another unknown word."""

_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_OUTCOMES: Final = frozenset({"alive", "unauthorized", *(failure.value for failure in Failure)})
_VERDICTS: Final[Mapping[str, str]] = {PUBLISHED: "it is published", **{each.word: each.value for each in Reason}}
_UNKNOWN: Final = "nothing is known of this Service: there is none of that name, or this replica does not lead"
_CHANGES: Final[Mapping[ChangeKind, str]] = {
    "added": "it was published",
    "removed": "it is no longer published",
    "changed": "it is published at another address or as another type",
    "rejected": "it was recognised, and is not published",
    "held": "most tools stopped answering at once, so nothing is removed for now",
    "released": "removals are no longer held",
    "repaired": "an edit of the ConfigMap by somebody else was reverted",
}
_PROBLEMS: Final[Mapping[str, str]] = {
    "NotSynced": "nothing is published until the cluster is listed",
    "RequiredToolMissing": "a tool that the settings require has not been published for 5 minutes",
    "ApiServerSilent": "the API server does not answer, so what is published may be stale",
    "PermissionMissing": "the API server does not allow something that this service needs",
    "WriterConflict": "another process keeps or overwrites the ConfigMap",
    "ElectionOff": "the election is off here while another process leads",
    "Exhausted": "this service lacks descriptors, memory or threads",
    "RemovalsHeld": "most tools stopped answering at once, so those that fail stay published for now",
    "OverridesInvalid": "overrides.yaml is ignored, or some of its patches are",
    "OverridesUnmatched": "the admin's overrides name a Service that does not exist",
    "SettingsInvalid": "the settings file is rejected, and the previous settings stay in force",
    "RestartNeeded": "some changes of the settings need a restart",
    "OverLimit": "some tools are not published because a limit is reached",
    "Standby": "this replica stands by and knows no Services; ask again, and the leader may answer",
    "Stopping": "this replica is shutting down",
    "ProbesOff": "health checks are off, so every candidate counts as healthy",
    "ApprovalPending": "some Services of untrusted namespaces wait for an admin's approval",
}


class AgentView:
    """Shows the status to an agent."""

    def __init__(self, snapshot: StatusSnapshot, known: Known) -> None:
        """Create it; ``known`` are the words that may be shown."""
        self._snapshot = snapshot
        self._known = known
        self._at = snapshot.summary.at
        self._role: Role = snapshot.summary.installation.role

    def backends(
        self, *, namespace: str = "", tool_type: str = "", unpublished: bool = False, limit: int = BACKENDS_DEFAULT
    ) -> BackendList:
        """Return backends.

        Args:
            namespace: Only those of this namespace; empty for all.
            tool_type: Only those of this type; empty for all.
            unpublished: Whether to include those that are not published.
            limit: Maximum number of backends.
        """
        shown = (self._backend(each) for each in self._snapshot.services if each.published or unpublished)
        found = [
            each
            for each in shown
            if each is not None and namespace in {"", each.namespace} and tool_type in {"", each.type}
        ]
        return BackendList(
            at=self._at,
            role=self._role,
            issues=tuple(_issues(self._snapshot.summary.problems)),
            backends=tuple(found[:limit]),
            omitted=max(0, len(found) - limit),
        )

    def explanation(self, service: ServiceStatus | None) -> Explanation:
        """Return why ``service`` is published or not; ``None`` for an unknown Service."""
        shown = self._backend(service) if service is not None else None
        if service is None or shown is None:
            return Explanation(at=self._at, role=self._role, sentence=_UNKNOWN)
        sentence = _VERDICTS.get(shown.verdict, _UNKNOWN)
        if service.held:
            sentence += "; it fails its health check, and its removal is held"
        return Explanation(at=self._at, role=self._role, sentence=sentence, remedy=service.remedy, service=shown)

    def changes(self, limit: int = CHANGES_DEFAULT) -> ChangeList:
        """Return the latest changes, at most ``limit``."""
        shown = (self._change(each) for each in self._snapshot.summary.changes)
        found = [each for each in shown if each is not None]
        return ChangeList(at=self._at, role=self._role, changes=tuple(found[:limit]))

    def _backend(self, service: ServiceStatus) -> Backend | None:
        """Return the view of a Service; ``None`` if Kubernetes does not allow its name."""
        if not is_checked(service.namespace, service.name):
            return None
        is_known, probe = service.type in self._known.types, service.probe
        return Backend(
            namespace=service.namespace,
            name=service.name,
            type=self._type(service.type),
            product=service.product if is_known else "",
            published=service.published,
            verdict=service.verdict if service.verdict in _VERDICTS else OTHER,
            address=self._address(service),
            since=service.since,
            required=service.required,
            last_probe=LastProbe(
                at=probe.at,
                outcome=probe.outcome if probe.outcome in _OUTCOMES else OTHER,
                status=probe.status,
                failures=probe.failures,
                fall=probe.fall,
            )
            if probe is not None
            else None,
        )

    def _change(self, change: Change) -> RecentChange | None:
        if not is_checked(change.namespace, change.name):
            return None
        return RecentChange(
            at=change.at,
            kind=change.kind,
            namespace=change.namespace,
            name=change.name,
            type=self._type(change.type),
            sentence=_CHANGES[change.kind],
        )

    def _type(self, tool_type: str) -> str:
        return tool_type if not tool_type or tool_type in self._known.types else OTHER

    def _address(self, service: ServiceStatus) -> str:
        """Return scheme, host and port if the host is the Service's own, or the settings name it."""
        try:
            parts = urlsplit(service.url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return ""
        own = f"{service.name}.{service.namespace}.svc.{self._known.cluster_domain}"
        is_shown = host == own or (not service.namespace and _NAME.fullmatch(host) is not None)
        is_http = parts.scheme in {"http", "https"} and port is not None
        return f"{parts.scheme}://{host}:{port}" if is_shown and is_http else ""


def is_checked(namespace: str, name: str) -> bool:
    """Return whether Kubernetes allows these names; a static backend has no namespace."""
    is_named = len(name) <= 253 and _NAME.fullmatch(name) is not None
    return is_named and (not namespace or _NAMESPACE.fullmatch(namespace) is not None)


def _issues(problems: Collection[Problem]) -> Iterator[Issue]:
    for each in problems:
        if each.word in _PROBLEMS:
            yield Issue(word=each.word, severity=each.severity, sentence=_PROBLEMS[each.word])
