"""etcd is restored from a backup while the service runs: what it has seen is of a future that there is no more."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from controlplane import ControlPlane
from integration.cluster import TARGET, Cluster, Tool, expected_urls
from integration.service import Service, Start
from support.waiting import eventually, settles

pytestmark = pytest.mark.integration

RECOVERY_S: Final = 200.0
"""Two watches of 75 s that bring nothing, the delays between them, a list, and a machine that is busy."""


def grafana(name: str) -> Tool:
    return Tool("grafana", "team-a", name, 3000, "service", labels={"app": "grafana"})


BEFORE, LOST, AFTER = grafana("before"), grafana("lost"), grafana("after")
EVERY: Final = (BEFORE, LOST, AFTER)


@pytest.fixture
def own_plane(assets: Path, tmp_path: Path) -> Iterator[ControlPlane]:
    with ControlPlane(assets, tmp_path / "plane") as plane:
        plane.apply_base()
        yield plane


def hears_a_bookmark(service: Service) -> None:
    """Wait for the first bookmark after a change of a Service: one a minute, and only of kinds that have changed."""
    ages = [0.0]

    def falls() -> bool:
        ages.append(service.metric("toolset_reflector_last_activity_seconds", resource="services"))
        return ages[-1] < ages[-2]

    eventually(falls, within_s=70)  # a watch that is silent for longer is opened again, which counts too


@pytest.mark.timeout(600)  # it takes nearly three minutes to be sure
def test_a_restored_etcd_is_followed_from_its_backup_within_minutes(
    own_plane: ControlPlane, start: Start, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    with own_plane.client() as admin:
        cluster = Cluster(own_plane, admin)
        cluster.create(BEFORE)
        own_plane.stop()
        shutil.copytree(own_plane.etcd_data, backup)
        own_plane.start()

        service = start(cluster, EVERY, HEALTH__INTERVAL="500ms")
        settles(cluster.urls, expected_urls("grafana", [BEFORE]), within_s=20)
        for number in range(60):
            cluster.patch(BEFORE.path, {"metadata": {"annotations": {"change": str(number)}}})
        cluster.create(LOST)
        settles(cluster.urls, expected_urls("grafana", [BEFORE, LOST]), within_s=20)
        if not cluster.streams_lists:  # else the first list has shown that there are bookmarks
            hears_a_bookmark(service)

        own_plane.stop()
        shutil.rmtree(own_plane.etcd_data)
        shutil.copytree(backup, own_plane.etcd_data)
        own_plane.start()
        assert admin.get(LOST.path).status_code == 404
        assert admin.get(TARGET).status_code == 404
        cluster.create(AFTER)

        settles(cluster.urls, expected_urls("grafana", [BEFORE, AFTER]), within_s=RECOVERY_S)
        eventually(lambda: service.status("/readyz") == 200, within_s=20)
        assert service.exit_code is None
        assert service.metric("toolset_reflector_relists_total", resource="services", reason="silence") <= 2
