from collections.abc import Mapping
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.config_maps import FakeConfigMaps
from toolset.core.publishing.plan import (
    ANNOTATIONS,
    FIELD_MANAGER,
    INSTANCE,
    LABELS,
    OLDEST_VERSION,
    ORIGINAL_KEY,
    OVERRIDES_ERROR,
    OVERRIDES_KEY,
    OWNED_LIST_LIMIT_BYTES,
    Apply,
    Plan,
    Unchanged,
    content_hash,
    desired,
    is_whole,
    legacy_keys,
    manifest,
    owned_keys,
    owners,
    plan,
)
from toolset.errors import ConflictError
from toolset.model import ConfigMap, ConfigMapMeta, FieldsEntry, Key

TARGET: Final = Key("kubernaut-system", "kubernaut-toolset-config")
PREFIX: Final = "kubernaut.io"
P, G, K = "prometheus-toolset.yaml", "grafana-toolset.yaml", "kubernetes-toolset.yaml"


class Cluster:
    """The one ConfigMap, and reconciles of it that follow the plan as ``TargetReconciler`` does."""

    def __init__(self) -> None:
        self.config_maps = FakeConfigMaps()

    @property
    def current(self) -> ConfigMap:
        found = self.config_maps.get(TARGET)
        assert found is not None
        return found

    def edit(self, **data: str | None) -> None:
        """Somebody edits data keys, written with ``__`` for a dot."""
        self.config_maps.patch(TARGET, {key.replace("__", "."): value for key, value in data.items()})

    def decide(
        self,
        data: Mapping[str, str],
        annotations: Mapping[str, str] | None = None,
        legacy: tuple[str, ...] | None = None,
    ) -> Plan:
        cached = self.config_maps.get(TARGET)
        left = frozenset[str]() if legacy is None else legacy_keys(cached, legacy)
        return plan(TARGET, desired(data, len(data), PREFIX, annotations), cached, PREFIX, left)

    def publish(
        self,
        data: Mapping[str, str],
        annotations: Mapping[str, str] | None = None,
        legacy: tuple[str, ...] | None = None,
    ) -> Apply:
        """Make one reconcile that has to change something."""
        change = self.decide(data, annotations, legacy)
        assert isinstance(change, Apply)
        body = change.manifest
        if change.by_patch:
            self.patch(data, change)
            body = manifest(TARGET, desired(data, len(data), PREFIX, annotations), self.current)
        self.config_maps.apply(TARGET, body)
        return change

    def patch(self, data: Mapping[str, str], change: Apply) -> None:
        """Make the first request of a reconcile that needs two."""
        moved = {key: data[key] for key in change.written} | dict.fromkeys(change.by_patch)
        self.config_maps.patch(TARGET, moved, fence=self.current, manager=FIELD_MANAGER)


def test_a_config_map_that_is_missing_is_created_under_the_oldest_version() -> None:
    cluster = Cluster()
    change = cluster.publish({P: "1", K: "2"})
    assert (change.written, change.removed, change.by_patch, change.drifted) == ((K, P), (), (), False)
    metadata = msgspec.json.decode(change.manifest)["metadata"]
    assert set(metadata) == {"name", "namespace", "labels", "annotations", "resourceVersion"}
    assert metadata["resourceVersion"] == OLDEST_VERSION
    assert cluster.current.entries == {P: "1", K: "2"}
    assert cluster.current.labels == LABELS
    assert cluster.current.annotations == {
        "kubernaut.io/content-hash": content_hash({K: "2", P: "1"}),
        "kubernaut.io/tools": "2",
        "kubernaut.io/owned-keys": f"{K},{P}",
    }


def test_a_second_reconcile_changes_nothing() -> None:
    """Defect of the original: it wrote on every cycle."""
    cluster = Cluster()
    cluster.publish({P: "1"})
    version = cluster.current.version
    assert cluster.decide({P: "1"}) == Unchanged()
    assert cluster.current.version == version


def test_a_change_is_fenced_by_version_and_uid() -> None:
    cluster = Cluster()
    cluster.publish({P: "1"})
    change = cluster.decide({P: "2"})
    assert isinstance(change, Apply)
    metadata = msgspec.json.decode(change.manifest)["metadata"]
    assert (metadata["resourceVersion"], metadata["uid"]) == (cluster.current.version, cluster.current.uid)
    cluster.edit(annotations="of somebody else")
    with pytest.raises(ConflictError):
        cluster.config_maps.apply(TARGET, change.manifest)


def test_what_somebody_deleted_meanwhile_is_not_created_again_by_a_stale_plan() -> None:
    cluster = Cluster()
    cluster.publish({P: "1"})
    change = cluster.decide({P: "2"})
    assert isinstance(change, Apply)
    cluster.config_maps.delete(TARGET)
    with pytest.raises(ConflictError):
        cluster.config_maps.apply(TARGET, change.manifest)
    assert cluster.publish({P: "2"}).written == (P,)


def test_what_is_not_ours_survives() -> None:
    """Defect of the original: it wiped foreign keys, overrides included, on every write."""
    cluster = Cluster()
    cluster.config_maps.patch(
        TARGET, {OVERRIDES_KEY: "mine", "notes": "mine"}, labels={"team": "a"}, annotations={"by": "b"}
    )
    cluster.publish({P: "1", G: "1"})
    cluster.publish({P: "2"})
    assert cluster.current.entries == {P: "2", OVERRIDES_KEY: "mine", "notes": "mine"}
    assert cluster.current.labels == {"team": "a", **LABELS}
    assert cluster.current.annotations["by"] == "b"


def test_a_key_that_is_no_longer_wanted_goes_by_omission() -> None:
    cluster = Cluster()
    cluster.publish({P: "1", G: "1"})
    change = cluster.publish({P: "1"})
    assert (change.written, change.removed, change.by_patch, change.drifted) == ((), (G,), (), False)
    assert cluster.current.entries == {P: "1"}


def test_an_owned_key_that_somebody_changed_is_put_back() -> None:
    cluster = Cluster()
    cluster.publish({P: "1", G: "1"})
    cluster.edit(**{"prometheus-toolset__yaml": "spoiled"})
    change = cluster.publish({P: "1", G: "1"})
    assert (change.written, change.drifted) == ((P,), True)
    assert cluster.current.entries == {P: "1", G: "1"}


def test_an_owned_key_that_somebody_removed_is_put_back() -> None:
    cluster = Cluster()
    cluster.publish({P: "1", G: "1"})
    cluster.edit(**{"prometheus-toolset__yaml": None})
    change = cluster.publish({P: "1", G: "1"})
    assert (change.written, change.drifted) == ((P,), True)


def test_our_own_change_is_no_drift() -> None:
    cluster = Cluster()
    cluster.publish({P: "1"})
    assert not cluster.publish({P: "2", G: "1"}).drifted


def test_a_label_that_somebody_removed_is_put_back() -> None:
    cluster = Cluster()
    cluster.publish({P: "1"})
    cluster.config_maps.patch(TARGET, labels={"app.kubernetes.io/managed-by": None})
    change = cluster.publish({P: "1"})
    assert (change.written, change.removed, change.drifted) == ((), (), False)
    assert cluster.current.labels == LABELS


def test_a_key_that_somebody_patched_is_still_ours_and_goes_by_a_patch() -> None:
    cluster = Cluster()
    cluster.publish({P: "1", G: "1"})
    cluster.edit(**{"grafana-toolset__yaml": "theirs"})
    change = cluster.publish({P: "1"})
    assert (change.removed, change.by_patch) == ((G,), (G,))
    assert cluster.current.entries == {P: "1"}


def test_a_key_that_an_earlier_system_wrote_goes_once_we_took_it_over() -> None:
    cluster = Cluster()
    cluster.edit(**{"grafana-toolset__yaml": "1"})
    cluster.publish({P: "1", G: "1"})
    assert cluster.publish({P: "1"}).by_patch == (G,)
    assert cluster.current.entries == {P: "1"}


def test_a_key_of_the_same_form_that_we_never_wrote_is_not_ours() -> None:
    cluster = Cluster()
    cluster.edit(**{"grafana-toolset__yaml": "theirs"})
    assert cluster.publish({P: "1"}).removed == ()
    assert cluster.current.entries == {P: "1", G: "theirs"}


def test_overrides_are_never_ours_even_where_the_list_or_a_manager_says_so() -> None:
    cluster = Cluster()
    cluster.publish({P: "1", OVERRIDES_KEY: "taken by mistake"})
    assert owned_keys(cluster.current, PREFIX) == {P}
    assert cluster.publish({P: "2"}).removed == ()


def test_without_the_list_the_field_managers_say_what_is_ours() -> None:
    cluster = Cluster()
    cluster.publish({P: "1", G: "1"})
    cluster.config_maps.patch(TARGET, annotations={"kubernaut.io/owned-keys": None})
    assert cluster.publish({P: "1"}).removed == (G,)
    assert cluster.current.entries == {P: "1"}


def test_a_list_that_is_too_long_holds_digests_and_no_key_is_forgotten() -> None:
    """The list never limits what is published, and a key that somebody else patched meanwhile still goes."""
    many = {f"{n:04}-{'x' * 60}.yaml": "" for n in range(2000)}
    annotations = desired(many, 1, PREFIX).annotations
    listed = annotations["kubernaut.io/owned-keys"]
    assert 2000 * 70 > OWNED_LIST_LIMIT_BYTES >= len(listed)
    found = ConfigMap(ConfigMapMeta(annotations=dict(annotations)), {**many, "theirs": "", "overrides.yaml": ""})
    assert owned_keys(found, PREFIX) == many.keys()


def test_what_we_applied_or_patched_counts_as_ours() -> None:
    def managed(operation: str, fields: dict[str, object]) -> ConfigMap:
        entry = FieldsEntry(FIELD_MANAGER, operation, fields)
        return ConfigMap(metadata=ConfigMapMeta(managed_fields=(entry,)), data={P: "1"})

    assert owned_keys(managed("Apply", {"f:data": {f"f:{P}": {}}}), PREFIX) == {P}
    assert owned_keys(managed("Update", {"f:data": {f"f:{P}": {}}}), PREFIX) == {P}
    assert owned_keys(managed("Apply", {"f:data": "of another form"}), PREFIX) == frozenset()
    assert owned_keys(managed("Apply", {}), PREFIX) == frozenset()
    assert owned_keys(ConfigMap(), PREFIX) == frozenset()
    assert owned_keys(None, PREFIX) == frozenset()


def test_what_a_crash_between_patch_and_apply_left_behind_goes_with_the_next_reconcile() -> None:
    cluster = Cluster()
    cluster.publish({P: "1", G: "1"})
    cluster.edit(**{"grafana-toolset__yaml": "edited"})
    change = cluster.decide({P: "1", K: "1"})
    assert isinstance(change, Apply)
    assert change.by_patch == (G,)
    cluster.patch({P: "1", K: "1"}, change)  # and no apply

    assert cluster.publish({P: "1"}).removed == (K,)
    assert cluster.current.entries == {P: "1"}


def test_a_listed_key_that_is_not_there_any_more_needs_no_removal() -> None:
    cluster = Cluster()
    cluster.publish({P: "1", G: "1"})
    cluster.edit(**{"grafana-toolset__yaml": None})
    assert cluster.publish({P: "1"}).removed == ()


def test_documents_in_another_order_give_the_same_bytes() -> None:
    one, other = desired({P: "1", G: "2"}, 2, PREFIX), desired({G: "2", P: "1"}, 2, PREFIX)
    assert manifest(TARGET, one, None) == manifest(TARGET, other, None)
    assert content_hash({P: "1", G: "2"}) == content_hash({G: "2", P: "1"})
    assert content_hash({P: "1"}) != content_hash({P: "2"})


def test_a_config_map_that_is_absent_is_made_only_if_it_still_is() -> None:
    """A first write that was held up on its way must not undo what another leader has written meanwhile."""
    cluster = FakeConfigMaps()
    late = manifest(TARGET, desired({P: "old"}, 1, PREFIX), None)
    cluster.apply(TARGET, manifest(TARGET, desired({P: "new"}, 1, PREFIX), None))
    with pytest.raises(ConflictError):
        cluster.apply(TARGET, late)


def test_a_manifest_for_people_has_no_fence() -> None:
    metadata = msgspec.json.decode(manifest(TARGET, desired({P: "1"}, 1, PREFIX), None, fenced=False))["metadata"]
    assert "resourceVersion" not in metadata


OURS: Final = (P, G, K)
THEIRS: Final = (OVERRIDES_KEY, "notes", "jaeger-toolset.yaml")
documents = st.dictionaries(st.sampled_from(OURS), st.sampled_from(["", "1", "2"]), min_size=1)
edits = st.tuples(st.sampled_from(OURS + THEIRS), st.none() | st.sampled_from(["1", "2", "theirs"]))
crashes = st.tuples(st.just("crashed"), documents)
happenings = st.lists(documents | edits | crashes | st.just("deleted"), max_size=12)


@given(happenings, documents)
def test_after_any_history_one_reconcile_gives_what_is_wanted_and_what_is_foreign_and_a_second_does_nothing(
    history: list[dict[str, str] | tuple[str, str | dict[str, str] | None] | str], wanted: dict[str, str]
) -> None:
    cluster, foreign, ours = Cluster(), dict[str, str](), set[str]()
    for happening in [*history, wanted]:
        match happening:
            case str():
                cluster.config_maps.delete(TARGET)
                foreign, ours = {}, set[str]()
            case ("crashed", dict(data)):
                change = cluster.decide(data)
                if isinstance(change, Apply) and change.by_patch:
                    cluster.patch(data, change)
                    ours |= set(change.written)
            case (str(key), value):
                assert not isinstance(value, dict)
                cluster.config_maps.patch(TARGET, {key: value})
                if key not in ours:
                    foreign = {name: text for name, text in foreign.items() if name != key}
                    foreign |= {} if value is None else {key: value}
            case data:
                change = cluster.decide(data)
                if isinstance(change, Apply):
                    assert not {*change.written, *change.removed} & set(foreign) - set(data)
                    assert OVERRIDES_KEY not in {*change.written, *change.removed, *change.by_patch}
                    assert set(change.by_patch) <= set(change.removed)
                    cluster.publish(data)
                    ours = set(data)
        foreign = {name: text for name, text in foreign.items() if name not in ours}
    assert cluster.current.entries == foreign | wanted
    assert cluster.decide(wanted) == Unchanged()


def test_a_dialect_that_is_switched_off_takes_its_keys_with_it() -> None:
    cluster = Cluster()
    cluster.publish({P: "1", "custom_toolset.yaml": "2"})
    cluster.edit(notes="mine")
    cluster.edit(custom_toolset__yaml="edited meanwhile")
    change = cluster.publish({P: "1"})
    assert change.removed == ("custom_toolset.yaml",)
    assert cluster.current.entries == {P: "1", "notes": "mine"}


def left_by_the_original(**more: str) -> Cluster:
    """A ConfigMap that the service before this one wrote by PUT, and that an admin has edited."""
    cluster = Cluster()
    cluster.config_maps.patch(TARGET, {ORIGINAL_KEY: '{"tools": []}', **more}, manager="dynamic-toolset")
    cluster.config_maps.patch(TARGET, {OVERRIDES_KEY: "mine", "notes": "mine"})
    return cluster


def test_a_config_map_of_the_original_is_taken_over_and_its_key_kept() -> None:
    cluster = left_by_the_original()
    change = cluster.publish({P: "1"})
    assert (change.written, change.removed) == ((P,), ())
    assert cluster.current.entries == {P: "1", ORIGINAL_KEY: '{"tools": []}', OVERRIDES_KEY: "mine", "notes": "mine"}
    assert cluster.decide({P: "1"}) == Unchanged()


def test_a_config_map_of_the_original_is_taken_over_and_its_key_removed() -> None:
    cluster = left_by_the_original(**{G: "of the original"})
    change = cluster.publish({P: "1"}, legacy=("dynamic-toolset",))
    assert (change.removed, change.by_patch) == ((G, ORIGINAL_KEY), (G, ORIGINAL_KEY))
    assert cluster.current.entries == {P: "1", OVERRIDES_KEY: "mine", "notes": "mine"}
    assert cluster.decide({P: "1"}, legacy=("dynamic-toolset",)) == Unchanged()


def test_the_json_dialect_takes_the_key_of_the_original_over() -> None:
    cluster = left_by_the_original()
    cluster.publish({ORIGINAL_KEY: "ours"}, legacy=("dynamic-toolset",))
    assert cluster.current.entries[ORIGINAL_KEY] == "ours"
    assert cluster.publish({P: "1"}).removed == (ORIGINAL_KEY,)


def test_without_a_named_manager_only_the_key_of_the_original_is_left_over() -> None:
    assert legacy_keys(left_by_the_original(**{G: "1"}).current, ()) == {ORIGINAL_KEY}
    assert legacy_keys(None, ("dynamic-toolset",)) == frozenset()


def test_what_somebody_else_applies_or_edited_is_not_left_over() -> None:
    def config_map(*owners: tuple[str, str]) -> ConfigMap:
        entries = tuple(FieldsEntry(name, operation, {"f:data": {f"f:{G}": {}}}) for name, operation in owners)
        return ConfigMap(metadata=ConfigMapMeta(managed_fields=entries), data={G: "1"})

    assert legacy_keys(config_map(("old", "Update")), ("old",)) == {G}
    assert legacy_keys(config_map(("old", "Update"), ("argocd", "Apply")), ("old",)) == frozenset()
    assert legacy_keys(config_map(("old", "Update"), ("kubectl-edit", "Update")), ("old",)) == frozenset()
    assert legacy_keys(config_map(("old", "Update"), (FIELD_MANAGER, "Apply")), ("old",)) == frozenset()


def test_overrides_are_never_left_over() -> None:
    cluster = Cluster()
    cluster.config_maps.patch(TARGET, {OVERRIDES_KEY: "mine"}, manager="old")
    assert legacy_keys(cluster.current, ("old",)) == frozenset()


def test_notes_stand_next_to_the_documents_and_an_old_one_goes() -> None:
    cluster = Cluster()
    cluster.publish({P: "1"}, annotations={OVERRIDES_ERROR: "wrong", INSTANCE: ""})
    assert cluster.current.annotations[f"{PREFIX}/{OVERRIDES_ERROR}"] == "wrong"
    assert f"{PREFIX}/{INSTANCE}" not in cluster.current.annotations
    change = cluster.publish({P: "1"})
    assert (change.written, change.removed) == ((), ())
    assert f"{PREFIX}/{OVERRIDES_ERROR}" not in cluster.current.annotations
    assert cluster.decide({P: "1"}) == Unchanged()


def test_an_old_note_that_somebody_else_owns_too_is_let_go_once() -> None:
    cluster = Cluster()
    cluster.publish({P: "1"}, annotations={OVERRIDES_ERROR: "wrong"})
    cluster.config_maps.patch(TARGET, annotations={f"{PREFIX}/{OVERRIDES_ERROR}": "edited"})
    assert cluster.decide({P: "1"}) == Unchanged()


def test_who_owns_what_is_read_of_every_section() -> None:
    cluster = Cluster()
    cluster.publish({P: "1"})
    cluster.config_maps.patch(TARGET, {"notes": "x"}, labels={"team": "a"})
    assert owners(cluster.current, "data") == {P: {FIELD_MANAGER}, "notes": {"kubectl-edit/Update"}}
    assert owners(cluster.current, "labels")["team"] == {"kubectl-edit/Update"}
    assert owners(cluster.current, "annotations")[f"{PREFIX}/tools"] == {FIELD_MANAGER}
    odd = FieldsEntry("x", "Update", {"f:metadata": "of another form"})
    whole = FieldsEntry("x", "Update", {"f:data": {".": {}, f"f:{P}": {}}})
    assert owners(ConfigMap(metadata=ConfigMapMeta(managed_fields=(whole,))), "data") == {P: {"x/Update"}}
    assert owners(ConfigMap(metadata=ConfigMapMeta(managed_fields=(odd,))), "labels") == {}


def test_what_an_instance_wrote_is_whole_until_somebody_edits_it() -> None:
    cluster = Cluster()
    assert not is_whole(ConfigMap(), PREFIX)
    cluster.publish({P: "1"})
    assert is_whole(cluster.current, PREFIX)
    cluster.edit(notes="mine")
    assert is_whole(cluster.current, PREFIX)
    cluster.edit(**{"prometheus-toolset__yaml": "spoiled"})
    assert not is_whole(cluster.current, PREFIX)


def test_names_on_the_config_map_stay_as_other_systems_and_older_versions_know_them() -> None:
    assert FIELD_MANAGER == "kubernaut-dynamic-toolset"
    assert LABELS == {
        "app.kubernetes.io/managed-by": "kubernaut-dynamic-toolset",
        "app.kubernetes.io/name": "kubernaut-toolset-config",
    }
    assert ANNOTATIONS == (
        "content-hash",
        "owned-keys",
        "tools",
        "instance",
        "overrides-error",
        "overrides-in-force",
        "overrides-kept",
    )
    assert (OVERRIDES_KEY, ORIGINAL_KEY) == ("overrides.yaml", "toolset.json")
