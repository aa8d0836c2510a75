"""When a tool counts as up: thresholds over probe outcomes, as values."""

import math
from enum import Enum
from typing import Final

import msgspec

from toolset.core.candidate import Variant
from toolset.core.health.options import HealthOptions

RECHECK_DELAYS_S: Final = (1.0, 2.0)
"""Delays of the next probe after one and two consecutive failures, seconds: a dead backend is removed within seconds
(HolmesGPT allows a toolset 20 s in total), a brief failure does not remove it."""

DOUBLINGS: Final = 16
"""Maximum number of doublings from one second: 18 hours, longer than any interval."""


class Failure(Enum):
    """The kind of failure of a probe."""

    REFUSED = "refused"
    """No connection: refused, no route, or no such name."""

    TIMEOUT = "timeout"
    STATUS = "status"
    IDENTITY = "identity"
    TLS = "tls"
    """It speaks TLS, but the handshake fails: its certificate is not trusted, for example."""

    ADDRESS = "address"
    """The guard forbids the address."""

    PROTOCOL = "protocol"
    """The answer was not TLS, or not a complete HTTP response within the limits."""

    DEFERRED = "put_off"
    """There was no free slot; the result is unknown."""

    OTHER = "failed"


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of one probe.

    Attributes:
        alive: Whether it succeeded.
        detail: A fixed phrase that says why not, with at most a status code in it; never text from the backend.
        assumed: Not probed, because probes are disabled; no further success is required.
        identity_mismatch: Something else answered than the detector expects.
        failure: The kind of failure; meaningless when alive.
        status: The answer's status code; 0 if there was none.
        unauthorized: The answer was 401 or 403: it is alive and requires credentials. Only when alive.
        wants_tenant: It requires a tenant id. Only when unauthorized.
        variant: Which variant answered; ``None`` for the one that was requested first.
        requests: How many variants were requested.
        how: Which variant answered after what the others did, in fixed words; empty if the first one did.
        backend_id: The id that the backend reports, well-formed; empty if it reports none.
        retry_after_s: When to probe again after an unknown result, seconds; 0 if the bulkhead decides that.
    """

    alive: bool
    detail: str = ""
    assumed: bool = False
    identity_mismatch: bool = False
    failure: Failure = Failure.OTHER
    status: int = 0
    retry_after_s: float = 0.0
    unauthorized: bool = False
    wants_tenant: bool = False
    variant: Variant | None = None
    requests: int = 1
    how: str = ""
    backend_id: str = ""

    @property
    def word(self) -> str:
        """The one word for metrics and traces: ``alive``, ``unauthorized``, or the kind of failure."""
        if self.unauthorized:
            return "unauthorized"
        return "alive" if self.alive else self.failure.value

    @property
    def deferred(self) -> bool:
        """Whether the result is unknown."""
        return self.failure is Failure.DEFERRED


DEFERRED: Final = Outcome(alive=False, detail="there was no room for its probe yet", failure=Failure.DEFERRED)
"""No verdict: the backend was too slow, or its host was busy; it is probed again."""


EXHAUSTED: Final = Outcome(
    alive=False,
    detail="this service had no descriptor, memory or thread left to probe it",
    failure=Failure.DEFERRED,
    retry_after_s=2.0,
)
"""No verdict: the fault is in this process, not in the backend."""


class Health(msgspec.Struct, frozen=True):
    """The health of one candidate.

    Attributes:
        up: Whether it counts as up; ``None`` until there is a result.
        successes: Consecutive successes.
        failures: Consecutive failures.
        detail: The detail of the last failed probe.
        identity_mismatch: Whether something else answered that probe.
        overdue: Whether a later probe started without a result yet.
        probed_s: When the last probe with a result started, on the caller's clock.
        began_s: When the first of the consecutive failures was probed.
        fell_s: When it went down after it had been up; ``None`` if it is up, or never was.
        variant: The variant that answered last, or that is published; ``None`` until there is one.
        how: How that variant was found, for people; empty if it was the first one.
        requests: How many variants the last probe requested.
        denials: Consecutive 401 or 403 answers while it is up and was accessible before.
        unauthorized: Whether it counts as one that requires credentials: its last good probes were answered with 401
            or 403, ``fall`` of them if it was accessible before.
        wants_tenant: Whether the last of those answers asked for a tenant id.
        backend_id: The id that the backend reported last; empty if none.
    """

    up: bool | None = None
    successes: int = 0
    failures: int = 0
    detail: str = ""
    identity_mismatch: bool = False
    overdue: bool = False
    probed_s: float = -math.inf
    began_s: float = -math.inf
    fell_s: float | None = None
    variant: Variant | None = None
    how: str = ""
    requests: int = 1
    denials: int = 0
    unauthorized: bool = False
    wants_tenant: bool = False
    backend_id: str = ""

    @property
    def doubtful(self) -> bool:
        """Whether the last probe did not confirm that it is healthy."""
        return self.overdue or self.failures > 0 or self.denials > 0

    @property
    def never_up(self) -> bool:
        """Whether it has never been up."""
        return not self.up and self.fell_s is None


def assumed_up(variant: Variant) -> Health:
    """Return the initial health of a candidate whose ``variant`` is in the published ConfigMap.

    It is up, with no failures, so that a restart or a failover never drops a tool on its first failed probe.
    """
    return Health(up=True, variant=variant)


def observe(
    health: Health,
    outcome: Outcome,
    options: HealthOptions,
    *,
    asked: Variant | None = None,
    began_s: float = -math.inf,
    now_s: float = -math.inf,
) -> Health:
    """Return ``health`` after one more outcome.

    A candidate that was never up is down from its first failure: it is published after its first success.

    Args:
        health: The previous health.
        outcome: The outcome of the probe; a deferred one only makes the health doubtful.
        options: The thresholds.
        asked: The variant that the probe requested first.
        began_s: When the probe started, on any monotonic clock.
        now_s: When it ended, on the same clock.
    """
    if outcome.deferred:
        return msgspec.structs.replace(health, overdue=True)
    if not outcome.alive:
        return _after_failure(health, outcome, options, began_s, now_s)
    successes = health.successes + 1
    risen = health.up is True or outcome.assumed or successes >= options.rise
    variant = outcome.variant or asked
    denials = health.denials + 1 if outcome.unauthorized and health.up and not health.unauthorized else 0
    unauthorized = outcome.unauthorized and not 0 < denials < options.fall
    return Health(
        up=risen,
        successes=successes,
        probed_s=began_s,
        fell_s=None if risen else health.fell_s,
        variant=variant,
        how=outcome.how or (health.how if variant == health.variant else ""),
        requests=outcome.requests,
        denials=0 if unauthorized else denials,
        unauthorized=unauthorized,
        wants_tenant=unauthorized and outcome.wants_tenant,
        backend_id=outcome.backend_id or (health.backend_id if outcome.unauthorized else ""),
    )


def _after_failure(health: Health, outcome: Outcome, options: HealthOptions, began_s: float, now_s: float) -> Health:
    failures = health.failures + 1
    stays = health.up is True and failures < options.fall
    falls = health.up is True and not stays
    return msgspec.structs.replace(
        health,
        up=stays,
        successes=0,
        failures=failures,
        detail=outcome.detail,
        identity_mismatch=outcome.identity_mismatch,
        overdue=False,
        probed_s=began_s,
        began_s=health.began_s if health.failures else began_s,
        fell_s=now_s if falls else health.fell_s,
        requests=outcome.requests,
    )


def next_probe_s(health: Health, interval_s: float) -> float:
    """Return when to probe next, seconds from now.

    A candidate that was never up may have just been created: its pods may still be starting, or kube-proxy may not
    have programmed it yet. So the delay doubles, from a second up to the interval.
    """
    unsure = health.failures or health.denials
    if health.up and 0 < unsure <= len(RECHECK_DELAYS_S):
        return min(interval_s, RECHECK_DELAYS_S[unsure - 1])
    if health.never_up and health.failures > 0 and not health.identity_mismatch:
        return min(interval_s, 2.0 ** min(health.failures - 1, DOUBLINGS))
    return interval_s
