"""All types that are built in."""

from typing import Final

from toolset.core.backends.backend import types_of
from toolset.core.backends.dashboards import GRAFANA
from toolset.core.backends.documents import ELASTICSEARCH
from toolset.core.backends.metrics import PROMETHEUS
from toolset.core.backends.traces import JAEGER

BACKENDS: Final = (PROMETHEUS, GRAFANA, JAEGER, ELASTICSEARCH)
"""Every type, in the order in which detectors break ties."""
TYPES: Final = types_of(BACKENDS)
"""How each type is published."""
