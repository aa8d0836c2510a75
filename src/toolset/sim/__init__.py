"""A cluster in the process: an API server for the few kinds that the service uses, and backends to find in it.

It is for the demo and for tests. How far it may be trusted is what ``tests/integration/test_differential.py`` shows.
"""

from toolset.sim.backends import Backends
from toolset.sim.cluster import EmbeddedCluster

__all__ = ["Backends", "EmbeddedCluster"]
