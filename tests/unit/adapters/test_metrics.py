import pytest
from prometheus_client.parser import text_string_to_metric_families

from toolset.adapters.metrics import CONTROLLERS, Metrics, type_label
from toolset.core.candidate import Reason


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every value that is exposed, by name and label values."""
    text = metrics.expose()[0].decode()
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


def test_every_series_stands_at_zero_before_anything_happened() -> None:
    """Defect of the original: it exported none of its metrics."""
    found = samples(Metrics("1.2.3"))
    for controller in CONTROLLERS:
        assert found["workqueue_depth", (controller,)] == 0
        assert found["workqueue_retries_total", (controller,)] == 0
        assert found["controller_runtime_reconcile_errors_total", (controller,)] == 0
        assert found["controller_runtime_reconcile_total", (controller, "bug")] == 0
    for name in ("writes", "conflicts"):
        assert found[f"toolset_configmap_{name}_total", ()] == 0
    assert found["toolset_probes_total", ("failed", "custom")] == 0
    assert found["reflector_lists_total", ("configmaps",)] == 0
    for verdict in ("Published", *(reason.word for reason in Reason)):
        assert found["toolset_services", (verdict,)] == 0


def test_the_version_is_a_label() -> None:
    assert samples(Metrics("1.2.3"))["toolset_build_info", ("1.2.3",)] == 1


def test_two_processes_in_one_interpreter_do_not_share_series() -> None:
    one, other = Metrics("1"), Metrics("1")
    one.writes.inc()
    assert samples(one)["toolset_configmap_writes_total", ()] == 1
    assert samples(other)["toolset_configmap_writes_total", ()] == 0


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        pytest.param("", "text/plain", id="a reader that does not care"),
        pytest.param("*/*", "text/plain", id="curl"),
        pytest.param(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text",
            id="Prometheus",
        ),
        pytest.param("application/openmetrics-text; version=abc", "text/plain", id="a version that is none"),
    ],
)
def test_the_exposition_is_what_the_reader_takes(accept: str, content_type: str) -> None:
    metrics = Metrics("1")
    metrics.event_to_write.observe(0.2, {"trace_id": "a" * 32})
    body, said = metrics.expose(accept)
    assert said.partition(";")[0] == content_type
    assert (b" # {trace_id=" in body) is (content_type == "application/openmetrics-text")


def test_nothing_says_when_a_counter_was_made() -> None:
    assert b"_created" not in Metrics("1").expose()[0]


def test_custom_types_share_one_label_so_that_a_tenant_cannot_make_series() -> None:
    assert type_label("grafana") == "grafana"
    assert type_label("anything-else") == "custom"
