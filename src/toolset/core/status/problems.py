"""What needs attention, each in one sentence with its remedy."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from toolset.core.candidate import Reason, Rejected, Verdict
from toolset.core.status.history import History
from toolset.core.status.required import Missing
from toolset.core.status.snapshot import NAMES_LIMIT, Problem, Role, Severity, plain
from toolset.core.status.texts import counted
from toolset.model import Key

_SHOWN: Final = 3
ProblemWord = Literal[
    "NotSynced",
    "RequiredToolMissing",
    "ApiServerSilent",
    "PermissionMissing",
    "WriterConflict",
    "ElectionOff",
    "Exhausted",
    "RemovalsHeld",
    "OverridesInvalid",
    "OverridesUnmatched",
    "SettingsInvalid",
    "RestartNeeded",
    "OverLimit",
    "Standby",
    "Stopping",
    "ProbesOff",
    "ApprovalPending",
]


class MissingPermission(msgspec.Struct, frozen=True):
    """A permission that the API server does not grant: its name, what does not work without it, and the rule to add."""

    sentence: str
    loss: str
    remedy: str


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the parts of the process; a text is empty if nothing is wrong.

    Attributes:
        role: What this replica does.
        leader: The identity of the leader; empty when it is not known.
        unsynced: What has not been listed yet, and why.
        out_of_contact: A message that the API server is silent.
        waits_for: A message that another process leads although the election is off here.
        writer_conflict: Why what this replica publishes does not last.
        exhausted: The resources that this process lacks.
        settings_error: Why the settings file is rejected.
        restart_needed: Settings that differ from the file until a restart.
        missing: Missing permissions.
        probing: Whether candidates are probed.
        target: The ConfigMap.
        overrides: The ConfigMap with `overrides.yaml`; ``None`` for the target itself.
    """

    role: Role
    target: Key
    overrides: Key | None = None
    leader: str = ""
    unsynced: str = ""
    out_of_contact: str = ""
    waits_for: str = ""
    writer_conflict: str = ""
    exhausted: str = ""
    settings_error: str = ""
    restart_needed: tuple[str, ...] = ()
    missing: tuple[MissingPermission, ...] = ()
    probing: bool = True


def problems(condition: Condition, history: History, verdicts: Mapping[str, int]) -> tuple[Problem, ...]:
    """Return what needs attention.

    Args:
        condition: The state of the parts of the process.
        history: The recorded history.
        verdicts: How many Services have each verdict.
    """
    found = (*_process(condition), *_permissions(condition), *_settings(condition), *_publishing(history, condition))
    return (*found, *_limits(verdicts))


def missing_tools(missing: Mapping[Key, Missing], verdicts: Mapping[Key, Verdict], now: datetime) -> Iterator[Problem]:
    """Yield the required tools that have been missing for too long, with the reason."""
    for key, each in missing.items():
        if not each.is_overdue:
            continue
        verdict = verdicts.get(key)
        why = verdict.sentence if isinstance(verdict, Rejected) else "there is no such Service"
        minutes = int((now - each.since).total_seconds() // 60)
        yield _problem(
            "RequiredToolMissing",
            "error",
            f"{key} must be published and has not been for {minutes} min: {why}",
            f"`toolset status {key}` says more; publish.required names it",
        )


def unmatched_overrides(sentences: Sequence[str], condition: Condition) -> Iterator[Problem]:
    """Yield one problem for names in `overrides.yaml` that no Service has."""
    if sentences:
        more = f"; and {len(sentences) - _SHOWN} more" if len(sentences) > _SHOWN else ""
        yield _problem(
            "OverridesUnmatched",
            "info",
            "; ".join(sentences[:_SHOWN]) + more,
            f"correct the name in ConfigMap {condition.overrides or condition.target}, or create the Service",
        )


def _problem(word: ProblemWord, severity: Severity, sentence: str, remedy: str = "") -> Problem:
    return Problem(word=word, severity=severity, sentence=plain(sentence), remedy=plain(remedy))


def _process(condition: Condition) -> Iterator[Problem]:
    if condition.role == "stopping":
        yield _problem("Stopping", "info", "this replica is shutting down; nothing new is published by it")
    if condition.unsynced:
        yield _problem(
            "NotSynced",
            "error" if condition.missing else "warning",
            f"nothing is published until the cluster is listed: {condition.unsynced}",
            "wait a few seconds; if it stays, run `toolset doctor` in the pod",
        )
    if condition.out_of_contact:
        yield _problem(
            "ApiServerSilent",
            "error",
            f"{condition.out_of_contact}; what is published stays as it is and becomes stale",
            "check the API server and the network between it and this pod",
        )
    if condition.waits_for:
        yield _problem("ElectionOff", "error", condition.waits_for)
    if condition.role == "standby":
        leader = condition.leader or "not known yet"
        yield _problem(
            "Standby",
            "info",
            f"this replica is a standby and has no verdicts; the leader is {leader}",
            "ask the leader: the part of its identity before the first `_` is the name of its pod",
        )
    if condition.exhausted:
        yield _problem("Exhausted", "error", condition.exhausted, "raise the limits of the container")


def _permissions(condition: Condition) -> Iterator[Problem]:
    for each in condition.missing[:NAMES_LIMIT]:
        yield _problem("PermissionMissing", "error", f"may not {each.sentence}: {each.loss}", each.remedy)


def _settings(condition: Condition) -> Iterator[Problem]:
    if condition.settings_error:
        yield _problem(
            "SettingsInvalid",
            "warning",
            f"the settings file is rejected and the previous settings stay in force: {condition.settings_error}",
            "correct the file; `toolset check-config FILE` checks it",
        )
    if condition.restart_needed:
        names = ", ".join(condition.restart_needed[:NAMES_LIMIT])
        yield _problem("RestartNeeded", "warning", f"changed in the file, not in force: {names}", "restart the pods")
    if not condition.probing:
        yield _problem("ProbesOff", "info", "health checks are off: every candidate counts as healthy")


def _publishing(history: History, condition: Condition) -> Iterator[Problem]:
    withheld = bool(condition.writer_conflict) and plain(condition.writer_conflict) in history.overrides.error
    if condition.writer_conflict and not withheld:
        yield _problem(
            "WriterConflict",
            "error",
            condition.writer_conflict,
            f"`kubectl get configmap -n {condition.target.namespace} {condition.target.name} --show-managed-fields "
            "-o yaml` names who writes",
        )
    held = history.held
    if held.count:
        names = ", ".join(held.tools[:5]) + (f" and {held.count - 5} more" if held.count > 5 else "")
        until = held.until.strftime(" until %H:%M:%S UTC") if held.until else ""
        yield _problem(
            "RemovalsHeld",
            "warning",
            f"most tools stopped answering at once, so {held.count} that fail stay published{until}: {names}",
            "check the network between this pod and the backends; a NetworkPolicy or DNS is a common cause",
        )
    overrides = history.overrides
    if not overrides.valid:
        partly = bool(overrides.dropped)
        what = (
            f"{overrides.dropped} patches cannot be applied, the others are in force"
            if partly
            else "it is not in force as it is now"
        )
        yield _problem(
            "OverridesInvalid",
            "error" if withheld else "warning",
            f"overrides.yaml: {what}: {overrides.error}",
            f"correct or restore overrides.yaml in ConfigMap {condition.overrides or condition.target}",
        )


def _limits(verdicts: Mapping[str, int]) -> Iterator[Problem]:
    if count := verdicts.get(Reason.OVER_LIMIT.word, 0):
        yield _problem(
            "OverLimit",
            "warning",
            f"{counted(count, 'tool')} not published because a limit is reached",
            "see output.limit_kib, output.max_per_type, output.max_http_tools and discovery.untrusted_limit",
        )
    if count := verdicts.get(Reason.PENDING.word, 0):
        yield _problem(
            "ApprovalPending",
            "info",
            f"{counted(count, 'Service')} of untrusted namespaces not approved yet",
            "add them to `approve` in overrides.yaml",
        )
