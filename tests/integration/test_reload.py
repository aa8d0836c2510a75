"""Settings that change while the service runs, against a real API server and real backends."""

import os
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from integration.backends import Backends
from integration.cluster import NAMESPACE, SERVICE_ACCOUNT, Cluster, Tool, expected_urls
from integration.service import Service, Start
from support.waiting import eventually, settles

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{SERVICE_ACCOUNT}"
EVENTS: Final = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
HERE: Final = Tool("grafana below /a and /b", "team-a", "grafana", 3000, "service")
THERE: Final = Tool("grafana below /a and /b", "team-b", "grafana", 3000, "service")
OWN: Final = Tool("custom", "team-a", "puzzle", 3200, "web", labels={"app": "puzzle"})
UNHEALTHY: Final = Tool("grafana below /a and /b", "team-a", "failing", 3000, "service")
TOOLS: Final = (HERE, THERE, OWN)
ONE: Final = "discovery: {namespaces: [team-a]}"
ALL: Final = "discovery: {namespaces: [team-*]}"
DETECTOR: Final = """
discovery:
  namespaces: [team-a]
  detectors:
    - product: puzzle
      type: puzzle
      phrases: [puzzle]
      port: {names: [web], numbers: [3200]}
      check: {path: /ready}
      source: this test
"""
WITHIN_S: Final = 10
"""Two reads of the file, and a pipeline run."""


class Mount:
    """A folder as the kubelet mounts a ConfigMap: the file is a link into a folder that is swapped."""

    def __init__(self, folder: Path, text: str) -> None:
        self._folder = folder
        self._version = 0
        folder.mkdir()
        self.file = folder / "settings.yaml"
        self.write(text)
        self.file.symlink_to("..data/settings.yaml")

    def write(self, text: str) -> None:
        """Swap the folder for one with this content."""
        self._version += 1
        name = f"..version-{self._version}"
        (self._folder / name).mkdir()
        (self._folder / name / "settings.yaml").write_text(text)
        fresh = self._folder / "..data_tmp"
        fresh.symlink_to(name)
        os.rename(fresh, self._folder / "..data")  # noqa: PTH104 - the call that the kubelet makes


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path / "settings", ONE)


def published(cluster: Cluster) -> list[set[str]]:
    """Return the URLs in the ConfigMap after each write, oldest first."""
    states: list[set[str]] = []
    for event in cluster.writes():
        data: dict[str, str] = event.get("responseObject", {}).get("data", {})
        documents = [yaml.safe_load(text) for key, text in data.items() if key.endswith("-toolset.yaml")]
        states.append({each["config"]["url"] for each in documents if "url" in each["config"]})
    return states


def reported(cluster: Cluster, reason: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = cluster.admin.get(EVENTS).raise_for_status().json()["items"]
    return [each for each in items if each["reason"] == reason]


def begin(cluster: Cluster, start: Start, mount: Mount, **settings: str) -> Service:
    """Start a service that has published what is in the first namespace."""
    cluster.create(*TOOLS)
    service = start(cluster, (*TOOLS, UNHEALTHY), TOOLSET_CONFIG=str(mount.file), **settings)
    settles(cluster.urls, expected_urls("grafana", (HERE,)), within_s=WITHIN_S)
    return service


def test_a_wider_glob_publishes_more_and_loses_nothing_on_the_way(cluster: Cluster, start: Start, mount: Mount) -> None:
    cluster.admin.delete(LEASE)
    service = begin(cluster, start, mount, ELECTION__ENABLED="true")
    lists = service.metric("reflector_lists_total", resource="services")
    before = len(published(cluster))

    mount.write(ALL)
    settles(cluster.urls, expected_urls("grafana", (HERE, THERE)), within_s=WITHIN_S)

    assert all(HERE.url in urls for urls in published(cluster)[before - 1 :])
    assert service.logged("settings reloaded")[-1]["changed"] == ["discovery.namespaces"]
    assert service.metric("toolset_settings_reloads_total", result="success") == 1
    assert service.metric("reflector_lists_total", resource="services") == lists
    assert len(service.logged("leadership taken")) == 1
    assert service.logged("tool no longer published") == []
    assert [each["k8s.namespace.name"] for each in service.logged("service added") if each["level"] == "info"] == [
        "team-a",
        "team-b",
    ]
    eventually(lambda: reported(cluster, "SettingsReloaded"), within_s=5)


def test_a_detector_comes_and_goes_with_the_file(cluster: Cluster, start: Start, mount: Mount) -> None:
    service = begin(cluster, start, mount)
    mount.write(DETECTOR)
    settles(cluster.urls, expected_urls("grafana", (HERE,)) | expected_urls("puzzle", (OWN,)), within_s=WITHIN_S)
    mount.write(ONE)
    settles(cluster.urls, expected_urls("grafana", (HERE,)), within_s=WITHIN_S)
    assert service.metric("toolset_settings_reloads_total", result="success") == 2


def test_an_invalid_file_changes_nothing_and_is_reported_until_it_is_fixed(
    cluster: Cluster, start: Start, mount: Mount
) -> None:
    service = begin(cluster, start, mount)
    mount.write("discovery: {namespaces: [team-*], mode: perhaps}")
    eventually(lambda: service.logged("settings not valid; those in force stay"), within_s=WITHIN_S)
    assert service.metric("toolset_settings_valid") == 0
    assert service.metric("toolset_settings_reloads_total", result="invalid") == 1
    assert "`discovery.mode`" in service.logged("settings not valid; those in force stay")[0]["error"]
    eventually(lambda: reported(cluster, "SettingsInvalid"), within_s=5)
    cluster.delete(HERE)
    settles(cluster.urls, {}, within_s=5)  # it works on, as before
    cluster.create(HERE)

    mount.write(ALL)
    settles(lambda: {*cluster.urls().values()}, {HERE.url, THERE.url}, within_s=WITHIN_S)
    assert service.metric("toolset_settings_valid") == 1


def test_the_level_of_logs_follows_and_what_cannot_is_named(
    cluster: Cluster, start: Start, mount: Mount, backends: Backends
) -> None:
    service = begin(cluster, start, mount)
    mount.write(f"{ONE}\nlog: {{level: debug}}\ntarget: {{name: other}}")
    eventually(lambda: service.logged("setting not changed: restart needed"), within_s=WITHIN_S)
    assert service.logged("setting not changed: restart needed")[0]["setting"] == "target.name"
    assert service.metric("toolset_settings_restart_needed") == 1
    mount.write(f"{ALL}\nlog: {{level: debug}}\ntarget: {{name: other}}")
    settles(cluster.urls, expected_urls("grafana", (HERE, THERE)), within_s=WITHIN_S)
    backends.answers.fail(UNHEALTHY.authority)
    cluster.create(UNHEALTHY)  # that it keeps failing is not reported again
    eventually(lambda: [line for line in service.lines() if line["level"] == "debug"], within_s=WITHIN_S)
    mount.write(f"{ALL}\nlog: {{level: error}}")
    eventually(lambda: service.metric("toolset_settings_reloads_total", result="success") == 3, within_s=WITHIN_S)
    mount.write(f"{ONE}\nlog: {{level: error}}")
    eventually(lambda: service.metric("toolset_settings_reloads_total", result="success") == 4, within_s=WITHIN_S)
    assert len(service.logged("settings reloaded")) == 3


def test_a_standby_follows_the_file_too(cluster: Cluster, start: Start, mount: Mount) -> None:
    cluster.admin.delete(LEASE)
    leader = begin(cluster, start, mount, ELECTION__ENABLED="true")
    standby = start(cluster, TOOLS, TOOLSET_CONFIG=str(mount.file), ELECTION__ENABLED="true")
    eventually(lambda: standby.logged("leader seen"), within_s=WITHIN_S)
    leader.terminate()
    assert leader.wait(within_s=15) == 0  # so that the change is the other's alone
    mount.write(ALL)
    settles(cluster.urls, expected_urls("grafana", (HERE, THERE)), within_s=WITHIN_S + 5)


def test_a_file_that_changes_all_the_time_does_not_keep_it_from_stopping(
    cluster: Cluster, start: Start, mount: Mount
) -> None:
    service = begin(cluster, start, mount)
    mount.write(ALL)
    eventually(lambda: service.logged("settings reloaded"), within_s=WITHIN_S)
    service.terminate()
    assert service.wait(within_s=15) == 0
