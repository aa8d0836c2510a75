"""Each condition has one sentence that says what is wrong, and what to do."""

from datetime import datetime, timezone

import msgspec
import pytest

from toolset.core.status.history import History
from toolset.core.status.problems import Condition, MissingPermission, problems
from toolset.core.status.snapshot import Held, Overrides, Problem
from toolset.model import Key

TARGET = Key("kubernaut-system", "kubernaut-toolset-config")
NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
PERMISSION = MissingPermission("list services in every namespace", "no Service is seen", "add to the ClusterRole ...")


def found(
    condition: dict[str, object] | None = None, history: History | None = None, verdicts: dict[str, int] | None = None
) -> list[Problem]:
    made = msgspec.structs.replace(Condition(role="leader", target=TARGET), **(condition or {}))
    return [*problems(made, history or History(TARGET), verdicts or {})]


def test_a_leader_in_order_has_no_problem() -> None:
    assert found(verdicts={"Published": 3, "NoMatch": 100}) == []


@pytest.mark.parametrize(
    ("condition", "word", "severity", "said"),
    [
        ({"role": "stopping"}, "Stopping", "info", "this replica is shutting down"),
        ({"unsynced": "services: not listed yet"}, "NotSynced", "warning", "services: not listed yet"),
        ({"out_of_contact": "no answer for 200 s"}, "ApiServerSilent", "error", "becomes stale"),
        ({"waits_for": "other_1 holds Lease a/b"}, "ElectionOff", "error", "other_1 holds"),
        ({"role": "standby", "leader": "pod-1_x"}, "Standby", "info", "the leader is pod-1_x"),
        ({"role": "standby"}, "Standby", "info", "the leader is not known yet"),
        ({"exhausted": "out of descriptors"}, "Exhausted", "error", "out of descriptors"),
        ({"missing": (PERMISSION,)}, "PermissionMissing", "error", "may not list services in every namespace"),
        ({"settings_error": "line 3: no"}, "SettingsInvalid", "warning", "line 3: no"),
        ({"restart_needed": ("target.name",)}, "RestartNeeded", "warning", "not in force: target.name"),
        ({"probing": False}, "ProbesOff", "info", "counts as healthy"),
        ({"writer_conflict": "overwritten by kubectl"}, "WriterConflict", "error", "overwritten by kubectl"),
    ],
)
def test_a_condition_is_a_problem(condition: dict[str, object], word: str, severity: str, said: str) -> None:
    (problem,) = found(condition)
    assert (problem.word, problem.severity) == (word, severity)
    assert said in problem.sentence


def test_a_list_that_fails_for_want_of_a_right_is_an_error() -> None:
    assert {
        each.word: each.severity for each in found({"unsynced": "services: forbidden", "missing": (PERMISSION,)})
    } == {
        "NotSynced": "error",
        "PermissionMissing": "error",
    }


def test_held_removals_are_named_with_their_end() -> None:
    history = History(TARGET)
    history.held = Held(count=7, until=NOW, tools=tuple("abcdefg"))
    (problem,) = found(history=history)
    assert problem.sentence.endswith("7 that fail stay published until 12:00:00 UTC: a, b, c, d, e and 2 more")
    history.held = Held(count=3, tools=("a", "b", "c"))
    (problem,) = found(history=history)
    assert problem.sentence.endswith("3 that fail stay published: a, b, c")


def test_overrides_say_whether_all_or_some_of_them_are_ignored() -> None:
    history = History(TARGET)
    history.overrides = Overrides(valid=False, error="overrides.yaml, line 3: no")
    assert "it is not in force as it is now: overrides.yaml, line 3: no" in found(history=history)[0].sentence
    history.overrides = Overrides(valid=False, error="line 3", dropped=2)
    assert "2 patches cannot be applied" in found(history=history)[0].sentence


def test_overrides_that_keep_everything_from_being_written_are_one_error() -> None:
    history = History(TARGET)
    history.overrides = Overrides(valid=False, error="nothing is written: there is no ConfigMap a/b; create it")
    (problem,) = found({"writer_conflict": "nothing is written: there is no ConfigMap a/b"}, history)
    assert (problem.word, problem.severity) == ("OverridesInvalid", "error")


def test_limits_and_approvals_are_counted() -> None:
    assert [(each.word, each.sentence[:2]) for each in found(verdicts={"OverLimit": 4, "Pending": 2})] == [
        ("OverLimit", "4 "),
        ("ApprovalPending", "2 "),
    ]
