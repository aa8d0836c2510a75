"""A decision of the admin ends by another decision, and not because a ConfigMap was deleted."""

from typing import Final

import pytest

from toolset.core.overrides.overrides import NO_OVERRIDES, Overrides, OverridesError, read
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.overrides_source import (
    NOTHING_IN_FORCE,
    InForce,
    OverridesSource,
    ignored,
    locate,
    lost,
    resumed,
    withheld,
)
from toolset.core.publishing.plan import OVERRIDES_IN_FORCE, OVERRIDES_KEPT
from toolset.model import ConfigMap, ConfigMapMeta, Key

PREFIX: Final = "kubernaut.io"
TARGET: Final = Key("kubernaut-system", "kubernaut-toolset-config")
OWN: Final = Key("kubernaut-system", "toolset-overrides")
POLICY: Final = OutputOptions().policy
HIDES: Final = "suppress: [monitoring/a]"
INVALID: Final = "suppress: {"


def overrides(text: str) -> Overrides:
    found = read(text, POLICY)
    assert isinstance(found, Overrides)
    return found


def config_map(text: str | None, uid: str = "u1", **annotations: str) -> ConfigMap:
    metadata = ConfigMapMeta(uid=uid, annotations={f"{PREFIX}/{name}": value for name, value in annotations.items()})
    return ConfigMap(metadata, {} if text is None else {"overrides.yaml": text})


def own(text: str | None, uid: str = "u1") -> OverridesSource:
    return OverridesSource(OWN, text, uid, is_separate=True)


def target(text: str | None, uid: str = "u1") -> OverridesSource:
    return OverridesSource(TARGET, text, uid)


READ: Final = InForce(overrides(HIDES), "u1", known=True)


@pytest.mark.parametrize(
    ("before", "source", "stays"),
    [
        pytest.param(READ, target(HIDES), False, id="they are there"),
        pytest.param(READ, target(None), False, id="the key was removed"),
        pytest.param(READ, target(None, ""), True, id="the ConfigMap was deleted"),
        pytest.param(READ, target(None, "u2"), True, id="it was created again without the key"),
        pytest.param(READ, target("", "u2"), False, id="it was created again with an empty one"),
        pytest.param(READ, target(INVALID, "u2"), False, id="it was created again with one that is not valid"),
        pytest.param(NOTHING_IN_FORCE, target(None, ""), False, id="there were none"),
        pytest.param(READ, own(None), True, id="the key is missing in one of the admin's own"),
        pytest.param(READ, own(None, ""), True, id="one of the admin's own was deleted"),
        pytest.param(NOTHING_IN_FORCE, own(None, ""), False, id="one of the admin's own was never there"),
        pytest.param(InForce(known=True), own(None, ""), True, id="an empty one of the admin's own was deleted"),
    ],
)
def test_overrides_outlive_what_is_no_decision(before: InForce, source: OverridesSource, *, stays: bool) -> None:
    assert before.outlives(source) is stays
    assert (before.after(source, NO_OVERRIDES, None) is before) is stays


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param(target(None, ""), HIDES, id="deleted"),
        pytest.param(target(None), "", id="removed"),
        pytest.param(target(INVALID), HIDES, id="not valid"),
        pytest.param(target("suppress: [c/d]"), "suppress: [c/d]", id="changed"),
    ],
)
def test_overrides_in_force_are_those_that_were_valid_last(source: OverridesSource, found: str) -> None:
    assert READ.follow(source, POLICY).text == found


def test_a_text_that_is_not_valid_makes_nothing_known() -> None:
    error = OverridesError("wrong", 1, 1)
    assert not NOTHING_IN_FORCE.after(own(INVALID), NO_OVERRIDES, error).known
    assert READ.after(own(INVALID, "u2"), READ.overrides, error) == InForce(READ.overrides, "u2", known=True)
    assert NOTHING_IN_FORCE.after(own(""), NO_OVERRIDES, None) == InForce(uid="u1", known=True)


def test_a_name_selects_the_config_map_of_the_admins_own() -> None:
    written, separate = config_map(HIDES), config_map("", "u2")
    assert locate(TARGET, "", written, None) == target(HIDES)
    assert locate(TARGET, "", None, None) == target(None, "")
    found = locate(TARGET, OWN.name, written, separate)
    assert found == OverridesSource(OWN, "", "u2", is_separate=True, ignored=TARGET)
    assert locate(TARGET, OWN.name, None, None) == own(None, "")


def test_what_is_ignored_is_named_with_the_place_where_it_belongs() -> None:
    assert ignored(own("")) == ""
    sentence = ignored(locate(TARGET, OWN.name, config_map(HIDES), config_map("")))
    assert f"in ConfigMap {TARGET} is ignored" in sentence
    assert f"`output.overrides_from` names ConfigMap {OWN}" in sentence


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        pytest.param(None, NOTHING_IN_FORCE, id="no ConfigMap"),
        pytest.param(config_map(HIDES), InForce(uid="u1"), id="all is well"),
        pytest.param(config_map(INVALID, **{OVERRIDES_IN_FORCE: HIDES}), READ, id="not valid"),
        pytest.param(
            config_map(None, **{OVERRIDES_IN_FORCE: HIDES, OVERRIDES_KEPT: "true"}),
            InForce(READ.overrides, known=True),
            id="deleted",
        ),
        pytest.param(config_map(None, **{OVERRIDES_KEPT: "true"}), InForce(known=True), id="empty ones deleted"),
        pytest.param(config_map(None, **{OVERRIDES_IN_FORCE: INVALID, OVERRIDES_KEPT: "true"}), InForce(), id="edited"),
    ],
)
def test_a_restart_finds_what_was_in_force(stored: ConfigMap | None, found: InForce) -> None:
    assert resumed(stored, PREFIX, POLICY) == found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (target(None, ""), f"ConfigMap {TARGET} was deleted with overrides.yaml"),
        (target(None, "u2"), f"ConfigMap {TARGET} was deleted with overrides.yaml"),
        (own(None, ""), f"ConfigMap {OWN} was deleted with overrides.yaml"),
        (own(None), f"ConfigMap {OWN} has no overrides.yaml any more"),
    ],
)
def test_lost_overrides_are_reported_with_the_place_of_their_text(source: OverridesSource, said: str) -> None:
    sentence = lost(source, PREFIX, TARGET)
    assert sentence.startswith(said)
    assert f"annotation {PREFIX}/{OVERRIDES_IN_FORCE} of ConfigMap {TARGET}" in sentence
    assert len(sentence) < 512


@pytest.mark.parametrize("error", [None, OverridesError("wrong", 3, 7)])
def test_what_is_withheld_is_reported_with_the_command_that_helps(error: OverridesError | None) -> None:
    sentence = withheld(own(None), error)
    assert f"kubectl create configmap {OWN.name} -n {OWN.namespace} --from-file=overrides.yaml" in sentence
    assert ("line 3, column 7: wrong" in sentence) == (error is not None)
