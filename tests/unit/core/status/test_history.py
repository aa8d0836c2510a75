"""What the status remembers: changes, since when, the last probe; and never more than its limits."""

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from support.prober import HEALTHY, UNHEALTHY
from toolset.core.candidate import Candidate, Reason, Rejected, Verdict
from toolset.core.health.removal_brake import Hold
from toolset.core.overrides.baseline import NOTHING, Published
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.plan import Apply
from toolset.core.publishing.publication import publish
from toolset.core.status.history import History
from toolset.core.status.snapshot import CHANGES_LIMIT, TEXT_LIMIT
from toolset.model import Key

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
LATER = NOW + timedelta(minutes=1)
TARGET = Key("kubernaut-system", "kubernaut-toolset-config")
TOOL = candidate()
KEY = TOOL.key
REJECTED = Rejected(Reason.UNHEALTHY, "answered 503", "prometheus")
NEAR = Rejected(Reason.NO_USABLE_PORT, "", "prometheus")
NO_MATCH = Rejected(Reason.NO_MATCH)


def history() -> History:
    made = History(TARGET)
    made.begin(NOTHING)
    return made


def kinds(made: History) -> list[str]:
    return [f"{each.kind} {each.name}" for each in made.changes]


def test_a_tool_that_is_settled_is_published_since_then() -> None:
    made = history()
    made.detected(KEY, TOOL, NOW)
    made.settled({KEY: TOOL}, NOW)
    made.settled({KEY: TOOL}, LATER)
    seen = made.seen(KEY)
    assert seen is not None
    assert (seen.word, seen.since) == ("Published", NOW)
    assert kinds(made) == ["added prometheus"]
    assert made.changes[0].sentence == f"published as prometheus at {TOOL.url}"


def test_a_tool_that_was_published_before_has_no_time_and_is_no_change() -> None:
    made = History(TARGET)
    made.begin(Published(tools={KEY: TOOL.url}))
    made.settled({KEY: TOOL}, NOW)
    seen = made.seen(KEY)
    assert seen is not None
    assert (seen.word, seen.since, kinds(made)) == ("Published", None, [])


def test_a_change_of_the_url_and_a_loss_are_changes() -> None:
    made, moved = history(), candidate(port=80)
    made.settled({KEY: TOOL}, NOW)
    made.settled({KEY: moved}, NOW)
    made.settled({KEY: REJECTED}, LATER)
    made.settled({KEY: REJECTED}, LATER)
    assert kinds(made) == ["removed prometheus", "changed prometheus", "added prometheus"]
    assert made.changes[0].sentence == "no longer published: its health check fails (answered 503)"
    assert made.changes[1].sentence.endswith(f"it was {TOOL.url}")


def test_a_candidate_that_is_refused_is_a_change_but_one_that_waits_is_not() -> None:
    made = history()
    made.settled({KEY: Rejected(Reason.UNPROBED)}, NOW)
    assert kinds(made) == []
    made.settled({KEY: REJECTED}, NOW)
    assert kinds(made) == ["rejected prometheus"]


def test_a_url_that_overrides_move_is_the_one_that_is_shown() -> None:
    made, moved = history(), candidate(host="elsewhere.monitoring.svc.cluster.local")
    made.composed(publish([moved], OutputOptions()), NOW)
    made.settled({KEY: TOOL}, NOW)
    assert made.tools[KEY].url == moved.url
    assert moved.url in made.changes[0].sentence


def test_a_deleted_service_is_forgotten_and_its_loss_is_a_change() -> None:
    made = history()
    made.settled({KEY: TOOL}, NOW)
    made.probed(TOOL, HEALTHY, 0.1, NOW)
    made.detected(KEY, None, LATER)
    made.detected(KEY, None, LATER)
    assert kinds(made) == ["removed prometheus", "added prometheus"]
    assert made.changes[0].sentence == "no longer published: it was deleted"
    assert made.size == (0, 0, 2)


def test_a_service_that_no_detector_recognises_any_more_says_why() -> None:
    made = history()
    made.settled({KEY: TOOL}, NOW)
    made.detected(KEY, NEAR, LATER)
    made.detected(KEY, NEAR, LATER + timedelta(minutes=1))
    seen = made.seen(KEY)
    assert seen is not None
    assert (seen.word, seen.since) == ("NoUsablePort", LATER)
    assert "it has no usable port" in made.changes[0].sentence


def test_an_ordinary_service_leaves_nothing() -> None:
    made = history()
    before = made.revision
    made.detected(KEY, NO_MATCH, NOW)
    assert (made.size, made.revision) == ((0, 0, 0), before)


def test_a_listener_hears_of_each_change_until_it_cancels() -> None:
    made = history()
    heard: list[int] = []
    assert (made.has_listeners, heard) == (False, [])
    cancel = made.subscribe(lambda: heard.append(made.revision))
    assert (made.has_listeners, heard) == (True, [])
    made.settled({KEY: TOOL}, NOW)
    made.settled({KEY: TOOL}, NOW)
    made.detected(KEY, NEAR, NOW)
    cancel()
    made.settled({KEY: TOOL}, NOW)
    assert len(heard) == 2
    assert heard == sorted(set(heard))


def test_a_write_that_reverts_an_edit_is_a_change() -> None:
    made = history()
    keys = tuple(f"k{number}" for number in range(30))
    made.published(Apply(b"", keys, ("gone",), drifted=True), 3, NOW)
    assert made.write is not None
    assert (made.write.tools, len(made.write.written), made.write.removed) == (3, 20, ("gone",))
    assert made.changes[0].kind == "repaired"
    assert made.changes[0].sentence == "an edit by somebody else was reverted: k0, k1, k2, k3, k4 and 26 more"
    made.published(Apply(b"", ("a",), ()), 3, NOW)
    assert len(made.changes) == 1


def test_held_removals_are_shown_until_they_end() -> None:
    made = history()
    hold = Hold(frozenset({KEY, Key("a", "b")}), begins=True, known=3, again_s=60.0)
    made.held_back(hold, NOW)
    assert (made.held.count, made.held.until, made.held.tools) == (2, LATER, ("a/b", str(KEY)))
    revision = made.revision
    made.held_back(Hold(hold.keys, known=3, again_s=59.0), NOW)
    assert made.revision == revision
    made.held_back(Hold(ends=True), LATER)
    assert (made.held.count, made.held.until) == (0, None)
    assert [each.kind for each in made.changes] == ["released", "held"]


def test_overrides_that_do_not_count_have_a_time() -> None:
    made = history()
    made.composed(publish([TOOL], OutputOptions()), NOW)
    before = made.overrides
    made.composed(publish([TOOL], OutputOptions(), text="tools: ["), LATER)
    assert (made.overrides.valid, made.overrides.since) == (False, LATER)
    assert "line 2" in made.overrides.error
    assert (before.valid, before.since) == (True, None)


def test_the_end_of_a_leadership_forgets_all_but_the_changes() -> None:
    made = history()
    made.composed(publish([TOOL], OutputOptions()), NOW)
    made.settled({KEY: TOOL}, NOW)
    made.probed(TOOL, HEALTHY, 0.1, NOW)
    made.close()
    assert made.size == (0, 0, 1)
    assert (made.settled_verdict(KEY), made.tools, made.bytes) == (None, {}, 0)


def test_changes_are_numbered_and_can_be_continued() -> None:
    made = history()
    for number in range(5):
        made.settled({Key("a", f"s{number}"): candidate(f"s{number}", namespace="a")}, NOW)
    assert [each.number for each in made.changes] == [5, 4, 3, 2, 1]
    assert [each.number for each in made.changes_after(3)] == [4, 5]
    assert made.number == 5


VERDICTS: st.SearchStrategy[Verdict | None] = st.sampled_from(
    [
        None,
        NO_MATCH,
        NEAR,
        REJECTED,
        Rejected(Reason.OPTED_OUT),
        Rejected(Reason.BAD_ANNOTATION, "x" * 2000, asked=True),
    ]
)


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["detected", "lost", "settled", "probed"]), VERDICTS), max_size=300
    )
)
def test_memory_is_bounded_by_the_services_that_have_a_row(steps: list[tuple[int, str, Verdict | None]]) -> None:
    made = history()
    alive: dict[Key, Candidate] = {}
    shown: set[Key] = set()
    for number, step, verdict in steps:
        tool = candidate(f"s{number}")
        if step == "detected":
            alive[tool.key] = tool
            made.detected(tool.key, tool, NOW)
        elif step == "lost":
            alive.pop(tool.key, None)
            shown.discard(tool.key)
            made.detected(tool.key, verdict, NOW)
            if isinstance(verdict, Rejected) and verdict is not NO_MATCH:
                shown.add(tool.key)
        elif step == "settled":
            made.settled(dict.fromkeys(alive, REJECTED) if verdict else dict(alive), NOW)
        elif tool.key in alive:
            made.probed(tool, UNHEALTHY, 0.1, NOW)
        seen, probes, changes = made.size
        assert seen <= len(alive.keys() | shown)
        assert probes <= len(alive)
        assert changes <= CHANGES_LIMIT
    assert all(len(each.sentence) <= TEXT_LIMIT for each in made.changes)
