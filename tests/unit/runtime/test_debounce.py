import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.background import running
from toolset.runtime.debounce import DebounceOptions, Debouncer

OPTIONS = DebounceOptions(quiet_s=1.0, max_wait_s=5.0)


class Sink:
    """Notes what is passed on and when, counted from its own making."""

    def __init__(self) -> None:
        self._started = anyio.current_time()
        self.passed: list[tuple[float, str]] = []

    def __call__(self, key: str) -> None:
        self.passed.append((round(anyio.current_time() - self._started, 6), key))


async def test_a_burst_is_passed_on_once_and_after_it_has_been_quiet() -> None:
    sink = Sink()
    debouncer = Debouncer(sink, OPTIONS)
    async with running(debouncer.run):
        for _ in range(3):
            debouncer.poke("a")
            await anyio.sleep(0.5)
        await anyio.sleep(60)
    assert sink.passed == [(2.0, "a")]


async def test_a_stream_of_changes_cannot_starve_a_key() -> None:
    sink = Sink()
    debouncer = Debouncer(sink, OPTIONS)
    async with running(debouncer.run):
        for _ in range(20):
            debouncer.poke("a")
            await anyio.sleep(0.7)
        await anyio.sleep(60)
    assert sink.passed == [(5.0, "a"), (10.6, "a"), (14.3, "a")]


async def test_keys_settle_each_on_its_own() -> None:
    sink = Sink()
    debouncer = Debouncer(sink, OPTIONS)
    async with running(debouncer.run):
        debouncer.poke("a")
        await anyio.sleep(0.7)
        debouncer.poke("b")
        await anyio.sleep(60)
    assert sink.passed == [(1.0, "a"), (1.7, "b")]


async def test_a_poke_before_the_debouncer_runs_counts() -> None:
    sink = Sink()
    debouncer = Debouncer(sink, OPTIONS)
    debouncer.poke("a")
    async with running(debouncer.run):
        await anyio.sleep(60)
    assert sink.passed == [(1.0, "a")]


async def test_a_quiet_time_beyond_the_maximum_wait_is_cut_short() -> None:
    sink = Sink()
    debouncer = Debouncer(sink, DebounceOptions(quiet_s=10.0, max_wait_s=2.0))
    async with running(debouncer.run):
        debouncer.poke("a")
        await anyio.sleep(60)
    assert sink.passed == [(2.0, "a")]


async def test_a_flush_passes_everything_on_now_and_nothing_later() -> None:
    sink = Sink()
    debouncer = Debouncer(sink, OPTIONS)
    async with running(debouncer.run):
        debouncer.poke("a")
        debouncer.poke("b")
        await anyio.sleep(0.5)
        debouncer.flush()
        await anyio.sleep(60)
    assert sink.passed == [(0.5, "a"), (0.5, "b")]


async def test_a_key_poked_after_a_flush_settles_anew() -> None:
    sink = Sink()
    debouncer = Debouncer(sink, OPTIONS)
    async with running(debouncer.run):
        debouncer.poke("a")
        await anyio.sleep(0.5)
        debouncer.flush()
        debouncer.poke("a")
        await anyio.sleep(60)
    assert sink.passed == [(0.5, "a"), (1.5, "a")]


async def test_a_sink_may_poke_again() -> None:
    passed: list[float] = []
    started = anyio.current_time()

    def sink(key: str) -> None:
        passed.append(anyio.current_time() - started)
        if len(passed) < 3:
            debouncer.poke(key)

    debouncer = Debouncer(sink, OPTIONS)
    async with running(debouncer.run):
        debouncer.poke("a")
        await anyio.sleep(60)
    assert passed == pytest.approx([1.0, 2.0, 3.0])


@given(pokes=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.25, 0.9, 1.5])), max_size=40))
async def test_every_poke_is_passed_on_within_the_maximum_wait_and_never_before_the_quiet_time(
    pokes: list[tuple[str, float]],
) -> None:
    waiting: dict[str, tuple[float, float]] = {}  # first and last poke that are not passed on yet

    def sink(key: str) -> None:
        first, last = waiting.pop(key)
        now = anyio.current_time()
        assert now <= first + OPTIONS.max_wait_s + 1e-6
        assert now >= min(last + OPTIONS.quiet_s, first + OPTIONS.max_wait_s) - 1e-6

    debouncer = Debouncer(sink, OPTIONS)
    async with running(debouncer.run):
        for key, pause in pokes:
            now = anyio.current_time()
            waiting[key] = (waiting.get(key, (now, now))[0], now)
            debouncer.poke(key)
            await anyio.sleep(pause)
        await anyio.sleep(60)
    assert waiting == {}
