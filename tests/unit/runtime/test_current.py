import anyio
from anyio import wait_all_tasks_blocked

from support.background import running
from toolset.runtime.current import Current


async def test_a_reader_is_woken_by_each_change_and_sees_the_value_in_force() -> None:
    cell, seen = Current("a"), list[str]()

    async def follow() -> None:
        while True:
            await cell.changed()
            seen.append(cell.value)

    async with running(follow):
        await wait_all_tasks_blocked()
        assert seen == []
        cell.set("b")
        await wait_all_tasks_blocked()
        cell.set("c")
        cell.set("d")
        await wait_all_tasks_blocked()
    assert seen == ["b", "d"]


async def test_a_change_from_before_the_wait_wakes_nobody() -> None:
    cell = Current(1)
    cell.set(2)
    with anyio.move_on_after(60) as patience:
        await cell.changed()
    assert (cell.value, patience.cancelled_caught) == (2, True)
