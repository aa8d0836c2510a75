from prometheus_client.parser import text_string_to_metric_families

from toolset.adapters.metrics import CONTROLLERS, Metrics, type_label
from toolset.core.verdict import Reason


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


def test_the_exposition_says_what_it_is() -> None:
    assert Metrics("1").expose()[1].startswith("text/plain")


def test_custom_types_share_one_label_so_that_a_tenant_cannot_make_series() -> None:
    assert type_label("grafana") == "grafana"
    assert type_label("anything-else") == "custom"
