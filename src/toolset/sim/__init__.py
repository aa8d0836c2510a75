"""A cluster in the process, for the demo and tests: an API server for the few kinds that the service uses, backends."""

from toolset.sim.backends import Backends
from toolset.sim.cluster import EmbeddedCluster

__all__ = ["Backends", "EmbeddedCluster"]
