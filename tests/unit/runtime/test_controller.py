from collections.abc import Generator
from contextlib import contextmanager

import anyio
import pytest
from typing_extensions import override

from support.background import running
from toolset.errors import ConflictError, ForbiddenError, InvalidError, OutOfSyncError, TransientError, UnavailableError
from toolset.runtime.backoff import Backoff, RetryLimiter
from toolset.runtime.controller import DONE, Controller, Reconcile, Result
from toolset.runtime.workqueue import WorkQueue


class Passes:
    """Records every reconcile and every failure."""

    def __init__(self) -> None:
        self.results: list[tuple[str, str]] = []
        self.took_s: list[float] = []
        self.failures: list[tuple[str, Exception, int]] = []

    def passed(self, key: str, result: str, took_s: float) -> None:
        self.results.append((key, result))
        self.took_s.append(took_s)

    def failed(self, key: str, error: Exception, failures: int) -> None:
        self.failures.append((key, error, failures))


def queue_that_retries_after(base_s: float) -> WorkQueue[str]:
    return WorkQueue(limiter=RetryLimiter(Backoff(base_s=base_s, cap_s=300.0, spread=0.0)))


class Times:
    """A reconcile that notes when it was called, and answers or raises what it is given, in order."""

    def __init__(self, *answers: Result | Exception) -> None:
        self._answers = list(answers)
        self._started = anyio.current_time()
        self.called_at: list[float] = []

    async def __call__(self, key: str) -> Result:
        del key
        self.called_at.append(anyio.current_time() - self._started)
        answer = self._answers.pop(0) if self._answers else DONE
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_key_that_succeeds_waits_for_the_next_change() -> None:
    queue, passes, reconcile = WorkQueue[str](), Passes(), Times()
    queue.add("a")
    async with running(Controller(queue, reconcile, passes).run):
        await anyio.sleep(3600)
        assert passes.results == [("a", "success")]
        queue.add("a")
        await anyio.sleep(3600)
    assert reconcile.called_at == [0.0, 3600.0]


async def test_a_result_schedules_the_next_reconcile() -> None:
    answers = [Result(requeue_after_s=30.0)] * 9
    queue, passes, reconcile = WorkQueue[str](), Passes(), Times(*answers)
    queue.add("a")
    async with running(Controller(queue, reconcile, passes).run):
        await anyio.sleep(95)
    assert reconcile.called_at == pytest.approx([0.0, 30.0, 60.0, 90.0])
    assert passes.results == [("a", "requeue_after")] * 4


async def test_a_change_takes_the_place_of_a_scheduled_reconcile() -> None:
    answers = [Result(requeue_after_s=30.0)] * 9
    queue, reconcile = WorkQueue[str](), Times(*answers)
    queue.add("a")
    async with running(Controller(queue, reconcile, Passes()).run):
        await anyio.sleep(20)
        queue.add("a")
        await anyio.sleep(35)
    assert reconcile.called_at == pytest.approx([0.0, 20.0, 50.0])


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        pytest.param(UnavailableError("refused"), "error", id="a transient error"),
        pytest.param(ConflictError("stale"), "error", id="a conflict"),
        pytest.param(TimeoutError(), "error", id="a timeout of the reconcile's own"),
        pytest.param(KeyError("a bug"), "bug", id="a bug"),
    ],
)
async def test_a_failure_is_retried_with_backoff_until_it_succeeds(error: Exception, outcome: str) -> None:
    queue, passes, reconcile = queue_that_retries_after(1.0), Passes(), Times(error, error, error)
    queue.add("a")
    async with running(Controller(queue, reconcile, passes).run):
        await anyio.sleep(3600)
    assert reconcile.called_at == pytest.approx([0.0, 1.0, 3.0, 7.0])
    assert passes.results == [("a", outcome)] * 3 + [("a", "success")]
    assert passes.failures == [("a", error, 0), ("a", error, 1), ("a", error, 2)]
    assert queue.failures("a") == 0


async def test_a_scheduled_reconcile_starts_the_backoff_afresh() -> None:
    error = TransientError("again")
    answers: list[Result | Exception] = [error, error, Result(requeue_after_s=30.0), error, DONE]
    queue, reconcile = queue_that_retries_after(1.0), Times(*answers)
    queue.add("a")
    async with running(Controller(queue, reconcile, Passes()).run):
        await anyio.sleep(3600)
    assert reconcile.called_at == pytest.approx([0.0, 1.0, 3.0, 33.0, 34.0])


async def test_a_refusal_is_retried_because_an_api_server_that_just_started_refuses_everybody() -> None:
    queue, reconcile = queue_that_retries_after(1.0), Times(ForbiddenError(), DONE)
    queue.add("a")
    async with running(Controller(queue, reconcile, Passes()).run):
        await anyio.sleep(3600)
    assert reconcile.called_at == pytest.approx([0.0, 1.0])


async def test_a_terminal_error_waits_for_the_next_change_and_then_starts_afresh() -> None:
    error, again = InvalidError(), TransientError("again")
    queue, passes, reconcile = queue_that_retries_after(1.0), Passes(), Times(again, error, again)
    queue.add("a")
    async with running(Controller(queue, reconcile, passes).run):
        await anyio.sleep(3600)
        assert passes.results == [("a", "error"), ("a", "terminal_error")]
        queue.add("a")
        await anyio.sleep(3600)
    assert passes.failures == [("a", again, 0), ("a", error, 1), ("a", again, 0)]
    assert reconcile.called_at == pytest.approx([0.0, 1.0, 3600.0, 3601.0])


async def test_a_reconcile_that_takes_too_long_is_cancelled_and_retried() -> None:
    queue, passes = queue_that_retries_after(1.0), Passes()
    queue.add("a")

    async def hang(_: str) -> Result:
        await anyio.sleep_forever()
        return DONE

    async with running(Controller(queue, hang, passes, timeout_s=60.0).run):
        await anyio.sleep(62)
    assert passes.results == [("a", "error")]
    assert passes.took_s == pytest.approx([60.0])
    assert [type(error) for _, error, _ in passes.failures] == [TimeoutError]


async def test_without_a_bound_a_reconcile_takes_as_long_as_it_takes() -> None:
    queue, passes = WorkQueue[str](), Passes()
    queue.add("a")

    async def dawdle(_: str) -> Result:
        await anyio.sleep(3600)
        return DONE

    async with running(Controller(queue, dawdle, passes, timeout_s=None).run):
        await anyio.sleep(3601)
    assert passes.results == [("a", "success")]
    assert passes.took_s == pytest.approx([3600.0])


async def test_a_key_that_fails_holds_no_other_key_up() -> None:
    queue, served = WorkQueue[str](), list[tuple[float, str]]()
    started = anyio.current_time()

    async def reconcile(key: str) -> Result:
        if key == "broken":
            raise RuntimeError("a bug")
        served.append((anyio.current_time() - started, key))
        return DONE

    for key in ("broken", "a", "b"):
        queue.add(key)
    async with running(Controller(queue, reconcile, Passes()).run):
        await anyio.sleep(60)
    assert served == [(0.0, "a"), (0.0, "b")]


def slow(seconds: float) -> Reconcile[str]:
    async def reconcile(_: str) -> Result:
        await anyio.sleep(seconds)
        return DONE

    return reconcile


async def test_as_many_keys_are_in_work_as_there_are_workers() -> None:
    queue = WorkQueue[str]()
    for key in "abcde":
        queue.add(key)
    async with running(Controller(queue, slow(10.0), Passes(), workers=2).run):
        await anyio.sleep(5)
        assert len(queue.in_work_since()) == 2
        assert len(queue) == 3


async def test_a_reconcile_is_reported_with_the_time_it_took() -> None:
    queue, passes = WorkQueue[str](), Passes()
    queue.add("a")
    async with running(Controller(queue, slow(10.0), passes).run):
        await anyio.sleep(60)
    assert passes.took_s == pytest.approx([10.0])


async def test_it_ends_when_the_queue_is_shut_down_and_drained() -> None:
    queue, passes = WorkQueue[str](), Passes()
    for key in "abc":
        queue.add(key)
    started = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(Controller(queue, slow(10.0), passes, workers=2).run)
        await anyio.sleep(5)
        queue.add("a")  # in work now: it has to be worked once more
        queue.shut_down()
    assert anyio.current_time() - started == pytest.approx(20.0)
    assert sorted(passes.results) == [("a", "success"), ("a", "success"), ("b", "success"), ("c", "success")]


async def test_a_cancelled_reconcile_gives_its_key_back_and_is_not_reported() -> None:
    queue, passes = WorkQueue[str](), Passes()
    queue.add("a")
    async with running(Controller(queue, slow(10.0), passes).run):
        await anyio.sleep(5)
    assert queue.in_work_since() == []
    assert passes.results == []


async def test_a_drain_that_is_cut_short_ends_at_once_and_leaves_nobody_waiting() -> None:
    queue, passes = WorkQueue[str](), Passes()
    for key in "abc":
        queue.add(key)
    tasks = len(anyio.get_running_tasks())
    started = anyio.current_time()
    async with running(Controller(queue, slow(3600.0), passes, workers=2).run):
        await anyio.sleep(5)
        queue.add("a")
        queue.shut_down()
        await anyio.sleep(5)
    assert anyio.current_time() == started + 10
    assert queue.in_work_since() == []
    assert len(anyio.get_running_tasks()) == tasks
    assert passes.results == []


async def test_errors_do_not_start_the_backoff_afresh_and_a_change_in_between_does_not_either() -> None:
    error = TransientError("again")
    queue, reconcile = queue_that_retries_after(8.0), Times(*[error] * 4)
    queue.add("a")
    async with running(Controller(queue, reconcile, Passes()).run):
        await anyio.sleep(4)
        queue.add("a")
        await anyio.sleep(3600)
    assert reconcile.called_at == pytest.approx([0.0, 4.0, 20.0, 52.0, 116.0])


async def test_workers_whose_every_reconcile_fails_never_wait_for_each_other() -> None:
    """A worker puts its key back while others do the same; nobody needs room for that."""
    queue, passes = WorkQueue[str](), Passes()
    for number in range(1000):
        queue.add(str(number))
    error = UnavailableError("refused")

    async def fail_once(key: str) -> Result:
        if not queue.failures(key):
            raise error
        return DONE

    async with running(Controller(queue, fail_once, passes, workers=4).run):
        await anyio.sleep(600)
    assert len(queue) == 0
    assert sum(result == "success" for _, result in passes.results) == 1000


@pytest.mark.parametrize("error", [UnavailableError, ForbiddenError, ConflictError, OutOfSyncError])
@pytest.mark.parametrize(
    ("asked_s", "waited_s"),
    [
        pytest.param(2.0, 2.0, id="a while"),
        pytest.param(0.0, 0.005, id="nothing"),
        pytest.param(86_400.0, 60.0, id="a day, which must be a mistake"),
    ],
)
async def test_a_server_that_asks_for_patience_is_given_it(
    asked_s: float, waited_s: float, error: type[TransientError]
) -> None:
    queue, reconcile = WorkQueue[str](), Times(error("slow down", retry_after_s=asked_s))
    queue.add("a")
    async with running(Controller(queue, reconcile, Passes()).run):
        await anyio.sleep(3600)
    assert reconcile.called_at == pytest.approx([0.0, waited_s])


async def test_a_reconcile_and_all_that_is_reported_of_it_happen_inside_its_scope() -> None:
    reported: list[str] = []

    class Observer(Passes):
        @override
        def passed(self, key: str, result: str, took_s: float) -> None:
            reported.append(f"{key} {result}")

        @override
        def failed(self, key: str, error: Exception, failures: int) -> None:
            reported.append(f"{key} failed")

    @contextmanager
    def scope(key: str) -> Generator[None]:
        reported.append(f"enter {key}")
        yield
        reported.append(f"leave {key}")

    queue, reconcile = WorkQueue[str](), Times(DONE, InvalidError("no"))
    queue.add("a")
    queue.add("b")
    queue.shut_down()
    await Controller(queue, reconcile, Observer(), scope=scope).run()
    assert reported == ["enter a", "a success", "leave a", "enter b", "b failed", "b terminal_error", "leave b"]
