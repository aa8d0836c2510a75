import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolset.runtime.backoff import Backoff, RetryLimiter, TokenBucket


def no_jitter() -> float:
    return 0.0


def test_delays_double_up_to_the_cap() -> None:
    delays = [Backoff().delay_s(failures, no_jitter) for failures in range(1, 9)]
    assert delays == pytest.approx([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])


def test_jitter_adds_a_share_of_the_delay() -> None:
    backoff = Backoff(base_s=10.0, spread=0.5)
    assert backoff.delay_s(1, lambda: 0.8) == pytest.approx(14.0)


@given(failures=st.integers(1, 1_000_000), jitter=st.floats(0.0, 1.0, exclude_max=True))
def test_no_number_of_failures_goes_beyond_the_cap_and_its_jitter(failures: int, jitter: float) -> None:
    assert 0.8 <= Backoff().delay_s(failures, lambda: jitter) <= 60.0


async def test_a_bucket_lets_a_burst_through_at_once() -> None:
    bucket = TokenBucket(rate_per_s=10.0, burst=3)
    assert [bucket.reserve_s() for _ in range(3)] == [0.0, 0.0, 0.0]


async def test_an_empty_bucket_goes_into_debt_and_turns_nobody_away() -> None:
    bucket = TokenBucket(rate_per_s=10.0, burst=1)
    assert [bucket.reserve_s() for _ in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])


async def test_a_bucket_pays_its_debt_with_time() -> None:
    bucket = TokenBucket(rate_per_s=10.0, burst=1)
    for _ in range(5):
        bucket.reserve_s()
    await anyio.sleep(0.3)
    assert bucket.reserve_s() == pytest.approx(0.2)


async def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = TokenBucket(rate_per_s=10.0, burst=2)
    bucket.reserve_s()
    await anyio.sleep(3600)
    assert [bucket.reserve_s() for _ in range(3)] == pytest.approx([0.0, 0.0, 0.1])


async def test_a_key_that_goes_on_failing_waits_twice_as_long_each_time() -> None:
    limiter = RetryLimiter[str]()
    delays = [limiter.delay_s("a") for _ in range(5)]
    assert delays == pytest.approx([0.005, 0.01, 0.02, 0.04, 0.08])
    assert limiter.failures("a") == 5


async def test_a_thousand_failures_wait_five_minutes() -> None:
    limiter = RetryLimiter[str](bucket=TokenBucket(rate_per_s=1e6, burst=1000))
    delays = [limiter.delay_s("a") for _ in range(1000)]
    assert delays[-1] == 300.0


async def test_each_key_has_its_own_backoff() -> None:
    limiter = RetryLimiter[str]()
    limiter.delay_s("a")
    limiter.delay_s("a")
    assert limiter.delay_s("b") == pytest.approx(0.005)


async def test_a_forgotten_key_starts_afresh() -> None:
    limiter = RetryLimiter[str]()
    limiter.delay_s("a")
    limiter.delay_s("a")
    limiter.forget("a")
    assert limiter.failures("a") == 0
    assert limiter.delay_s("a") == pytest.approx(0.005)


def test_forgetting_a_key_that_never_failed_does_nothing() -> None:
    limiter = RetryLimiter[str]()
    limiter.forget("a")
    assert limiter.failures("a") == 0


async def test_the_bucket_bounds_retries_over_all_keys() -> None:
    limiter = RetryLimiter[int](bucket=TokenBucket(rate_per_s=1.0, burst=1))
    assert [limiter.delay_s(key) for key in range(3)] == pytest.approx([0.005, 1.0, 2.0])
