import pytest

from toolset.core.detection.identity import endings


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        pytest.param("rancher-monitoring-prometheus", ["rancher-monitoring-prometheus"], id="the end counts"),
        pytest.param(
            "prometheus-k8s", ["prometheus-k8s", "prometheus"], id="a generic word is looked at, then left out"
        ),
        pytest.param("service", ["service"], id="nothing but a generic word"),
        pytest.param("grafana-service-http", ["grafana-service-http", "grafana-service", "grafana"], id="two of them"),
    ],
)
def test_a_name_ends_with_what_it_is(words: str, ends: list[str]) -> None:
    assert ["-".join(ending) for ending in endings(tuple(words.split("-")))] == ends
