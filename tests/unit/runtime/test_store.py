import gc
import weakref

import anyio
import msgspec
import pytest

from support.background import Clock, running
from support.lister_watcher import Thing
from support.stores import unexpected
from toolset.model import Key
from toolset.runtime.store import Delta, Store, is_newer

A, B = Key("default", "a"), Key("default", "b")


class Listener:
    """A store with a handler that records what it receives."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.deltas: list[Delta[Thing]] = []
        self.store: Store[Thing] = Store(self.errors.append)
        self.store.subscribe(self.deltas.append)

    def listed(self, version: str, *things: Thing) -> "Listener":
        """Store a list and forget what was reported about it."""
        self.store.replace(things, version)
        self.deltas.clear()
        return self


def test_an_object_of_the_first_list_is_reported_as_initial() -> None:
    listener = Listener()
    listener.store.replace([Thing("a", "1")], "5")
    assert listener.deltas == [Delta(None, Thing("a", "1"), initial=True)]
    assert listener.store.version == "5"
    assert len(listener.store) == 1


def test_a_later_list_reports_deletions_then_updates_then_additions() -> None:
    listener = Listener().listed("5", Thing("gone", "1"), Thing("kept", "2"), Thing("changed", "3"))
    listener.store.replace([Thing("new", "7"), Thing("changed", "6"), Thing("kept", "2")], "8")
    assert listener.deltas == [
        Delta(Thing("gone", "1"), None),
        Delta(Thing("changed", "3"), Thing("changed", "6")),
        Delta(None, Thing("new", "7")),
    ]


def test_a_list_swaps_everything_before_anything_is_reported() -> None:
    store: Store[Thing] = Store(unexpected)
    seen: list[dict[Key, Thing]] = []
    store.replace([Thing("a", "1")], "1")
    store.subscribe(lambda _: seen.append(dict(store.snapshot())))
    seen.clear()
    store.replace([Thing("b", "2")], "2")
    assert seen == [{B: Thing("b", "2")}] * 2


def test_an_object_recreated_while_nobody_watched_is_reported_even_at_the_same_version() -> None:
    listener = Listener().listed("5", Thing("a", "1", "old"))
    listener.store.replace([Thing("a", "1", "new")], "6")
    assert listener.deltas == [Delta(Thing("a", "1", "old"), Thing("a", "1", "new"))]


async def test_a_caller_that_waits_for_the_first_list_goes_on_after_it() -> None:
    store: Store[Thing] = Store(unexpected)
    synced = [store.is_synced]
    synced_at: list[float] = []

    async def wait() -> None:
        await store.wait_synced()
        synced_at.append(anyio.current_time())

    started = anyio.current_time()
    async with running(wait):
        await anyio.sleep(5)
        store.apply(Thing("a", "1"))
        synced.append(store.is_synced)
        store.replace([], "2")
        synced.append(store.is_synced)
        await anyio.sleep(5)
    assert synced == [False, False, True]
    assert synced_at == [started + 5]


def test_an_applied_object_is_stored_and_reported() -> None:
    listener = Listener().listed("1", Thing("a", "1"))
    listener.store.apply(Thing("a", "2"))
    listener.store.apply(Thing("b", "3"))
    assert listener.deltas == [Delta(Thing("a", "1"), Thing("a", "2")), Delta(None, Thing("b", "3"))]
    assert listener.store.get(B) == Thing("b", "3")
    assert listener.store.version == "3"


@pytest.mark.parametrize(
    "version",
    [pytest.param("5", id="the same"), pytest.param("4", id="older"), pytest.param("04", id="older as a number")],
)
def test_an_applied_object_that_is_not_newer_is_not_reported(version: str) -> None:
    listener = Listener().listed("5", Thing("a", "5"))
    listener.store.apply(Thing("a", version))
    assert listener.deltas == []
    assert listener.store.get(A) == Thing("a", "5")


def test_a_recreated_object_replaces_its_predecessor() -> None:
    listener = Listener().listed("5", Thing("a", "5", "old"))
    listener.store.apply(Thing("a", "6", "new"))
    assert listener.deltas == [Delta(Thing("a", "5", "old"), Thing("a", "6", "new"))]


def test_a_deleted_object_is_forgotten_and_its_last_known_state_reported() -> None:
    listener = Listener().listed("5", Thing("a", "5"))
    listener.store.delete(Thing("a", "6"))
    assert listener.deltas == [Delta(Thing("a", "5"), None)]
    assert listener.store.get(A) is None
    assert listener.store.version == "6"


def test_the_deletion_of_an_unknown_object_only_moves_the_version() -> None:
    listener = Listener().listed("5")
    listener.store.delete(Thing("a", "6"))
    assert listener.deltas == []
    assert listener.store.version == "6"


def test_the_deletion_of_a_predecessor_leaves_the_successor() -> None:
    listener = Listener().listed("5", Thing("a", "5", "new"))
    listener.store.delete(Thing("a", "6", "old"))
    assert listener.deltas == []
    assert listener.store.get(A) == Thing("a", "5", "new")


def test_a_bookmark_moves_the_version_and_reports_nothing() -> None:
    listener = Listener().listed("5", Thing("a", "5"))
    listener.store.bookmark("9")
    assert listener.store.version == "9"
    assert listener.deltas == []


def test_an_own_write_is_seen_before_the_watch_reports_it_and_reported_once() -> None:
    listener = Listener().listed("5", Thing("a", "5"))
    listener.store.overlay(Thing("a", "8"))
    assert listener.store.get(A) == Thing("a", "8")
    assert listener.store.version == "5", "the watch has not come that far"
    listener.store.apply(Thing("a", "8"))
    assert listener.deltas == [Delta(Thing("a", "5"), Thing("a", "8"), own=True)]
    assert listener.store.version == "8"


def test_an_event_from_before_an_own_write_does_not_undo_it() -> None:
    listener = Listener().listed("5", Thing("a", "5"))
    listener.store.overlay(Thing("a", "8"))
    listener.store.apply(Thing("a", "7"))
    assert listener.store.get(A) == Thing("a", "8")


def test_an_own_write_that_the_watch_has_passed_does_not_resurrect_an_object() -> None:
    listener = Listener().listed("5", Thing("a", "5"))
    listener.store.delete(Thing("a", "9"))
    listener.deltas.clear()
    listener.store.overlay(Thing("a", "8"))
    assert listener.store.get(A) is None
    assert listener.deltas == []


def test_of_two_own_writes_the_later_stays() -> None:
    listener = Listener().listed("5", Thing("a", "5"))
    listener.store.overlay(Thing("a", "8"))
    listener.store.overlay(Thing("a", "7"))
    assert listener.store.get(A) == Thing("a", "8")


def test_a_deletion_ends_an_own_write() -> None:
    listener = Listener().listed("5", Thing("a", "5"))
    listener.store.overlay(Thing("a", "8"))
    listener.store.delete(Thing("a", "9"))
    assert listener.store.get(A) is None


def test_the_own_write_of_a_new_object_survives_the_deletion_of_its_predecessor() -> None:
    listener = Listener().listed("5", Thing("a", "5", "old"))
    listener.store.overlay(Thing("a", "8", "new"))
    listener.store.delete(Thing("a", "7", "old"))
    assert listener.store.get(A) == Thing("a", "8", "new")


def test_a_late_handler_is_sent_what_is_there_as_initial_and_then_what_changes() -> None:
    listener = Listener().listed("5", Thing("a", "5"))
    late: list[Delta[Thing]] = []
    listener.store.subscribe(late.append)
    listener.store.apply(Thing("b", "6"))
    assert late == [Delta(None, Thing("a", "5"), initial=True), Delta(None, Thing("b", "6"))]
    assert listener.deltas == [Delta(None, Thing("b", "6"))]


def test_a_handler_that_fails_stops_neither_the_others_nor_the_store() -> None:
    errors: list[Exception] = []
    store: Store[Thing] = Store(errors.append)
    reported: list[Delta[Thing]] = []
    error = RuntimeError("a bug")

    def fail(_: Delta[Thing]) -> None:
        raise error

    store.subscribe(fail)
    store.subscribe(reported.append)
    store.replace([Thing("a", "1"), Thing("b", "2")], "2")
    assert len(reported) == 2
    assert errors == [error, error]


async def test_a_store_is_synced_for_waiters_only_after_handlers_had_all_of_the_first_list() -> None:
    store: Store[Thing] = Store(unexpected)
    reported: list[Delta[Thing]] = []
    store.subscribe(reported.append)
    seen: list[int] = []

    async def wait() -> None:
        await store.wait_synced()
        seen.append(len(reported))

    async with running(wait):
        await anyio.sleep(5)
        assert seen == []
        store.replace([Thing("a", "1"), Thing("b", "2")], "2")
        await anyio.sleep(5)
    assert seen == [2]


def test_a_removed_handler_receives_nothing_and_the_others_do() -> None:
    listener = Listener()
    reported: list[Delta[Thing]] = []
    registration = listener.store.subscribe(reported.append)
    registration.cancel()
    registration.cancel()
    listener.store.replace([Thing("a", "1")], "5")
    assert reported == []
    assert len(listener.deltas) == 1


def test_a_handler_removed_while_a_list_is_reported_hears_no_more_of_it() -> None:
    listener = Listener()
    reported: list[Delta[Thing]] = []
    after: list[Delta[Thing]] = []

    def once(delta: Delta[Thing]) -> None:
        reported.append(delta)
        registration.cancel()

    registration = listener.store.subscribe(once)
    listener.store.subscribe(after.append)
    listener.store.replace([Thing("a", "1"), Thing("b", "2")], "2")
    assert len(reported) == 1
    assert len(after) == len(listener.deltas) == 2, "and takes nobody with it"


def test_a_handler_that_joins_while_a_list_is_reported_hears_everything_once() -> None:
    store: Store[Thing] = Store(unexpected)
    late: list[Delta[Thing]] = []

    def let_join(_: Delta[Thing]) -> None:
        if store.get(B) and not late:
            store.subscribe(late.append)

    store.subscribe(let_join)
    store.replace([Thing("a", "1"), Thing("b", "2")], "2")
    store.apply(Thing("a", "3"))
    assert [delta.new for delta in late] == [Thing("a", "1"), Thing("b", "2"), Thing("a", "3")]


@pytest.mark.parametrize(("took_s", "reported"), [(0.009, []), (0.25, [0.25])], ids=["quick", "slow"])
def test_a_handler_that_holds_everything_up_is_reported(took_s: float, reported: list[float]) -> None:
    clock, slow = Clock(), list[float]()
    store: Store[Thing] = Store(unexpected, on_slow_handler=slow.append, clock=clock)

    def work(_: Delta[Thing]) -> None:
        clock.now += took_s

    store.subscribe(work)
    store.apply(Thing("a", "1"))
    assert slow == pytest.approx(reported)


def test_a_slow_handler_is_nobodys_business_unless_somebody_asks() -> None:
    clock = Clock()
    store: Store[Thing] = Store(unexpected, clock=clock)

    def work(_: Delta[Thing]) -> None:
        clock.now += 5

    store.subscribe(work)
    store.apply(Thing("a", "1"))
    assert len(store) == 1


class Tracked(msgspec.Struct, frozen=True, weakref=True):
    """A thing of which a test can see whether anybody holds it."""

    version: str
    uid: str = "u1"

    @property
    def key(self) -> Key:
        return A


@pytest.mark.parametrize("way", ["deleted", "updated", "gone from a list"])
def test_nothing_is_kept_of_an_object_that_is_gone(way: str) -> None:
    store: Store[Tracked] = Store(unexpected)
    store.subscribe(lambda _: None)
    first = Tracked("1")
    store.replace([first], "1")
    trace = weakref.ref(first)
    del first
    match way:
        case "deleted":
            store.delete(Tracked("2"))
        case "updated":
            store.apply(Tracked("2"))
        case _:
            store.replace([], "2")
    gc.collect()
    assert trace() is None


def test_a_snapshot_does_not_show_later_changes() -> None:
    listener = Listener().listed("5", Thing("a", "5"))
    snapshot = listener.store.snapshot()
    listener.store.delete(Thing("a", "6"))
    assert dict(snapshot) == {A: Thing("a", "5")}


@pytest.mark.parametrize(
    ("version", "than", "expected"),
    [
        pytest.param("10", "9", True, id="as numbers, not as text"),
        pytest.param("9", "10", False, id="older"),
        pytest.param("9", "9", False, id="the same"),
        pytest.param("9", "", True, id="nothing known yet"),
        pytest.param("x", "9", True, id="not a number"),
    ],
)
def test_versions_are_compared_as_numbers_where_they_are(version: str, than: str, *, expected: bool) -> None:
    assert is_newer(version, than) is expected
