"""Health probes: bounded, guarded HTTP requests.

A probe takes a way (straight, or through the API server's proxy) to an address that the guard has checked, over a
connection of its own, and ends within one deadline.
"""

from toolset.adapters.probe.address_guard import AddressGuard
from toolset.adapters.probe.prober import BODY_LIMIT_BYTES, HttpProber, ProberOptions
from toolset.adapters.probe.resolver import Resolver

__all__ = ["BODY_LIMIT_BYTES", "AddressGuard", "HttpProber", "ProberOptions", "Resolver"]
