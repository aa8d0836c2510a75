from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import get_args

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from fakes.background import running
from fakes.lister_watcher import (
    SILENCE,
    Asked,
    FakeServer,
    Fault,
    FaultKind,
    Pause,
    Script,
    ScriptedListerWatcher,
    Step,
    Thing,
)
from toolset.errors import ForbiddenError, InvalidError, OutOfSyncError, ToolsetError, UnavailableError
from toolset.model import Key
from toolset.runtime.listwatch import Applied, Bookmark, Deleted, Event, ListerWatcher, Page
from toolset.runtime.reflector import Reflector, ReflectorOptions
from toolset.runtime.store import Delta, Store, is_newer

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

    def listed(self, items: int, took_s: float, reason: str) -> None:
        self.lists.append((items, reason))
        self.list_took_s.append(took_s)

    def watch_ended(self, events: int, took_s: float) -> None:
        self.watches.append((events, took_s))

    def failed(self, error: ToolsetError, retry_in_s: float) -> None:
        self.errors.append(error)
        self.delays_s.append(retry_in_s)


class Scene:
    """A reflector with its surroundings; delays have no jitter unless asked for."""

    def __init__(
        self,
        source: ListerWatcher[Thing],
        *,
        jitter: float = 0.0,
        options: ReflectorOptions = ReflectorOptions(),
    ) -> None:
        self.heard = Heard()
        self.handler_errors: list[Exception] = []
        self.store: Store[Thing] = Store(self.handler_errors.append)
        self.reflector = Reflector(source, self.store, self.heard, jitter=lambda: jitter, options=options)

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
    told: list[Delta[Thing]] = []
    scene.store.subscribe(told.append)
    await scene.run(30)
    assert told == [Delta(None, Thing("a", "3"), initial=True)]


async def test_events_that_come_in_one_chunk_with_the_end_of_the_list_are_not_lost() -> None:
    scene = Scene(
        ScriptedListerWatcher(
            streams=[[[Applied(Thing("a", "1")), end_of_list("7"), Applied(Thing("b", "8"))], SILENCE]]
        )
    )
    told: list[Delta[Thing]] = []
    scene.store.subscribe(told.append)
    await scene.run(30)
    assert told == [Delta(None, Thing("a", "1"), initial=True), Delta(None, Thing("b", "8"))]
    assert scene.store.version == "8"


async def test_a_server_that_cannot_stream_lists_is_asked_for_pages_at_once() -> None:
    source = ScriptedListerWatcher(lists=[Page([Thing("a", "1")], "7")], streams=[CANNOT_STREAM])
    scene = Scene(source)
    await scene.run(30)
    assert source.asked == [Asked("stream list", ""), Asked("list", "", ""), Asked("watch", "7")]
    assert gaps(source) == [0.0, 0.0]
    assert scene.things == {A: Thing("a", "1")}
    assert scene.heard.errors == []


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
        lists=[Page([Thing("a", "1")], "7", "p2"), GONE, Page([Thing("b", "2")], "8")], streams=[CANNOT_STREAM]
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


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(THROTTLED, id="429"),
        pytest.param([THROTTLED], id="429 in the stream"),
        pytest.param(REFUSED, id="a server that is down"),
        pytest.param([GONE], id="a version that is refused"),
    ],
)
async def test_what_says_nothing_against_streaming_is_no_strike(failure: Script) -> None:
    source = ScriptedListerWatcher(streams=[failure] * 4 + [[EMPTY_LIST, SILENCE]])
    scene = Scene(source)
    await scene.run(60)
    assert [asked.verb for asked in source.asked] == ["stream list"] * 5
    assert scene.store.is_synced


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param([[Applied(Thing("a", "1"))], SILENCE], id="a stream without a bookmark"),
        pytest.param([Pause(20), [Bookmark("1")]] * 9, id="a stream that goes on without the bookmark"),
        pytest.param(SILENCE, id="a request without an answer"),
    ],
)
async def test_a_streamed_list_without_an_end_is_given_up_in_time(silent: Script) -> None:
    source = ScriptedListerWatcher(lists=[Page([], "7")], streams=[silent, silent])
    scene = Scene(source)
    await scene.run(200)
    assert [asked.verb for asked in source.asked] == ["stream list", "stream list", "list", "watch"]
    assert gaps(source) == pytest.approx([60.8, 61.6, 0.0])
    assert [str(error) for error in scene.heard.errors] == ["the streamed list did not end in time"] * 2


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
        pytest.param([ForbiddenError("forbidden")], 0.8, id="a refusal"),
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
    told: list[Delta[Thing]] = []
    async with running(scene.reflector.run):
        await anyio.sleep(0.5)
        scene.store.subscribe(told.append)
        told.clear()
        await anyio.sleep(30)
    assert source.asked == [Asked("stream list", ""), Asked("stream list", "7")]
    assert told == [Delta(Thing("a", "1"), None)], "the deletion nobody saw, and nothing twice"
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
    source = ScriptedListerWatcher(streams=[GONE, [[end_of_list("30")], BROKEN], [[end_of_list("31")], SILENCE]])
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
        pytest.param([Pause(300)], id="a watch that lived, with nothing to tell"),
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
    source = ScriptedListerWatcher(streams=[REFUSED, THROTTLED, [EMPTY_LIST, Pause(calm_s - 1.6), REFUSED], [SILENCE]])
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
    assert seen == pytest.approx([0.0, 100.0, 200.8, 300.8])


async def test_an_error_that_is_nobodys_ends_the_reflector() -> None:
    scene = Scene(ScriptedListerWatcher(lists=[ZeroDivisionError()], streams=[CANNOT_STREAM]))
    with pytest.raises(ZeroDivisionError):
        await scene.reflector.run()


class Put(msgspec.Struct, frozen=True):
    name: str


class Remove(msgspec.Struct, frozen=True):
    name: str


class Compact(msgspec.Struct, frozen=True):
    """Forget the versions so far."""


class SendBookmark(msgspec.Struct, frozen=True):
    """Send a bookmark."""


Change = Put | Remove | Compact | SendBookmark


class Round(msgspec.Struct, frozen=True):
    """What happens to a server for a while.

    Attributes:
        interruption: What happens to the open stream.
        faults: What happens to the requests that follow.
        meanwhile: What happens to the things between two pages or chunks.
        changes: What happens to the things at once.
        pause_s: How long it lasts, seconds.
    """

    interruption: Fault | None
    faults: list[Fault]
    meanwhile: list[Change]
    changes: list[Change]
    pause_s: float


names = st.sampled_from(["a", "b", "c", "d", "e"])
changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(Put, names), st.builds(Put, names), st.builds(Remove, names), st.builds(Compact), st.builds(SendBookmark)
)
kinds: st.SearchStrategy[FaultKind] = st.sampled_from(get_args(FaultKind))
faults = st.builds(Fault, kinds, st.integers(0, 6))
rounds = st.builds(
    Round,
    st.none() | faults,
    st.lists(faults, max_size=3),
    st.lists(changes, max_size=4),
    st.lists(changes, max_size=6),
    st.sampled_from([0.0, 0.5, 3.0, 40.0, 130.0]),
)


def make(server: FakeServer, change: Change) -> None:
    match change:
        case Put(name):
            server.put(name)
        case Remove(name):
            server.remove(name)
        case Compact():
            server.compact()
        case SendBookmark():
            server.bookmark()


async def play(server: FakeServer, part: Round) -> None:
    server.faults.extend(part.faults)
    server.meanwhile.extend(partial(make, server, change) for change in part.meanwhile)
    if part.interruption is not None:
        server.interrupt(part.interruption)
    for change in part.changes:
        make(server, change)
        await checkpoint()
    await anyio.sleep(part.pause_s)


class Fold:
    """A handler that rebuilds the store from what it is told, and checks that nothing goes back in time."""

    def __init__(self) -> None:
        self.things: dict[Key, Thing] = {}

    def __call__(self, delta: Delta[Thing]) -> None:
        told = delta.new or delta.old
        assert told is not None
        assert self.things.get(told.key) == delta.old
        if delta.new is None:
            del self.things[told.key]
            return
        assert delta.old is None or is_newer(delta.new.version, delta.old.version)
        self.things[told.key] = delta.new


@given(
    script=st.lists(rounds, max_size=20),
    page_size=st.integers(1, 3),
    chunk_size=st.integers(1, 8),
    streams_lists=st.booleans(),
)
async def test_after_any_script_of_changes_and_failures_the_store_is_what_the_server_has(
    script: list[Round], page_size: int, chunk_size: int, *, streams_lists: bool
) -> None:
    server = FakeServer(page_size=page_size, chunk_size=chunk_size, streams_lists=streams_lists)
    scene = Scene(server)
    fold = Fold()
    scene.store.subscribe(fold)
    async with running(scene.reflector.run):
        for part in script:
            await play(server, part)
        server.faults.clear()
        await anyio.sleep(600)
    assert scene.things == server.things
    assert fold.things == server.things
    assert scene.handler_errors == []
