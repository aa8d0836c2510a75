"""All types that are built in."""

from typing import Final

from toolset.core.backends.alerts import ALERTMANAGER
from toolset.core.backends.backend_type import types_of
from toolset.core.backends.dashboards import GRAFANA
from toolset.core.backends.documents import ELASTICSEARCH
from toolset.core.backends.logs import LOKI, VICTORIALOGS
from toolset.core.backends.metrics import PROMETHEUS
from toolset.core.backends.traces import JAEGER, TEMPO, ZIPKIN

BACKEND_TYPES: Final = (PROMETHEUS, GRAFANA, JAEGER, ELASTICSEARCH, LOKI, TEMPO, VICTORIALOGS, ALERTMANAGER, ZIPKIN)
"""Every type, in the order in which detectors break ties."""
TYPES: Final = types_of(BACKEND_TYPES)
"""How each type is published."""
DETECTORS: Final = tuple(each for backend in BACKEND_TYPES if not backend.opt_in for each in backend.detectors)
"""The detectors that are enabled by default, in order."""
OPT_IN: Final = tuple(each for backend in BACKEND_TYPES if backend.opt_in for each in backend.detectors)
"""The detectors that apply only if the settings enable them."""
