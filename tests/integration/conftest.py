"""A real API server for every test of this folder that asks for one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import controlplane
from controlplane import ControlPlane

LARGE_COUNT = 10_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow for what the fixtures need: the first test of a run pays for them."""
    for item in items:
        names: list[str] = getattr(item, "fixturenames", [])
        if "large_control_plane" in names:
            item.add_marker(pytest.mark.timeout(600))  # the first run on a machine makes a snapshot
        elif "assets" in names:
            item.add_marker(pytest.mark.timeout(60))


@pytest.fixture(scope="session")
def assets() -> Path:
    """Return the folder that has kube-apiserver and etcd."""
    if (found := controlplane.assets()) is not None:
        return found
    reason = "kube-apiserver and etcd are not built: run `make control-plane-build` once (8 minutes)"
    if os.getenv("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def control_plane(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Yield a control plane that has the base applied; a test that breaks it repairs it."""
    with ControlPlane(assets, tmp_path_factory.mktemp("control-plane")) as plane:
        plane.apply_base()
        yield plane


@pytest.fixture(scope="session")
def large_control_plane(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Yield a control plane that has the base applied and LARGE_COUNT seeded Services."""
    directory = tmp_path_factory.mktemp("large-control-plane")
    plane = controlplane.seeded(assets, directory, LARGE_COUNT)
    try:
        plane.apply_base()
        yield plane
    finally:
        plane.stop()
