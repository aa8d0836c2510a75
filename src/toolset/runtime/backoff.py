"""Retry delays: values and small counters; the caller sleeps."""

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

import anyio
import msgspec

K = TypeVar("K", bound=Hashable)

RETRY_AFTER_CAP_S: Final = 60.0
"""Maximum ``Retry-After`` that is obeyed, seconds; a wrong value must not stop the service."""
_LARGEST_EXPONENT: Final = 64  # 2**64 times any base is beyond every cap, and floats do not overflow


class Backoff(msgspec.Struct, frozen=True):
    """An exponential schedule.

    The defaults are those of client-go's reflector (``tools/cache/reflector.go``): at most 0.22
    requests a second against an API server in trouble.

    Attributes:
        base_s: Delay before the first retry, seconds.
        cap_s: Largest delay before jitter, seconds.
        factor: Growth from one retry to the next.
        spread: Share of the delay added at random, so that replicas do not retry in step.
    """

    base_s: float = 0.8
    cap_s: float = 30.0
    factor: float = 2.0
    spread: float = 1.0

    def delay_s(self, failures: int, jitter: Callable[[], float]) -> float:
        """Return the delay after ``failures`` consecutive failures, seconds.

        Args:
            failures: At least 1, which is the first failure.
            jitter: Returns a number in [0, 1).
        """
        exponent = min(failures - 1, _LARGEST_EXPONENT)
        ceiling = min(self.cap_s, self.base_s * self.factor**exponent)
        return ceiling * (1.0 + self.spread * jitter())


class TokenBucket:
    """A rate limit with bursts.

    It goes into debt, like client-go's ``Reserve``: each caller gets a later time, and none is rejected.
    """

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_at: float | None = None

    def reserve_s(self) -> float:
        """Take one token; return how long to wait until it is available, seconds."""
        now = anyio.current_time()
        if self._filled_at is not None:
            gained = (now - self._filled_at) * self._rate_per_s
            self._tokens = min(self._burst, self._tokens + gained)
        self._filled_at = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate_per_s)


class RetryLimiter(Generic[K]):
    """When a failed key may be retried: its own backoff, and a bucket over all keys.

    Base delay, rate and burst are client-go's (``util/workqueue/default_rate_limiters.go``); the cap
    is 300 s instead of 1,000 s, so that a recovery is noticed within five minutes.
    """

    def __init__(
        self,
        backoff: Backoff = Backoff(base_s=0.005, cap_s=300.0, spread=0.0),
        bucket: TokenBucket | None = None,
    ) -> None:
        self._backoff = backoff
        self._bucket = bucket or TokenBucket(rate_per_s=10.0, burst=100)
        self._failures: dict[K, int] = {}

    def delay_s(self, key: K) -> float:
        """Count one more failure of ``key``; return how long it must wait, seconds."""
        self._failures[key] = self._failures.get(key, 0) + 1
        own = self._backoff.delay_s(self._failures[key], _no_jitter)
        return max(own, self._bucket.reserve_s())

    def failures(self, key: K) -> int:
        """Return how often ``key`` failed since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Reset ``key``; a no-op if it never failed."""
        self._failures.pop(key, None)


def _no_jitter() -> float:
    return 0.0
