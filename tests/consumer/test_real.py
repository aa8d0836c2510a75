"""Real products behind what is published, asked a read-only question by the real HolmesGPT."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import controlplane
from consumer.holmes import Holmes
from consumer.test_scenarios import calls_of
from consumer.test_variants import QUERY
from integration import backends
from integration.backends import Daemon, find
from support.build import candidate
from support.lacking import lack, want_full_run
from toolset.core.dialects.holmesgpt import DOCUMENT_KEY
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import publish

pytestmark = [pytest.mark.consumer, pytest.mark.timeout(120)]

PRODUCTS: Final[dict[str, tuple[str, str, Callable[[Path, int], Daemon]]]] = {
    "Prometheus 3": ("prometheus", "prometheus-3", backends.prometheus_3),
    "VictoriaLogs": ("victorialogs", "victoria-logs", backends.victoria_logs),
    "OpenSearch": ("elasticsearch", "opensearch", backends.opensearch),
    "Jaeger": ("jaeger", "jaeger", backends.jaeger),
    "Alertmanager": ("alertmanager", "alertmanager", backends.alertmanager),
}
"""By product its type, the program that the machine needs, and what makes it."""


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_real_product_answers_through_what_is_published(name: str, holmes: Holmes, tmp_path: Path) -> None:
    kind, program, make = PRODUCTS[name]
    want_full_run(program)
    if find(program) is None:
        lack(f"there is no {program} here; `make backends` fetches or builds it")
    tool, daemon = candidate(kind, tool_type=kind), make(tmp_path / kind, controlplane.free_ports())
    text = publish([tool], OutputOptions()).data[DOCUMENT_KEY]
    # an empty Prometheus has no `up`
    calls = [QUERY] if kind == "prometheus" else [*calls_of(text, frozenset()).values()]
    try:
        daemon.start()
        loaded = holmes.load(text, connect_to={f"{tool.host}:{tool.port}": daemon.address}, calls=calls)
    finally:
        daemon.kill()
    assert loaded.error is None
    assert len(calls) > 0
    for (toolset, *call), answer in zip(calls, loaded.calls, strict=True):
        assert loaded.toolset(toolset).status == "enabled", loaded.toolset(toolset).error
        assert answer.status in {"success", "no_data"}, (toolset, call, answer)
