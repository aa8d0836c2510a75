from collections.abc import Sequence
from itertools import pairwise

import anyio
import pytest

from support.background import running
from support.lister_watcher import (
    SILENCE,
    Arriving,
    Asked,
    Pause,
    Script,
    ScriptedListerWatcher,
    Step,
    Thing,
)
from toolset.errors import ForbiddenError, InvalidError, OutOfSyncError, ToolsetError, UnavailableError
from toolset.model import Key
from toolset.runtime.backoff import TokenBucket
from toolset.runtime.listwatch import (
    PAGE_SIZES,
    Applied,
    Bookmark,
    Deleted,
    Event,
    ListerWatcher,
    Page,
    Skipped,
)
from toolset.runtime.reflector import Reflector, ReflectorOptions, watch_starts
from toolset.runtime.store import Delta, Store

A, B, C = (Key("default", name) for name in "abc")
REFUSED = UnavailableError("connection refused")
THROTTLED = UnavailableError("too many requests", throttled=True)
GONE = OutOfSyncError("too old resource version", version_unusable=True)
BROKEN = OutOfSyncError("internal error")
CANNOT_STREAM = InvalidError("sendInitialEvents is forbidden")
EMPTY_LIST: list[Event[Thing]] = [Bookmark("10", initial_end=True)]


class Heard:
    """An observer that notes everything."""

    def __init__(self) -> None:
        self.lists: list[tuple[int, str]] = []
        self.list_took_s: list[float] = []
        self.watches: list[tuple[int, float]] = []
        self.errors: list[ToolsetError] = []
        self.delays_s: list[float] = []
        self.foreign_writes: list[str] = []
        self.given_up: list[Exception] = []

    def listed(self, items: int, took_s: float, reason: str) -> None:
        self.lists.append((items, reason))
        self.list_took_s.append(took_s)

    def watch_ended(self, events: int, took_s: float) -> None:
        self.watches.append((events, took_s))

    def failed(self, error: ToolsetError, retry_in_s: float) -> None:
        self.errors.append(error)
        self.delays_s.append(retry_in_s)

    def skipped(self, what: str) -> None:
        self.foreign_writes.append(what)

    def streaming_given_up(self, error: Exception) -> None:
        self.given_up.append(error)


class Scene:
    """A reflector with its surroundings; delays have no jitter unless asked for."""

    def __init__(
        self,
        source: ListerWatcher[Thing],
        *,
        jitter: float = 0.0,
        options: ReflectorOptions = ReflectorOptions(),
        starts: TokenBucket | None = None,
    ) -> None:
        self.began = anyio.current_time()
        self.heard = Heard()
        self.handler_errors: list[Exception] = []
        self.store: Store[Thing] = Store(self.handler_errors.append)
        self.reflector = Reflector(
            source,
            self.store,
            self.heard,
            jitter=lambda: jitter,
            options=options,
            starts=starts,
            watch_observer=self.heard,
        )

    async def run(self, seconds: float) -> None:
        async with running(self.reflector.run):
            await anyio.sleep(seconds)

    @property
    def things(self) -> dict[Key, Thing]:
        return dict(self.store.snapshot())


def end_of_list(version: str) -> Bookmark:
    return Bookmark(version, initial_end=True)


def gaps(source: ScriptedListerWatcher) -> list[float]:
    return [later - earlier for earlier, later in pairwise(source.asked_at)]


async def test_a_streamed_list_is_published_only_at_its_bookmark_and_the_stream_goes_on() -> None:
    source = ScriptedListerWatcher(
        streams=[
            [[Applied(Thing("a", "1"))], Pause(5), [end_of_list("7")], Pause(5), [Applied(Thing("b", "8"))], SILENCE]
        ]
    )
    scene = Scene(source)
    async with running(scene.reflector.run):
        await anyio.sleep(4)
        assert scene.heard.lists == []
        assert scene.things == {}
        await anyio.sleep(4)
        assert scene.store.is_synced
        assert scene.things == {A: Thing("a", "1")}
        await anyio.sleep(4)
    assert scene.things == {A: Thing("a", "1"), B: Thing("b", "8")}
    assert scene.heard.lists == [(1, "start")]
    assert scene.heard.list_took_s == pytest.approx([5.0])
    assert source.asked == [Asked("stream list", "")]


async def test_a_bookmark_that_is_not_the_end_publishes_nothing() -> None:
    scene = Scene(ScriptedListerWatcher(streams=[[[Applied(Thing("a", "1")), Bookmark("7")], SILENCE]]))
    await scene.run(30)
    assert not scene.store.is_synced


async def test_changes_before_the_bookmark_are_folded_into_the_list() -> None:
    scene = Scene(
        ScriptedListerWatcher(
            streams=[
                [
                    [Applied(Thing("a", "1")), Applied(Thing("b", "2"))],
                    [Applied(Thing("a", "3")), Deleted(Thing("b", "4")), Deleted(Thing("c", "5")), end_of_list("5")],
                    SILENCE,
                ]
            ]
        )
    )
    reported: list[Delta[Thing]] = []
    scene.store.subscribe(reported.append)
    await scene.run(30)
    assert reported == [Delta(None, Thing("a", "3"), initial=True)]


async def test_events_that_come_in_one_chunk_with_the_end_of_the_list_are_not_lost() -> None:
    scene = Scene(
        ScriptedListerWatcher(
            streams=[[[Applied(Thing("a", "1")), end_of_list("7"), Applied(Thing("b", "8"))], SILENCE]]
        )
    )
    reported: list[Delta[Thing]] = []
    scene.store.subscribe(reported.append)
    await scene.run(30)
    assert reported == [Delta(None, Thing("a", "1"), initial=True), Delta(None, Thing("b", "8"))]
    assert scene.store.version == "8"


async def test_a_server_that_cannot_stream_lists_is_asked_for_pages_at_once() -> None:
    source = ScriptedListerWatcher(lists=[Page([Thing("a", "1")], "7")], streams=[CANNOT_STREAM])
    scene = Scene(source)
    await scene.run(30)
    assert source.asked == [Asked("stream list", ""), Asked("list", "", ""), Asked("watch", "7")]
    assert gaps(source) == [0.0, 0.0]
    assert scene.things == {A: Thing("a", "1")}
    assert scene.heard.errors == []
    assert scene.heard.given_up == [CANNOT_STREAM]


async def test_later_pages_are_asked_by_token_alone() -> None:
    source = ScriptedListerWatcher(
        lists=[
            Page([Thing("a", "1")], "7"),
            Page([Thing("a", "1")], "9", "p2"),
            Page([Thing("b", "2")], "9", "p3"),
            Page([Thing("c", "3")], "9"),
        ],
        streams=[CANNOT_STREAM, BROKEN],
    )
    scene = Scene(source)
    await scene.run(30)
    assert source.asked[3:] == [
        Asked("list", "7", ""),
        Asked("list", "", "p2"),
        Asked("list", "", "p3"),
        Asked("watch", "9"),
    ]
    assert set(scene.things) == {A, B, C}
    assert scene.heard.lists == [(1, "start"), (3, "out of sync")]


async def test_a_list_whose_second_page_fails_is_not_published() -> None:
    source = ScriptedListerWatcher(
        lists=[Page([Thing("a", "1")], "7", "p2"), BROKEN, Page([Thing("b", "2")], "8")], streams=[CANNOT_STREAM]
    )
    scene = Scene(source)
    async with running(scene.reflector.run):
        await anyio.sleep(0.5)
        assert not scene.store.is_synced
        await anyio.sleep(30)
    assert scene.things == {B: Thing("b", "2")}


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param([[Applied(Thing("a", "1"))], REFUSED], id="broken"),
        pytest.param([[Applied(Thing("a", "1"))]], id="ended before its bookmark"),
        pytest.param([BROKEN], id="an undecodable line"),
        pytest.param([[end_of_list("")]], id="a bookmark without a version"),
    ],
)
async def test_two_failures_of_a_streamed_list_lead_to_pages(failure: Script) -> None:
    source = ScriptedListerWatcher(lists=[Page([Thing("b", "2")], "7")], streams=[failure, failure])
    scene = Scene(source)
    await scene.run(30)
    assert [asked.verb for asked in source.asked] == ["stream list", "stream list", "list", "watch"]
    assert gaps(source) == pytest.approx([0.8, 1.6, 0.0])
    assert scene.things == {B: Thing("b", "2")}, "nothing of the half list"
    assert len(scene.heard.given_up) == 1


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(THROTTLED, id="429"),
        pytest.param([THROTTLED], id="429 in the stream"),
        pytest.param(REFUSED, id="a server that is down"),
    ],
)
async def test_what_says_nothing_against_streaming_is_no_strike(failure: Script) -> None:
    source = ScriptedListerWatcher(streams=[failure] * 4 + [[EMPTY_LIST, SILENCE]])
    scene = Scene(source)
    await scene.run(60)
    assert [asked.verb for asked in source.asked] == ["stream list"] * 5
    assert scene.store.is_synced
    assert scene.heard.given_up == []


LAGS = OutOfSyncError("Timeout: Too large resource version: 20273, current: 20272", version_unusable=True)


@pytest.mark.parametrize("failure", [pytest.param(LAGS, id="the answer"), pytest.param([LAGS], id="in the stream")])
async def test_a_server_whose_watch_cache_lags_is_listed_in_pages(failure: Script) -> None:
    """Kubernetes 1.30 with WatchList waits 3 s for a quiet kind to catch up with etcd, and then refuses every time."""
    source = ScriptedListerWatcher(lists=[Page([], "7")], streams=[failure])
    scene = Scene(source)
    await scene.run(30)
    assert source.asked == [Asked("stream list", ""), Asked("list", ""), Asked("watch", "7")]
    assert scene.heard.given_up == [LAGS]


async def test_a_version_that_the_list_named_says_nothing_against_streaming() -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST, BROKEN], [GONE], [EMPTY_LIST, SILENCE]])
    scene = Scene(source)
    await scene.run(30)
    assert source.asked == [Asked("stream list", ""), Asked("stream list", "10"), Asked("stream list", "")]
    assert scene.heard.given_up == []


async def expect_paged_after(script: Script, gaps_s: list[float]) -> None:
    source = ScriptedListerWatcher(lists=[Page([], "7")], streams=[script, script])
    scene = Scene(source)
    await scene.run(200)
    assert [asked.verb for asked in source.asked] == ["stream list", "stream list", "list", "watch"]
    assert gaps(source) == pytest.approx(gaps_s)
    assert [str(error) for error in scene.heard.errors] == ["the streamed list fell silent or did not end in time"] * 2


async def test_a_streamed_list_without_an_end_is_given_up_in_time() -> None:
    await expect_paged_after([Pause(15), [Bookmark("1")]] * 9, [60.8, 61.6, 0.0])


@pytest.mark.parametrize(
    ("silent", "after_s"),
    [
        pytest.param(SILENCE, 20.0, id="a request without an answer"),
        pytest.param([[Applied(Thing("a", "1"))], SILENCE], 20.0, id="after the first object"),
        pytest.param([Pause(15), [Applied(Thing("a", "1"))], SILENCE], 35.0, id="after an object that came late"),
    ],
)
async def test_a_silent_streamed_list_is_given_up_before_its_time_limit(silent: Script, after_s: float) -> None:
    """A new leader waits for this list before its first write."""
    await expect_paged_after(silent, [after_s + 0.8, after_s + 1.6, 0.0])


async def test_the_bound_on_a_streamed_list_does_not_end_the_watch_that_follows() -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST, Pause(3600), [Applied(Thing("a", "11"))], SILENCE]])
    scene = Scene(source)
    await scene.run(4000)
    assert set(scene.things) == {A}
    assert len(source.asked) == 1


async def test_pages_are_left_again_after_an_hour() -> None:
    source = ScriptedListerWatcher(
        lists=[Page([], "7"), Page([], "8")],
        streams=[CANNOT_STREAM, [Pause(3000), BROKEN], [Pause(3000), BROKEN], [EMPTY_LIST, SILENCE]],
    )
    scene = Scene(source)
    await scene.run(7200)
    assert [asked.verb for asked in source.asked] == ["stream list", "list", "watch", "list", "watch", "stream list"]


async def test_a_streamed_list_that_succeeds_takes_its_strike_back() -> None:
    source = ScriptedListerWatcher(streams=[REFUSED, [EMPTY_LIST, BROKEN], REFUSED, [EMPTY_LIST, SILENCE]])
    scene = Scene(source)
    await scene.run(600)
    assert [asked.verb for asked in source.asked] == ["stream list"] * 4


@pytest.mark.parametrize(
    ("ending", "delay_s"),
    [
        pytest.param([], 0.0, id="a clean end"),
        pytest.param([REFUSED], 0.8, id="a break"),
        pytest.param([THROTTLED], 0.8, id="429 in the stream"),
    ],
)
async def test_a_watch_that_ends_is_resumed_at_the_last_version(ending: Sequence[ToolsetError], delay_s: float) -> None:
    life: list[Step] = [[end_of_list("7")], [Applied(Thing("a", "8"))], [Bookmark("9")], [Deleted(Thing("a", "12"))]]
    source = ScriptedListerWatcher(streams=[[*life, *ending]])
    scene = Scene(source)
    await scene.run(60)
    assert source.asked == [Asked("stream list", ""), Asked("watch", "12")]
    assert gaps(source) == pytest.approx([delay_s])
    assert scene.heard.lists == [(0, "start")]
    assert scene.heard.watches[0] == (3, 0.0)


async def test_a_version_follows_every_kind_of_event() -> None:
    events: list[Event[Thing]] = [Applied(Thing("a", "11")), Bookmark("12"), Deleted(Thing("a", "13"))]
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST], *([[event]] for event in events)])
    scene = Scene(source)
    await scene.run(60)
    assert [asked.version for asked in source.asked] == ["", "10", "11", "12", "13"]


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(Applied(Thing("a", "")), id="an object"),
        pytest.param(Deleted(Thing("a", "")), id="a deletion"),
        pytest.param(Bookmark(""), id="a bookmark"),
    ],
)
async def test_an_event_without_a_version_is_not_believed(event: Event[Thing]) -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST, [event]], [EMPTY_LIST, SILENCE]])
    scene = Scene(source)
    await scene.run(60)
    assert source.asked == [Asked("stream list", ""), Asked("stream list", "10")]
    assert scene.things == {}


async def test_an_error_in_the_stream_lists_again_not_older_than_what_was_seen() -> None:
    source = ScriptedListerWatcher(
        streams=[
            [[Applied(Thing("a", "1")), Applied(Thing("b", "2")), end_of_list("7")], BROKEN],
            [[Applied(Thing("b", "2")), end_of_list("9")], SILENCE],
        ]
    )
    scene = Scene(source)
    reported: list[Delta[Thing]] = []
    async with running(scene.reflector.run):
        await anyio.sleep(0.5)
        scene.store.subscribe(reported.append)
        reported.clear()
        await anyio.sleep(30)
    assert source.asked == [Asked("stream list", ""), Asked("stream list", "7")]
    assert reported == [Delta(Thing("a", "1"), None)], "the deletion nobody saw, and nothing twice"
    assert scene.heard.lists == [(2, "start"), (1, "out of sync")]


async def test_a_server_that_is_back_but_refuses_the_version_is_listed_soon_however_long_it_was_away() -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST, REFUSED], REFUSED, REFUSED, GONE, [EMPTY_LIST, SILENCE]])
    scene = Scene(source)
    await scene.run(60)
    assert gaps(source) == pytest.approx([0.8, 1.6, 3.2, 0.8])


async def test_a_version_that_is_refused_is_not_named_again() -> None:
    source = ScriptedListerWatcher(
        streams=[[EMPTY_LIST, REFUSED], GONE, [[end_of_list("30")], Pause(5), REFUSED], [SILENCE]]
    )
    scene = Scene(source)
    await scene.run(60)
    assert source.asked == [
        Asked("stream list", ""),
        Asked("watch", "10"),
        Asked("stream list", ""),
        Asked("watch", "30"),
    ]
    assert scene.heard.lists == [(0, "start"), (0, "expired")]


async def test_the_version_of_a_consistent_list_is_named_again() -> None:
    source = ScriptedListerWatcher(
        streams=[[EMPTY_LIST, GONE], [[end_of_list("30")], BROKEN], [[end_of_list("31")], SILENCE]]
    )
    scene = Scene(source)
    await scene.run(60)
    assert [asked.version for asked in source.asked] == ["", "", "30"]


async def test_a_refused_version_stays_refused_whatever_happens_to_the_next_list() -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST, GONE], THROTTLED, BROKEN, [[end_of_list("30")], SILENCE]])
    scene = Scene(source)
    await scene.run(60)
    assert source.asked == [Asked("stream list", "")] * 4


async def test_a_version_refused_by_the_list_itself_leads_to_a_consistent_list() -> None:
    source = ScriptedListerWatcher(
        lists=[Page([], "7"), GONE, Page([Thing("a", "1")], "5")], streams=[CANNOT_STREAM, [BROKEN], [SILENCE]]
    )
    scene = Scene(source)
    await scene.run(60)
    assert source.asked[3:] == [Asked("list", "7"), Asked("list", ""), Asked("watch", "5")]
    assert set(scene.things) == {A}


async def test_ten_resumes_that_fail_in_a_row_lead_to_one_list() -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST, Pause(5)], *[REFUSED] * 10, [EMPTY_LIST, SILENCE]])
    scene = Scene(source)
    await scene.run(3600)
    assert source.asked == [
        Asked("stream list", ""),
        *[Asked("watch", "10")] * 10,
        Asked("stream list", "10"),
    ]
    assert scene.heard.lists == [(0, "start"), (0, "cannot resume")]


@pytest.mark.parametrize(
    "success",
    [
        pytest.param([[Bookmark("11")], REFUSED], id="an event"),
        pytest.param([Pause(110)], id="a watch that lived, with nothing to report"),
    ],
)
async def test_a_resume_that_succeeds_starts_the_count_afresh(success: Script) -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST, Pause(5)], *[REFUSED] * 8, success, *[REFUSED] * 8])
    scene = Scene(source)
    await scene.run(3600)
    assert scene.heard.lists == [(0, "start")]
    assert len(source.asked) == 19


async def test_watches_that_end_at_once_and_empty_are_backed_off() -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST, Pause(5)], [], [], [Pause(0.9)]])
    scene = Scene(source)
    await scene.run(60)
    assert gaps(source) == pytest.approx([5.0, 0.8, 1.6, 0.9 + 3.2])
    assert [str(error) for error in scene.heard.errors] == ["the server ended the watch at once"] * 3


async def test_a_watch_that_lived_a_second_is_resumed_at_once() -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST], [Pause(1.0)]])
    scene = Scene(source)
    await scene.run(60)
    assert gaps(source) == pytest.approx([0.8, 1.0])
    assert scene.heard.watches[:2] == [(0, 0.0), (0, pytest.approx(1.0))]


async def test_failures_wait_longer_and_longer_up_to_the_cap_and_its_jitter() -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST], *[REFUSED] * 8])
    scene = Scene(source, jitter=0.5)
    await scene.run(300)
    assert scene.heard.delays_s == pytest.approx([1.2, 2.4, 4.8, 9.6, 19.2, 38.4, 45.0, 45.0, 45.0])


async def test_retry_after_is_a_floor_under_the_delay() -> None:
    def patience(seconds: float) -> UnavailableError:
        return UnavailableError("too many requests", retry_after_s=seconds, throttled=True)

    source = ScriptedListerWatcher(streams=[patience(20.0), patience(1.0), [EMPTY_LIST, SILENCE]])
    scene = Scene(source)
    await scene.run(60)
    assert gaps(source) == pytest.approx([20.0, 1.6])


@pytest.mark.parametrize(
    ("calm_s", "delay_s"),
    [pytest.param(119.0, 3.2, id="not long enough"), pytest.param(121.0, 0.8, id="two minutes")],
)
async def test_the_delays_start_afresh_after_a_calm_time(calm_s: float, delay_s: float) -> None:
    busy: Script = [EMPTY_LIST, Pause(calm_s - 1.6), [Bookmark("11")], REFUSED]
    source = ScriptedListerWatcher(streams=[REFUSED, THROTTLED, busy, [SILENCE]])
    scene = Scene(source)
    await scene.run(600)
    assert scene.heard.delays_s == pytest.approx([0.8, 1.6, delay_s])


async def test_being_forbidden_is_retried_because_a_role_may_come_later() -> None:
    source = ScriptedListerWatcher(streams=[ForbiddenError("forbidden"), [EMPTY_LIST, SILENCE]])
    scene = Scene(source)
    await scene.run(60)
    assert scene.store.is_synced
    assert [type(error) for error in scene.heard.errors] == [ForbiddenError]


async def test_a_list_without_a_version_is_not_published() -> None:
    source = ScriptedListerWatcher(
        lists=[Page([Thing("a", "1")], ""), Page([Thing("b", "2")], "7")], streams=[CANNOT_STREAM]
    )
    scene = Scene(source)
    await scene.run(60)
    assert scene.things == {B: Thing("b", "2")}


async def test_what_came_after_a_list_that_was_refused_is_forgotten_with_it() -> None:
    source = ScriptedListerWatcher(
        streams=[[[end_of_list(""), Applied(Thing("ghost", "5"))]], [[end_of_list("7")], SILENCE]]
    )
    scene = Scene(source)
    await scene.run(60)
    assert scene.things == {}
    assert scene.store.version == "7"


async def test_each_answer_is_noted_and_each_attempt_is_not() -> None:
    source = ScriptedListerWatcher(
        streams=[
            [EMPTY_LIST, Pause(100), [Bookmark("11")], Pause(100)],
            REFUSED,
            [Pause(100), [Bookmark("12")], SILENCE],
        ]
    )
    scene = Scene(source)
    started = anyio.current_time()
    seen: list[float] = []
    async with running(scene.reflector.run):
        for _ in range(4):
            await anyio.sleep(90)
            seen.append(scene.reflector.heard_at - started)
    assert seen == pytest.approx([0.0, 100.0, 100.0, 300.8])


async def test_an_error_that_is_nobodys_ends_the_reflector() -> None:
    scene = Scene(ScriptedListerWatcher(lists=[ZeroDivisionError()], streams=[CANNOT_STREAM]))
    with pytest.raises(ZeroDivisionError):
        await scene.reflector.run()


async def test_the_version_of_an_object_before_the_end_of_the_list_is_not_resumed_from() -> None:
    half: Script = [[Applied(Thing("a", "50"))], THROTTLED]
    source = ScriptedListerWatcher(streams=[half, [EMPTY_LIST, BROKEN], half, [EMPTY_LIST, SILENCE]])
    scene = Scene(source)
    await scene.run(60)
    assert source.asked == [Asked("stream list", version) for version in ("", "", "10", "10")]


async def test_a_token_that_has_expired_leads_to_one_list_in_one_piece_not_older_than_its_first_page() -> None:
    source = ScriptedListerWatcher(
        lists=[
            Page([Thing("a", "1")], "7", "p2"),
            Page([Thing("b", "2")], "7", "p3"),
            GONE,
            Page([Thing("b", "2"), Thing("c", "8")], "9"),
        ],
        streams=[CANNOT_STREAM],
    )
    scene = Scene(source)
    await scene.run(60)
    assert source.asked[1:] == [
        Asked("list", ""),
        Asked("list", "", "p2"),
        Asked("list", "", "p3"),
        Asked("list", "7"),
        Asked("watch", "9"),
    ]
    assert set(scene.things) == {B, C}, "nothing of the pages before"
    assert scene.heard.errors == []


@pytest.mark.parametrize(
    "then",
    [
        pytest.param([GONE], id="refused as well"),
        pytest.param([Page([Thing("a", "1")], "8", "p2"), GONE], id="in pages again, which expire again"),
    ],
)
async def test_a_list_in_one_piece_that_fails_as_well_is_a_failure(then: list[Page[Thing] | Exception]) -> None:
    source = ScriptedListerWatcher(
        lists=[Page([Thing("a", "1")], "7", "p2"), GONE, *then, Page([Thing("b", "2")], "9")], streams=[CANNOT_STREAM]
    )
    scene = Scene(source)
    await scene.run(60)
    assert scene.heard.errors == [GONE]
    assert source.asked[-2:] == [Asked("list", ""), Asked("watch", "9")]
    assert scene.things == {B: Thing("b", "2")}


async def test_an_event_that_nobody_knows_is_counted_and_skipped() -> None:
    source = ScriptedListerWatcher(
        streams=[
            [
                [Applied(Thing("a", "1")), Skipped("type STRANGE"), end_of_list("7")],
                [Skipped("kind Pod"), Applied(Thing("b", "8"))],
                SILENCE,
            ]
        ]
    )
    scene = Scene(source)
    await scene.run(60)
    assert set(scene.things) == {A, B}
    assert len(source.asked) == 1
    assert scene.heard.foreign_writes == ["type STRANGE", "kind Pod"]


async def test_a_watch_that_brought_only_what_nobody_knows_was_empty() -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST], [[Skipped("type STRANGE")]], [SILENCE]])
    scene = Scene(source)
    await scene.run(60)
    assert [str(error) for error in scene.heard.errors] == ["the server ended the watch at once"] * 2


async def test_a_reflector_needs_nobody_who_hears_of_unknown_events_or_of_streaming() -> None:
    source = ScriptedListerWatcher(
        lists=[Page([], "7")], streams=[CANNOT_STREAM, [[Skipped("type STRANGE"), Applied(Thing("a", "8"))], SILENCE]]
    )
    scene = Scene(source)
    async with running(Reflector(source, scene.store, Heard(), jitter=lambda: 0.0).run):
        await anyio.sleep(60)
    assert set(scene.things) == {A}


def restless() -> ScriptedListerWatcher:
    """Return a server that ends every watch after one event."""
    return ScriptedListerWatcher(
        streams=[[EMPTY_LIST], *([[Applied(Thing("a", str(number)))]] for number in range(11, 500))]
    )


async def test_all_reflectors_together_start_five_watches_a_second_after_a_burst_of_ten() -> None:
    starts = watch_starts()
    sources = [restless(), restless()]
    scenes = [Scene(source, starts=starts) for source in sources]
    async with running(scenes[0].reflector.run), running(scenes[1].reflector.run):
        await anyio.sleep(20.1)
    assert sum(len(source.asked) for source in sources) == pytest.approx(10 + 5 * 20, abs=2)
    assert min(len(source.asked) for source in sources) > 40, "neither takes the other's place"


async def test_a_reflector_alone_is_bounded_too() -> None:
    source = restless()
    await Scene(source).run(20.1)
    assert len(source.asked) == pytest.approx(10 + 5 * 20, abs=4)


async def test_every_internal_error_leads_to_a_list_and_waits_longer_until_it_was_calm_for_a_while() -> None:
    once: Script = [EMPTY_LIST, BROKEN]
    source = ScriptedListerWatcher(streams=[once, once, once, [EMPTY_LIST, Pause(121), BROKEN], [EMPTY_LIST, SILENCE]])
    scene = Scene(source)
    await scene.run(300)
    assert [asked.verb for asked in source.asked] == ["stream list"] * 5
    assert scene.heard.delays_s == pytest.approx([0.8, 1.6, 3.2, 0.8])


SILENT: Script = [Pause(75), UnavailableError("the watch broke: silence", silent=True)]
SAYS_NOTHING: Script = [Pause(75)]


@pytest.mark.parametrize("silent", [pytest.param(SILENT, id="given up"), pytest.param(SAYS_NOTHING, id="ended")])
async def test_two_silent_watches_of_a_server_that_sends_bookmarks_lead_to_a_consistent_list(silent: Script) -> None:
    source = ScriptedListerWatcher(
        lists=[Page([Thing("a", "3")], "5")], streams=[[EMPTY_LIST, [Bookmark("90")]], silent, silent]
    )
    scene = Scene(source)
    await scene.run(600)
    assert source.asked == [
        Asked("stream list", ""),
        *[Asked("watch", "90")] * 2,
        Asked("list", ""),
        Asked("watch", "5"),
    ]
    assert scene.heard.lists == [(0, "start"), (1, "silence")]
    assert scene.things == {A: Thing("a", "3")}, "also when the server went back in time"


async def test_a_server_that_swallows_every_watch_is_listed_repeatedly() -> None:
    source = ScriptedListerWatcher(
        lists=[Page([Thing("a", str(number))], str(number)) for number in range(1, 6)],
        streams=[[EMPTY_LIST], *[SILENT] * 10],
    )
    scene = Scene(source)
    silences: list[float] = []
    async with running(scene.reflector.run):
        for _ in range(800):
            await anyio.sleep(1)
            silences.append(anyio.current_time() - scene.reflector.heard_at)
    assert scene.heard.lists == [(0, "start"), *[(1, "silence")] * 5]
    assert 150 < max(silences) < 180, "a streamed list in between would be swallowed too"
    assert len(source.asked) < 25


@pytest.mark.parametrize(
    "sign", [pytest.param(Bookmark("91"), id="a bookmark"), pytest.param(Applied(Thing("a", "91")), id="an event")]
)
async def test_anything_that_a_watch_brings_ends_the_silence(sign: Event[Thing]) -> None:
    lively: Script = [[sign], Pause(75), REFUSED]
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST, [Bookmark("90")]], SILENT, lively, SILENT, lively, SILENT])
    scene = Scene(source)
    await scene.run(600)
    assert scene.heard.lists == [(0, "start")]


async def test_short_watches_that_bring_nothing_count_once_they_could_have_brought_a_bookmark() -> None:
    short: Script = [Pause(5)]
    source = ScriptedListerWatcher(lists=[Page([], "95")], streams=[[EMPTY_LIST, [Bookmark("90")]], *[short] * 30])
    scene = Scene(source)
    await scene.run(200)
    assert [asked.verb for asked in source.asked].index("list") == 25, "after two minutes of watching"
    assert scene.heard.lists == [(0, "start"), (0, "silence")]


async def test_silence_of_a_server_without_bookmarks_is_believed_five_times_as_long() -> None:
    source = ScriptedListerWatcher(lists=[Page([], "7"), Page([], "8")], streams=[CANNOT_STREAM, *[SILENT] * 20])
    scene = Scene(source)
    silences: list[float] = []
    async with running(scene.reflector.run):
        for _ in range(900):
            await anyio.sleep(1)
            silences.append(anyio.current_time() - scene.reflector.heard_at)
    assert [asked.verb for asked in source.asked].index("list", 2) == 12
    assert scene.heard.lists == [(0, "start"), (0, "silence")]
    assert max(silences) < 180, "it cannot show that it is there but by an open watch"


async def test_a_quiet_kind_of_a_server_without_bookmarks_is_watched_without_a_gap_and_without_a_word() -> None:
    source = ScriptedListerWatcher(lists=[Page([], "7")], streams=[CANNOT_STREAM, *[SILENT] * 3, [SILENCE]])
    scene = Scene(source)
    await scene.run(300)
    assert [asked.verb for asked in source.asked] == ["stream list", "list", *["watch"] * 4]
    assert gaps(source)[2:] == pytest.approx([75.0, 75.0, 75.0])
    assert scene.heard.errors == []


async def test_a_watch_that_breaks_off_is_a_failure_also_where_silence_is_none() -> None:
    source = ScriptedListerWatcher(lists=[Page([], "7")], streams=[CANNOT_STREAM, [Pause(75), REFUSED], [SILENCE]])
    scene = Scene(source)
    await scene.run(100)
    assert scene.heard.errors == [REFUSED]


async def test_an_open_watch_is_no_sign_of_life_of_a_server_that_sends_bookmarks() -> None:
    source = ScriptedListerWatcher(streams=[[EMPTY_LIST, [Bookmark("90")], Pause(10), REFUSED], [SILENCE]])
    scene = Scene(source)
    await scene.run(100)
    assert scene.reflector.heard_at == scene.began


LATE = UnavailableError("the answer broke", incomplete=True)


async def test_a_list_in_one_piece_that_was_too_slow_is_asked_for_in_pages() -> None:
    source = ScriptedListerWatcher(
        lists=[Page([], "7"), LATE, Page([Thing("a", "1")], "9", "p2"), Page([Thing("b", "2")], "9")],
        streams=[CANNOT_STREAM, [BROKEN]],
    )
    scene = Scene(source)
    await scene.run(60)
    assert source.asked[3:] == [
        Asked("list", "7"),
        Asked("list", ""),
        Asked("list", "", "p2"),
        Asked("watch", "9"),
    ]
    assert scene.heard.lists == [(0, "start"), (2, "out of sync")]


async def test_a_refused_connection_says_nothing_against_a_list_in_one_piece() -> None:
    source = ScriptedListerWatcher(lists=[Page([], "7"), REFUSED, Page([], "9")], streams=[CANNOT_STREAM, [BROKEN]])
    scene = Scene(source)
    await scene.run(60)
    assert source.asked[3:] == [*[Asked("list", "7")] * 2, Asked("watch", "9")]


async def test_pages_that_were_too_slow_become_smaller_until_a_list_is_complete() -> None:
    source = ScriptedListerWatcher(
        lists=[LATE, LATE, LATE, Page([], "7", "p2"), Page([], "7"), Page([], "9")], streams=[CANNOT_STREAM, [BROKEN]]
    )
    scene = Scene(source)
    await scene.run(120)
    asked_for = [limit for asked, limit in zip(source.asked, source.limits, strict=True) if asked.verb == "list"]
    assert asked_for == [*PAGE_SIZES, *[PAGE_SIZES[-1]] * 2, PAGE_SIZES[0]]


async def test_a_list_that_arrives_slowly_shows_that_the_server_is_there() -> None:
    trickle = [Arriving(30.0)] * 10
    source = ScriptedListerWatcher(lists=[*trickle, Page([], "7")], streams=[CANNOT_STREAM])
    scene = Scene(source)
    async with running(scene.reflector.run):
        await anyio.sleep(299)
        assert scene.reflector.heard_at == scene.began + 270
        assert not scene.store.is_synced
        await anyio.sleep(10)
    assert scene.store.is_synced


async def test_every_answer_may_ask_for_patience() -> None:
    source = ScriptedListerWatcher(
        lists=[OutOfSyncError("internal error", retry_after_s=30.0), ForbiddenError("no", retry_after_s=25.0)],
        streams=[CANNOT_STREAM, SILENCE],
    )
    scene = Scene(source)
    await scene.run(50)
    assert scene.heard.delays_s == [30.0, 25.0]


async def test_a_change_that_was_missed_while_down_is_seen_with_the_next_list_and_nothing_else_is_reported() -> None:
    source = ScriptedListerWatcher(
        streams=[
            [[Applied(Thing("a", "1")), Applied(Thing("b", "2")), end_of_list("7")], Pause(5), GONE],
            [[Applied(Thing("a", "1")), Applied(Thing("b", "9")), end_of_list("9")], SILENCE],
        ]
    )
    scene = Scene(source)
    reported: list[Delta[Thing]] = []
    scene.store.subscribe(reported.append)
    await scene.run(60)
    assert reported[2:] == [Delta(Thing("b", "2"), Thing("b", "9"))]


async def test_a_server_may_ask_for_patience_but_not_for_a_day() -> None:
    source = ScriptedListerWatcher(streams=[UnavailableError("later", retry_after_s=86400.0), [EMPTY_LIST, SILENCE]])
    await Scene(source).run(120)
    assert gaps(source) == pytest.approx([60.0])


async def test_each_attempt_is_noted_whether_or_not_anybody_answers() -> None:
    source = ScriptedListerWatcher(
        lists=[Pause(100), Page([], "7", "p2"), Pause(100), Page([], "7")],
        streams=[REFUSED, CANNOT_STREAM, [Pause(300), [Bookmark("8")]]],
    )
    scene = Scene(source)
    started = anyio.current_time()
    assert scene.reflector.attempted_at == 0.0
    seen: list[float] = []
    async with running(scene.reflector.run):
        for _ in range(4):
            await anyio.sleep(90)
            seen.append(scene.reflector.attempted_at - started)
    assert seen == pytest.approx([0.8, 100.8, 200.8, 200.8])


@pytest.mark.parametrize(
    ("phase", "source"),
    [
        pytest.param("list", ScriptedListerWatcher(lists=[SILENCE], streams=[CANNOT_STREAM]), id="a list"),
        pytest.param("start", ScriptedListerWatcher(streams=[SILENCE]), id="the start of a watch"),
        pytest.param("streamed list", ScriptedListerWatcher(streams=[[SILENCE]]), id="a streamed list"),
        pytest.param("watch", ScriptedListerWatcher(streams=[[EMPTY_LIST, SILENCE]]), id="a watch"),
        pytest.param("backoff", ScriptedListerWatcher(streams=[REFUSED] * 99), id="a delay"),
    ],
)
async def test_a_reflector_that_is_stopped_ends_at_once_and_leaves_nothing(
    phase: str, source: ScriptedListerWatcher
) -> None:
    tasks = len(anyio.get_running_tasks())
    started = anyio.current_time()
    async with running(Scene(source).reflector.run):
        await anyio.sleep(15)
        assert source.open_streams == (1 if phase in {"streamed list", "watch"} else 0)
    assert anyio.current_time() == started + 15
    assert source.open_streams == 0
    assert len(anyio.get_running_tasks()) == tasks


async def test_a_reflector_that_is_stopped_by_a_handler_reports_the_whole_list_and_then_ends() -> None:
    source = ScriptedListerWatcher(
        streams=[[[Applied(Thing("a", "1")), Applied(Thing("b", "2")), end_of_list("7")], SILENCE]]
    )
    scene = Scene(source)
    reported: list[Delta[Thing]] = []
    started = anyio.current_time()
    async with anyio.create_task_group() as group:
        scene.store.subscribe(lambda _: group.cancel_scope.cancel())
        scene.store.subscribe(reported.append)
        group.start_soon(scene.reflector.run)
    assert anyio.current_time() == started
    assert source.open_streams == 0
    assert len(reported) == len(scene.things) == 2


async def test_a_refresh_gives_up_a_silent_watch_and_returns_once_a_consistent_list_is_stored() -> None:
    source = ScriptedListerWatcher(
        streams=[
            [[Applied(Thing("a", "1")), end_of_list("7")], SILENCE],
            [Pause(2), [Applied(Thing("b", "8")), end_of_list("9")], SILENCE],
        ]
    )
    scene = Scene(source)
    async with running(scene.reflector.run):
        await anyio.sleep(10)
        began = anyio.current_time()
        await scene.reflector.refresh()
        assert anyio.current_time() - began == pytest.approx(2.0)
        assert scene.things == {B: Thing("b", "8")}
    assert source.asked == [Asked("stream list", ""), Asked("stream list", "")]
    assert [reason for _, reason in scene.heard.lists] == ["start", "refresh"]


async def test_a_refresh_asked_for_before_the_first_attempt_is_met_by_the_first_list() -> None:
    source = ScriptedListerWatcher(streams=[[Pause(2), [Applied(Thing("a", "1")), end_of_list("7")], SILENCE]])
    scene = Scene(source)
    met = anyio.Event()

    async def refresh() -> None:
        await scene.reflector.refresh()
        met.set()

    async with anyio.create_task_group() as group:
        group.start_soon(refresh)
        await anyio.sleep(1)
        async with running(scene.reflector.run):
            await anyio.sleep(1)
            assert not met.is_set()
            await met.wait()
    assert [reason for _, reason in scene.heard.lists] == ["start"]
    assert scene.things == {A: Thing("a", "1")}


async def test_a_refresh_does_not_wait_for_a_backoff_to_end() -> None:
    source = ScriptedListerWatcher(
        streams=[[[end_of_list("7")]], *[REFUSED] * 3, [[Applied(Thing("a", "8")), end_of_list("9")], SILENCE]]
    )
    scene = Scene(source)
    async with running(scene.reflector.run):
        await anyio.sleep(7)  # the next attempt would be at 12 s
        began = anyio.current_time()
        await scene.reflector.refresh()
        assert anyio.current_time() == began
        assert scene.things == {A: Thing("a", "8")}


async def test_a_refresh_is_not_met_by_a_list_that_began_before_it() -> None:
    source = ScriptedListerWatcher(
        streams=[
            [Pause(5), [end_of_list("7")], SILENCE],
            [Pause(3), [Applied(Thing("a", "8")), end_of_list("9")], SILENCE],
        ]
    )
    scene = Scene(source)
    async with running(scene.reflector.run):
        await anyio.sleep(5)  # the first list is there in this very step
        await scene.reflector.refresh()
        assert scene.things == {A: Thing("a", "8")}
        assert anyio.current_time() == pytest.approx(scene.began + 8.0)


async def test_a_refresh_outlasts_failures_and_serves_all_who_wait_for_it() -> None:
    page = Page((Thing("a", "8"),), "9", "")
    source = ScriptedListerWatcher(streams=[[[end_of_list("7")], SILENCE], CANNOT_STREAM], lists=[BROKEN, page])
    scene = Scene(source)
    async with running(scene.reflector.run):
        await anyio.sleep(1)
        async with anyio.create_task_group() as group:
            group.start_soon(scene.reflector.refresh)
            group.start_soon(scene.reflector.refresh)
    assert scene.things == {A: Thing("a", "8")}
    assert source.asked[2:] == [Asked("list", ""), Asked("list", ""), Asked("watch", "9")]


async def test_after_a_refresh_the_watch_is_resumed_as_ever() -> None:
    source = ScriptedListerWatcher(
        streams=[[[end_of_list("7")], SILENCE], [[end_of_list("9")], Pause(2)], [[Applied(Thing("a", "10"))], SILENCE]]
    )
    scene = Scene(source)
    async with running(scene.reflector.run):
        await anyio.sleep(1)
        await scene.reflector.refresh()
        await anyio.sleep(5)
    assert source.asked[-1] == Asked("watch", "9")
    assert scene.things == {A: Thing("a", "10")}
