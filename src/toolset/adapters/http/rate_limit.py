"""Token buckets; the caller gives the time."""

from collections import OrderedDict


class RateLimit:
    """Allows ``burst`` at once, and then ``per_s`` a second."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at_s = 0.0

    def take(self, now_s: float) -> bool:
        """Take one; return whether there was one."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class PeerRateLimit:
    """One :class:`RateLimit` for each address, for the addresses that came last."""

    def __init__(self, per_s: float, burst: float, peers: int = 256) -> None:
        self._per_s = per_s
        self._burst = burst
        self._peers = peers
        self._limits: OrderedDict[str, RateLimit] = OrderedDict()

    def take(self, peer: str, now_s: float) -> bool:
        """Take one for ``peer``; return whether there was one."""
        limit = self._limits.setdefault(peer, RateLimit(self._per_s, self._burst))
        self._limits.move_to_end(peer)
        if len(self._limits) > self._peers:
            self._limits.popitem(last=False)
        return limit.take(now_s)
