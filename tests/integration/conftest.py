"""A real API server, real backends and the service itself for every test of this folder that asks for them."""

import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

import controlplane
import seeding
from controlplane import ControlPlane
from integration import backends as products
from integration.backends import Backends
from integration.cluster import LEASE, Cluster, Tool
from integration.exchange_table import EXCEPTIONS, TABLE
from integration.exchanges import Side
from integration.faults import FaultProxy
from integration.service import Service, Start
from integration.signatures import Signature, noted
from support.lacking import lack
from toolset.sim import EmbeddedCluster

LARGE_COUNT = 10_000
LOGGED_LINES = 40


@pytest.fixture(scope="session")
def assets() -> Path:
    """Return the folder that has kube-apiserver and etcd."""
    if (found := controlplane.assets()) is None:
        lack("kube-apiserver and etcd are not built: run `make control-plane-build` once (8 minutes)")
    return found


@pytest.fixture(scope="session")
def control_plane(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Yield a control plane that has the base applied; a test that breaks it repairs it."""
    with ControlPlane(assets, tmp_path_factory.mktemp("control-plane")) as plane:
        plane.apply_base()
        yield plane


@pytest.fixture(scope="session")
def answered() -> set[Signature]:
    """Return what the differential table asks, and how the embedded server answers: as the real one does."""
    with noted() as found, start_blocking_portal("asyncio") as portal:
        running = portal.wrap_async_context_manager(EmbeddedCluster())
        with running as cluster, httpx.Client(base_url=cluster.url, trust_env=False) as client:
            side = Side(client, EXCEPTIONS, cluster.store.compact, watch_s=0)
            for case in (case for cases in TABLE.values() for case in cases):
                side.prepare()
                side.play(case)
    return found


@pytest.fixture(scope="session")
def large_control_plane(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Yield a control plane that has the base applied and LARGE_COUNT seeded Services."""
    directory = tmp_path_factory.mktemp("large-control-plane")
    plane = seeding.seeded(assets, directory, LARGE_COUNT)
    try:
        plane.apply_base()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Yield real and imitated backends that all answer."""
    if missing := products.missing():
        lack(f"there is no {' and no '.join(missing)} here: run hack/backends once (5 seconds)")
    with Backends(tmp_path_factory.mktemp("backends")) as running:
        yield running


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Iterator[Cluster]:
    """Yield a cluster without the service's ConfigMap; what the test creates is deleted, and no Service may remain."""
    with _cluster(control_plane) as clean:
        yield clean
    with control_plane.client() as admin:
        left = {each["metadata"]["name"] for each in admin.get("/api/v1/services").json()["items"]}
    assert left == {"kubernetes"}, "a test leaves Services"


@pytest.fixture
def large_cluster(large_control_plane: ControlPlane) -> Iterator[Cluster]:
    """Yield a cluster with LARGE_COUNT irrelevant Services; what the test makes is removed after it."""
    with _cluster(large_control_plane) as clean:
        yield clean


@contextmanager
def _cluster(plane: ControlPlane) -> Generator[Cluster]:
    with plane.client() as admin:
        cluster = Cluster(plane, admin)
        yield cluster
        cluster.clean()
        admin.delete(LEASE)  # of a leader that was killed: it would hold up the next one


@pytest.fixture
def proxy(control_plane: ControlPlane, tmp_path: Path) -> Iterator[FaultProxy]:
    """Yield a proxy in front of the API server, without a fault yet."""
    directory = tmp_path / "proxy"
    directory.mkdir()
    with FaultProxy(control_plane, directory) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the last of what each service logged with a test that fails; its machine may be out of reach."""
    report = yield
    if report.when == "call" and report.failed:
        fixtures = getattr(item, "funcargs", {})
        logs = sorted(fixtures["tmp_path"].glob("service-*.log")) if "tmp_path" in fixtures else []
        for log in (*logs, *(path for each in fixtures.values() for path in getattr(each, "logs", ()))):
            lines = log.read_text("utf-8").splitlines()[-LOGGED_LINES:]
            report.sections.append((f"The end of {log.name}", "\n".join(lines)))
    return report


@pytest.fixture
def start(tmp_path: Path, backends: Backends) -> Iterator[Start]:
    """Yield what starts the service; each is ended after the test and must not have met a bug of its own."""
    started: list[Service] = []

    def begin(cluster: Cluster, tools: tuple[Tool, ...], **settings: str) -> Service:
        routes = {"TOOLSET_TEST_CONNECT_TO": msgspec.json.encode(backends.connect_to(tools)).decode()}
        log = tmp_path / f"service-{len(started)}.log"
        service = Service(cluster.kubeconfig(), log, {**routes, **settings})
        started.append(service)
        return service

    yield begin
    for service in started:
        service.end(signal.SIGTERM)
        service.close()
    backends.answers.heal()
    assert [service.bugs() for service in started] == [[] for _ in started]
