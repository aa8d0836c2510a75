"""Health probes: bounded HTTP requests to addresses that were checked.

A probe connects directly or through the API server's proxy, to an address that the address guard has checked. It uses
its own connection and ends within one deadline.
"""

from toolset.adapters.probe.address_guard import AddressGuard
from toolset.adapters.probe.prober import HttpProber, ProberOptions, StaticConfig
from toolset.adapters.probe.resolver import Resolver

__all__ = ["AddressGuard", "HttpProber", "ProberOptions", "Resolver", "StaticConfig"]
