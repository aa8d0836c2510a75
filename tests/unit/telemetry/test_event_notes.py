from support.build import candidate
from toolset.core.candidate import Reason, Rejected
from toolset.core.health.removal_brake import Hold
from toolset.model import Key
from toolset.telemetry import event_notes

KEY = Key("monitoring", "prometheus")
TOOL = candidate("prometheus", host="p", port=9090)


def test_a_tool_that_moves_names_both_urls() -> None:
    moved = candidate("prometheus", host="q", port=9090)
    assert event_notes.published(KEY, TOOL, None) == f"Service {KEY} is published as prometheus at {TOOL.url}"
    assert event_notes.published(KEY, moved, TOOL) == (
        f"Service {KEY} is now published as prometheus at {moved.url}; it was prometheus at {TOOL.url}"
    )


def test_a_service_that_is_not_published_says_whether_it_was() -> None:
    verdict = Rejected(Reason.UNHEALTHY, "answered 503")
    assert event_notes.not_published(KEY, verdict, before=True) == (
        f"Service {KEY} is no longer published: {verdict.sentence}"
    )
    assert (
        event_notes.not_published(KEY, verdict, before=False) == f"Service {KEY} is not published: {verdict.sentence}"
    )
    assert event_notes.not_published(KEY, None, before=True).endswith("is no longer published: it was deleted")


def test_a_hold_names_five_tools_and_counts_the_others() -> None:
    hold = Hold(frozenset(Key("a", f"tool-{number}") for number in range(7)), begins=True, known=9, again_s=120.0)
    note = event_notes.removals_held(hold)
    assert note.endswith("nothing is removed for 120 s: a/tool-0, a/tool-1, a/tool-2, a/tool-3, a/tool-4 and 2 more")


def test_a_reload_names_what_changed_and_what_waits_for_a_restart() -> None:
    assert event_notes.settings_reloaded([], []) == "nothing changed"
    assert event_notes.settings_reloaded(["health.timeout"], ["server.port"]) == (
        "health.timeout changed; server.port will change with a restart"
    )
