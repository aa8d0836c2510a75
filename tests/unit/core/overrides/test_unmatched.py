import pytest

from toolset.core.dialects.texts import Policy
from toolset.core.overrides.overrides import Overrides, read
from toolset.core.overrides.unmatched import unmatched
from toolset.model import Key

KNOWN = {Key("team-b", "prometheus"), Key("monitoring", "grafana"), Key("", "prd")}


def overrides(text: str) -> Overrides:
    found = read(text, Policy())
    assert isinstance(found, Overrides)
    return found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            "suppress: [team-c/prometheus]",
            "overrides.yaml, line 1: there is no Service team-c/prometheus; did you mean team-b/prometheus?",
            id="namespace",
        ),
        pytest.param(
            "tools:\n  monitoring/grafan: {enabled: false}",
            "overrides.yaml, line 2: there is no Service monitoring/grafan; did you mean monitoring/grafana?",
            id="name",
        ),
        pytest.param("approve: [a/b]", "overrides.yaml, line 1: there is no Service a/b", id="like no other"),
        pytest.param("tools: {prod: {priority: 1}}", "overrides.yaml, line 1: there is no static backend prod; "
            "did you mean prd?", id="static"),
    ],
)  # fmt: skip
def test_a_name_that_nobody_has_is_reported_with_its_place_and_the_nearest_one(text: str, sentence: str) -> None:
    assert unmatched(overrides(text), KNOWN) == (sentence,)


def test_names_of_services_and_patches_of_documents_are_right() -> None:
    text = "suppress: [monitoring/grafana, prd]\napprove: [team-b/prometheus]\ntoolsets: {slack/x: {enabled: false}}"
    assert unmatched(overrides(text), KNOWN) == ()


def test_the_first_names_get_a_proposal() -> None:
    text = "suppress: [" + ", ".join(f"monitoring/grafana{number}" for number in range(9)) + "]"
    assert ["did you mean" in each for each in unmatched(overrides(text), KNOWN)] == [True] * 3 + [False] * 6


def test_every_name_is_reported() -> None:
    text = "suppress: [a/b, a/c]\ntools: {a/d: {priority: 1}}\napprove: [a/e]"
    assert [each.split(" no Service ")[1] for each in unmatched(overrides(text), KNOWN)] == ["a/d", "a/b", "a/c", "a/e"]
