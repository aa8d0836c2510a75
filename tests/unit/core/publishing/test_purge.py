from typing import Final

import msgspec

from support.config_maps import FakeConfigMaps
from toolset.core.publishing.plan import LABELS, OVERRIDES_KEY, Apply, desired, owned_keys, plan
from toolset.core.publishing.purge import Purge, purge
from toolset.model import ConfigMap, Key

TARGET: Final = Key("kubernaut-system", "kubernaut-toolset-config")
PREFIX: Final = "kubernaut.io"


class Metadata(msgspec.Struct):
    """What a patch changes of the metadata, and its fence."""

    resource_version: str = msgspec.field(name="resourceVersion")
    uid: str
    labels: dict[str, str | None]
    annotations: dict[str, str | None]


class Body(msgspec.Struct):
    """A patch."""

    metadata: Metadata
    data: dict[str, str | None]


def published(config_maps: FakeConfigMaps) -> ConfigMap:
    change = plan(TARGET, desired({"a.yaml": "1", "b.yaml": "2"}, 2, PREFIX), config_maps.get(TARGET), PREFIX)
    assert isinstance(change, Apply)
    config_maps.apply(TARGET, change.manifest)
    return current(config_maps)


def current(config_maps: FakeConfigMaps) -> ConfigMap:
    found = config_maps.get(TARGET)
    assert found is not None
    return found


def done(config_maps: FakeConfigMaps, change: Purge | None) -> ConfigMap:
    """Send the patch."""
    assert change is not None
    body = msgspec.json.decode(change.body, type=Body)
    config_maps.patch(TARGET, body.data, annotations=body.metadata.annotations, labels=body.metadata.labels)
    return current(config_maps)


def test_all_that_is_ours_goes_and_nothing_else() -> None:
    config_maps = FakeConfigMaps()
    config_maps.patch(TARGET, {OVERRIDES_KEY: "mine", "notes": "mine"}, labels={"team": "a"}, annotations={"by": "b"})
    found = purge(published(config_maps), PREFIX)
    assert found is not None
    assert found.keys == ("a.yaml", "b.yaml")
    assert found.labels == tuple(sorted(LABELS))
    left = done(config_maps, found)
    assert left.entries == {OVERRIDES_KEY: "mine", "notes": "mine"}
    assert (left.labels, left.annotations) == ({"team": "a"}, {"by": "b"})
    assert owned_keys(left, PREFIX) == frozenset()
    assert purge(left, PREFIX) is None


def test_it_is_fenced() -> None:
    config_maps = FakeConfigMaps()
    cached = published(config_maps)
    found = purge(cached, PREFIX)
    assert found is not None
    metadata = msgspec.json.decode(found.body, type=Body).metadata
    assert (metadata.resource_version, metadata.uid) == (cached.version, cached.uid)


def test_a_label_that_others_set_as_well_stays() -> None:
    config_maps = FakeConfigMaps()
    config_maps.patch(TARGET, labels=dict(LABELS))
    assert done(config_maps, purge(published(config_maps), PREFIX)).labels == LABELS


def test_keys_of_an_earlier_system_go_where_that_is_asked_for() -> None:
    config_maps = FakeConfigMaps()
    config_maps.patch(TARGET, {"toolset.json": "{}"})
    cached = current(config_maps)
    assert purge(cached, PREFIX) is None
    found = purge(cached, PREFIX, {"toolset.json", "not-there"})
    assert found is not None
    assert found.keys == ("toolset.json",)


def test_without_a_config_map_there_is_nothing() -> None:
    assert purge(None, PREFIX) is None
    assert purge(ConfigMap(), PREFIX) is None
