"""The ConfigMap is shared with people, and they do not come in each other's way."""

from collections.abc import Iterator

import pytest
import yaml

from e2e.cluster import TARGET, Cluster
from integration.cluster import KUBERNETES_KEY, Tool
from support.waiting import settles

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
def cleared(cluster: Cluster) -> Iterator[Cluster]:
    """Yield the cluster; what the test wrote into the ConfigMap is removed after it."""
    yield cluster
    cluster.patch(TARGET, {"data": {"overrides.yaml": None, "mine.yaml": None}})


def test_overrides_hide_and_change_until_they_are_taken_back(cleared: Cluster, tool: Tool) -> None:
    before = cleared.data()
    suppress = f"suppress: [{tool.namespace}/{tool.name}]\n"
    cleared.patch(TARGET, {"data": {"overrides.yaml": suppress}})
    settles(lambda: cleared.urls(tool.namespace), [], within_s=10)

    change = "kubernaut: {kubernetes: {config: {incluster: false}}}\n"
    cleared.patch(TARGET, {"data": {"overrides.yaml": change}})
    settles(lambda: cleared.urls(tool.namespace), [tool.url], within_s=10)
    settles(lambda: yaml.safe_load(cleared.data()[KUBERNETES_KEY])["config"]["incluster"], expected=False, within_s=10)

    cleared.patch(TARGET, {"data": {"overrides.yaml": None}})
    settles(cleared.data, before, within_s=10)


def test_what_is_edited_or_removed_of_ours_is_put_back_and_the_rest_left_alone(cleared: Cluster) -> None:
    before = cleared.data()
    cleared.patch(TARGET, {"data": {KUBERNETES_KEY: "edited", "custom_toolset.yaml": None, "mine.yaml": "mine"}})
    settles(cleared.data, before | {"mine.yaml": "mine"}, within_s=10)


def test_a_deleted_config_map_is_made_again(cluster: Cluster) -> None:
    before = cluster.data()
    uid = cluster.get(TARGET)["metadata"]["uid"]
    cluster.kubectl("delete", TARGET)
    settles(cluster.data, before, within_s=10)
    assert cluster.get(TARGET)["metadata"]["uid"] != uid
