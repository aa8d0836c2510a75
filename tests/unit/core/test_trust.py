import pytest

from toolset.core.trust import Trust
from toolset.model import Namespace, NamespaceMeta

LABEL = "kubernaut.io/toolset-trust"
STRICT = Trust(("monitoring", "ops-*"))


def labelled(value: str | None, name: str = "team-a") -> Namespace:
    return Namespace(NamespaceMeta(name=name, labels=None if value is None else {LABEL: value}))


@pytest.mark.parametrize(
    ("trust", "name", "label", "trusted"),
    [
        pytest.param(Trust(), "team-a", None, True, id="all are trusted by default"),
        pytest.param(Trust(), "team-a", "untrusted", False, id="but the label says otherwise"),
        pytest.param(STRICT, "team-a", None, False, id="outside the globs"),
        pytest.param(STRICT, "team-a", "trusted", True, id="outside the globs, but labelled"),
        pytest.param(STRICT, "ops-1", None, True, id="inside the globs"),
        pytest.param(STRICT, "ops-1", "untrusted", False, id="inside the globs, but labelled"),
        pytest.param(STRICT, "ops-1", "Untrusted", True, id="an unknown value counts for nothing inside the globs"),
        pytest.param(STRICT, "team-a", "true", False, id="an unknown value counts for nothing outside the globs"),
        pytest.param(Trust(("monitoring",), "other.io"), "team-a", "trusted", False, id="a label of another prefix"),
    ],
)
def test_a_label_decides_before_the_globs(trust: Trust, name: str, label: str | None, *, trusted: bool) -> None:
    assert trust.includes(name, labelled(label, name)) is trusted


def test_a_namespace_that_is_not_known_is_judged_by_the_globs() -> None:
    assert STRICT.includes("monitoring")
    assert not STRICT.includes("team-a")


@pytest.mark.parametrize("label", [None, "trusted", "untrusted"])
def test_a_valid_label_is_no_problem(label: str | None) -> None:
    assert STRICT.problem(labelled(label)) == ""


def test_an_unknown_value_is_reported_with_its_place() -> None:
    assert STRICT.problem(labelled("yes")) == (
        "label kubernaut.io/toolset-trust=yes of namespace team-a is ignored: the value must be trusted or untrusted"
    )
