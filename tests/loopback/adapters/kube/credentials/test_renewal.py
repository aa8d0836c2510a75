import math
from collections.abc import Awaitable, Callable

import anyio
import pytest

from support.background import Clock
from toolset.adapters.kube.credentials.renewal import FORCED_S, Renewal
from toolset.errors import SettingsError, UnavailableError


class Value:
    """Something that is told apart by identity alone."""


class Loads:
    """A load that counts its runs, takes a moment, and may fail."""

    def __init__(self, good_for_s: float = 60.0) -> None:
        self.runs = 0
        self.running = 0
        self.good_for_s = good_for_s
        self.fails = False
        self.error: Exception = SettingsError("nothing to load")

    async def __call__(self) -> tuple[Value, float]:
        self.runs += 1
        self.running += 1
        assert self.running == 1, "one at a time"
        try:
            await anyio.sleep(0.01)
        finally:
            self.running -= 1
        if self.fails:
            raise self.error
        return Value(), self.good_for_s


async def together(count: int, act: Callable[[], Awaitable[object]]) -> None:
    async def one() -> None:
        await act()

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)


async def test_a_value_is_loaded_once_for_all_who_ask_at_the_same_time() -> None:
    loads = Loads()
    renewal = Renewal(loads, Clock())
    await together(20, renewal.current)

    assert loads.runs == 1


async def test_a_value_is_kept_for_as_long_as_it_is_good() -> None:
    loads, clock = Loads(good_for_s=60.0), Clock()
    renewal = Renewal(loads, clock)
    first = await renewal.current()
    clock.now += 59.9
    assert await renewal.current() is first
    clock.now += 0.1
    await together(20, renewal.current)

    assert loads.runs == 2
    assert await renewal.current() is not first


async def test_a_value_that_is_always_good_is_never_loaded_again() -> None:
    loads, clock = Loads(good_for_s=math.inf), Clock()
    renewal = Renewal(loads, clock)
    await renewal.current()
    clock.now += 1e9
    await renewal.current()

    assert loads.runs == 1


async def test_a_refused_value_is_renewed_once_however_many_were_refused() -> None:
    loads = Loads()
    renewal = Renewal(loads, Clock())
    value = await renewal.current()

    async def refused_and_again() -> None:
        renewal.refused(value)
        assert await renewal.current() is not value

    await together(20, refused_and_again)

    assert loads.runs == 2


async def test_a_refusal_that_comes_while_the_value_is_renewed_says_nothing_of_the_new_one() -> None:
    loads, clock = Loads(), Clock()
    renewal = Renewal(loads, clock)
    old = await renewal.current()
    clock.now += 60
    async with anyio.create_task_group() as group:
        group.start_soon(renewal.current)
        await anyio.wait_all_tasks_blocked()
        renewal.refused(old)
    new = await renewal.current()
    loads.fails = True
    clock.now += 60

    assert await renewal.current() is new, "it aged, and was not refused"
    assert loads.runs == 3


async def test_a_refusal_of_a_value_that_was_replaced_meanwhile_drops_nothing() -> None:
    loads, clock = Loads(), Clock()
    renewal = Renewal(loads, clock)
    old = await renewal.current()
    renewal.refused(old)
    new = await renewal.current()
    clock.now += 2 * FORCED_S
    renewal.refused(old)

    assert await renewal.current() is new
    assert loads.runs == 2


async def test_a_value_that_goes_on_being_refused_is_renewed_every_ten_seconds_at_most() -> None:
    loads, clock = Loads(good_for_s=math.inf), Clock()
    renewal = Renewal(loads, clock)
    await renewal.current()
    for _ in range(100):
        renewal.refused(await renewal.current())
        await renewal.current()
        clock.now += 1

    assert loads.runs == 1 + 10


async def test_a_refusal_does_not_put_off_a_renewal_that_is_due_earlier() -> None:
    loads, clock = Loads(good_for_s=3.0), Clock()
    renewal = Renewal(loads, clock)
    renewal.refused(await renewal.current())
    renewal.refused(await renewal.current())
    clock.now += 3
    await renewal.current()

    assert loads.runs == 3


async def test_a_first_load_that_fails_is_an_error_and_tried_again_by_whoever_asks_next() -> None:
    loads = Loads()
    loads.fails = True
    renewal = Renewal(loads, Clock())
    for _ in range(2):
        with pytest.raises(SettingsError, match="nothing to load"):
            await renewal.current()
    loads.fails = False
    await renewal.current()

    assert loads.runs == 3


async def test_a_renewal_that_fails_keeps_the_last_good_value_and_is_tried_again_soon() -> None:
    loads, clock = Loads(), Clock()
    renewal = Renewal(loads, clock)
    value = await renewal.current()
    loads.fails = True
    clock.now += 60
    assert await renewal.current() is value
    assert await renewal.current() is value
    assert loads.runs == 2
    loads.fails = False
    clock.now += FORCED_S

    assert await renewal.current() is not value


async def test_a_refused_value_that_cannot_be_renewed_is_a_reason_to_try_again() -> None:
    loads, clock = Loads(), Clock()
    renewal = Renewal(loads, clock)
    value = await renewal.current()
    loads.fails = True
    renewal.refused(value)
    with pytest.raises(UnavailableError, match="the credentials were refused and cannot be renewed: nothing to load"):
        await renewal.current()
    assert await renewal.current() is value
    loads.fails = False
    clock.now += FORCED_S

    assert await renewal.current() is not value


async def test_a_renewal_that_is_cancelled_is_made_by_the_next_who_asks() -> None:
    loads = Loads()
    renewal = Renewal(loads, Clock())
    with anyio.move_on_after(0):
        await renewal.current()
    with anyio.fail_after(1):
        await renewal.current()

    assert loads.running == 0


async def test_an_error_that_is_no_settings_error_is_a_bug_and_not_swallowed() -> None:
    loads = Loads()
    loads.fails, loads.error = True, ZeroDivisionError()

    with pytest.raises(ZeroDivisionError):
        await Renewal(loads, Clock()).current()
