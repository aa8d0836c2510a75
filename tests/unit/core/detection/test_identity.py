import pytest

from toolset.core.detection.identity import ends, is_called


@pytest.mark.parametrize(
    ("name", "left"),
    [
        pytest.param("rancher-monitoring-prometheus", ["rancher-monitoring-prometheus"], id="the end counts"),
        pytest.param(
            "prometheus-k8s", ["prometheus-k8s", "prometheus"], id="a generic word is compared, then left out"
        ),
        pytest.param("service", ["service"], id="nothing but a generic word"),
        pytest.param(
            "grafana-test-2", ["grafana-test-2", "grafana-test", "grafana"], id="a number says which one it is"
        ),
        pytest.param("grafana-service-http", ["grafana-service-http", "grafana-service", "grafana"], id="two of them"),
    ],
)
def test_a_name_ends_with_what_it_is(name: str, left: list[str]) -> None:
    words = tuple(name.split("-"))
    assert ["-".join(words[:end]) for end in ends(words)] == left


@pytest.mark.parametrize(
    ("words", "phrases", "called"),
    [
        ("http-grafana", ["grafana"], True),
        ("grafana-http", ["grafana"], True),
        ("grafana-alert", ["grafana"], False),
        ("x-jaeger-ui", ["query", "jaeger-ui"], True),
        ("jaeger", ["jaeger-ui"], False),
        ("grafana", [], False),
    ],
)
def test_a_name_is_a_phrase_when_it_ends_with_it(words: str, phrases: list[str], *, called: bool) -> None:
    assert is_called(tuple(words.split("-")), [tuple(phrase.split("-")) for phrase in phrases]) is called
