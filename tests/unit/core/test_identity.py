import pytest

from toolset.core.identity import endings


@pytest.mark.parametrize(
    ("words", "phrases"),
    [
        pytest.param("rancher-monitoring-prometheus", ["monitoring-prometheus", "prometheus"], id="the end counts"),
        pytest.param(
            "prometheus-k8s", ["prometheus-k8s", "k8s", "prometheus"], id="a generic word is looked at, then left out"
        ),
        pytest.param("service", ["service"], id="nothing but a generic word"),
    ],
)
def test_a_name_ends_with_what_it_is(words: str, phrases: list[str]) -> None:
    assert ["-".join(phrase) for phrase in endings(tuple(words.split("-")), 2)] == phrases
