"""The embedded cluster for demo and tests: an API server and sample backends in the process."""

from toolset.sim.backends import Backends
from toolset.sim.cluster import EmbeddedCluster

__all__ = ["Backends", "EmbeddedCluster"]
