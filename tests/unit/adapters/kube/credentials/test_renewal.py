import math
from collections.abc import Awaitable, Callable

import anyio
import pytest

from toolset.adapters.kube.credentials.renewal import FORCED_S, SHARE, Loaded, Renewal, ending
from toolset.errors import SettingsError, UnavailableError


class Value:
    """Something that only identity distinguishes."""


class Loads:
    """A load that counts its runs, takes its time, and may fail."""

    def __init__(self, good_for_s: float = 60.0, lives_s: float = math.inf, takes_s: float = 0.01) -> None:
        self.runs = 0
        self.running = 0
        self.good_for_s = good_for_s
        self.lives_s = lives_s
        self.takes_s = takes_s
        self.error: Exception | None = None

    async def __call__(self) -> Loaded[Value]:
        self.runs += 1
        self.running += 1
        assert self.running == 1, "one at a time"
        try:
            await anyio.sleep(self.takes_s)
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        return Loaded(Value(), self.good_for_s, self.lives_s)


async def together(count: int, act: Callable[[], Awaitable[object]]) -> None:
    async def one() -> None:
        await act()

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)


async def test_a_value_is_loaded_once_for_all_who_ask_at_the_same_time() -> None:
    loads = Loads()
    async with Renewal(loads) as renewal:
        await together(20, renewal.current)

    assert loads.runs == 1


async def test_nothing_is_loaded_before_somebody_asks() -> None:
    loads = Loads()
    async with Renewal(loads):
        await anyio.sleep(1000)

    assert loads.runs == 0


async def test_a_value_is_renewed_when_its_time_is_over_also_when_nobody_asks() -> None:
    loads = Loads(good_for_s=60.0)
    async with Renewal(loads) as renewal:
        first = await renewal.current()
        await anyio.sleep(59)
        assert await renewal.current() is first
        await anyio.sleep(2)
        assert await renewal.current() is not first
        await anyio.sleep(600)

    assert loads.runs == 12


async def test_nobody_waits_for_a_renewal_while_the_value_is_still_good() -> None:
    loads = Loads(good_for_s=60.0, takes_s=7.0)
    async with Renewal(loads) as renewal:
        first = await renewal.current()
        await anyio.sleep(54)
        assert loads.running == 1
        before = anyio.current_time()
        assert await renewal.current() is first
        assert anyio.current_time() == before


async def test_a_value_that_is_always_good_is_never_loaded_again() -> None:
    loads = Loads(good_for_s=math.inf)
    async with Renewal(loads) as renewal:
        await renewal.current()
        await anyio.sleep(80_000)
        await renewal.current()

    assert loads.runs == 1


async def test_the_deadline_of_one_who_asks_does_not_cancel_a_renewal() -> None:
    loads = Loads(takes_s=7.0)
    async with Renewal(loads) as renewal:
        started = anyio.current_time()
        with anyio.move_on_after(5) as first:
            await renewal.current()
        with anyio.move_on_after(5) as second:
            await renewal.current()
        assert (first.cancelled_caught, second.cancelled_caught) == (True, False)
        assert anyio.current_time() - started == pytest.approx(7.0)

    assert loads.runs == 1


@pytest.mark.parametrize("lives_s", [20.0, 60.0, 900.0])
async def test_credentials_that_end_are_renewed_before_they_do(lives_s: float) -> None:
    """A plugin of 4 s, asked for every 2 s under a deadline of 1 s, as the elector does: nobody ever misses it."""
    loads = Loads(takes_s=4.0)

    async def load() -> Loaded[Value]:
        return ending((await loads()).value, lives_s)

    async with Renewal(load) as renewal:
        await renewal.current()
        runs = loads.runs
        for _ in range(900):
            with anyio.fail_after(1):
                await renewal.current()
            await anyio.sleep(2)

    assert loads.runs - runs == pytest.approx(1800 / (lives_s * SHARE), rel=0.35)


async def test_for_a_value_that_has_ended_those_who_ask_wait_for_the_next() -> None:
    loads = Loads(good_for_s=10.0, lives_s=20.0, takes_s=7.0)
    async with Renewal(loads) as renewal:
        value = await renewal.current()
        loads.error = SettingsError("nothing to load")
        await anyio.sleep(12)
        assert await renewal.current() is value
        await anyio.sleep(2)
        with pytest.raises(UnavailableError, match="have ended, and cannot be renewed: nothing to load"):
            await renewal.current()
        loads.error = None
        await anyio.sleep(FORCED_S + 2)
        assert await renewal.current() is not value


async def test_what_has_ended_already_is_not_loaded_in_a_loop() -> None:
    loads = Loads()

    async def load() -> Loaded[Value]:
        return ending((await loads()).value, -60.0)

    async with Renewal(load) as renewal:
        for _ in range(100):
            await renewal.current()
            await anyio.sleep(1)

    assert loads.runs == pytest.approx(10, abs=1)


async def test_a_refused_value_is_renewed_once_however_many_were_refused() -> None:
    loads = Loads()
    async with Renewal(loads) as renewal:
        value = await renewal.current()

        async def refused_and_again() -> None:
            renewal.refused(value)
            assert await renewal.current() is not value

        await together(20, refused_and_again)

    assert loads.runs == 2


async def test_a_refusal_that_comes_while_the_value_is_renewed_says_nothing_of_the_new_one() -> None:
    loads = Loads(takes_s=7.0)
    async with Renewal(loads) as renewal:
        old = await renewal.current()
        await anyio.sleep(54)
        assert loads.running == 1
        renewal.refused(old)
        new = await renewal.current()
        await anyio.sleep(30)
        assert await renewal.current() is new

    assert loads.runs == 2


async def test_a_refusal_of_a_value_that_was_replaced_meanwhile_drops_nothing() -> None:
    loads = Loads(good_for_s=math.inf)
    async with Renewal(loads) as renewal:
        old = await renewal.current()
        renewal.refused(old)
        new = await renewal.current()
        await anyio.sleep(2 * FORCED_S)
        renewal.refused(old)
        assert await renewal.current() is new

    assert loads.runs == 2


async def test_a_value_that_goes_on_being_refused_is_renewed_every_ten_seconds_at_most() -> None:
    loads = Loads(good_for_s=math.inf)
    async with Renewal(loads) as renewal:
        await renewal.current()
        for _ in range(100):
            renewal.refused(await renewal.current())
            await renewal.current()
            await anyio.sleep(1)

    assert loads.runs == 1 + 10


async def test_a_first_load_that_fails_is_an_error_and_tried_again_for_the_next_who_asks() -> None:
    loads = Loads()
    loads.error = SettingsError("nothing to load")
    async with Renewal(loads) as renewal:
        for _ in range(2):
            with pytest.raises(SettingsError, match="nothing to load"):
                await renewal.current()
        loads.error = None
        await renewal.current()

    assert loads.runs == 3


async def test_a_renewal_that_fails_keeps_the_last_good_value_and_is_tried_again_soon() -> None:
    loads = Loads()
    async with Renewal(loads) as renewal:
        value = await renewal.current()
        loads.error = SettingsError("nothing to load")
        await anyio.sleep(61)
        assert await renewal.current() is value
        assert loads.runs == 2
        loads.error = None
        await anyio.sleep(FORCED_S)
        assert await renewal.current() is not value


async def test_a_refused_value_that_cannot_be_renewed_is_a_reason_to_try_again() -> None:
    loads = Loads()
    async with Renewal(loads) as renewal:
        value = await renewal.current()
        loads.error = SettingsError("nothing to load")
        renewal.refused(value)
        with pytest.raises(UnavailableError, match="cannot be renewed: nothing to load"):
            await renewal.current()
        assert await renewal.current() is value
        loads.error = None
        await anyio.sleep(FORCED_S + 1)
        assert await renewal.current() is not value


async def test_the_end_of_the_block_cancels_a_renewal_that_runs() -> None:
    loads = Loads(takes_s=math.inf)
    with anyio.move_on_after(1):
        async with Renewal(loads) as renewal:
            await renewal.current()

    assert (loads.runs, loads.running) == (1, 0)


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    async def fail() -> None:
        async with Renewal(Loads()) as renewal:
            await renewal.current()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_an_error_that_is_no_settings_error_is_a_bug_and_not_swallowed() -> None:
    loads = Loads()
    loads.error = ZeroDivisionError()

    with pytest.RaisesGroup(ZeroDivisionError):
        async with Renewal(loads) as renewal:
            await renewal.current()


async def test_credentials_are_not_used_outside_their_block() -> None:
    with pytest.raises(RuntimeError, match="outside their context"):
        await Renewal(Loads()).current()
