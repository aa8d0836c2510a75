"""What is where in the cluster of the simulation."""

from typing import Final

from integration.cluster import Tool
from toolset.sim.kinds import CONFIG_MAP, LEASE, Place

SYSTEM: Final = "kubernaut-system"
TARGET: Final = Place(CONFIG_MAP, SYSTEM, "kubernaut-toolset-config")
LEASE_PLACE: Final = Place(LEASE, SYSTEM, "kubernaut-dynamic-toolset")
SPACES: Final = ("team-a", "team-b")
NOTES: Final = "notes"
OVERRIDES: Final = "overrides.yaml"
READY: Final = {"toolset": "enabled", "toolset-type": "tasks", "toolset-health-path": "/ready"}
POOL: Final = (
    *(Tool("grafana", SPACES[n % 2], f"board-{n}", 3000, "service", {"app": "grafana"}) for n in range(4)),
    *(Tool("prometheus", each, "metrics", 9090, "web", {"app": "prometheus"}) for each in SPACES),
    *(Tool("jaeger", each, "jaeger", 16686, "query") for each in SPACES),
    *(Tool("elasticsearch", each, "search", 9200, "http", {"app": "elasticsearch"}) for each in SPACES),
    *(Tool("custom", each, "tasks", 3200, annotations=READY) for each in SPACES),
)
